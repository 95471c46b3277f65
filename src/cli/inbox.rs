//! `verbale inbox` and `verbale outbox`: lists of messages; what waits can be cancelled or tried again.

use clap::{Args, Subcommand};

use super::out::{Exit, Out, Page};
use super::place::{Names, Place, message, unexpected};
use super::{safe, show, when};
use crate::api::{Client, Failure, LogFilter, MessageRow, Reply, Request};
use crate::name::{CaseId, Kind, Millis, NodeName};

/// What narrows a list.
#[derive(Clone, Debug, Args)]
pub struct Narrow {
    /// Only with this node
    #[arg(long, value_name = "NODE")]
    pub peer: Option<NodeName>,
    /// Only of this case
    #[arg(long, value_name = "ID")]
    pub case: Option<CaseId>,
    /// Only of this kind
    #[arg(long)]
    pub kind: Option<Kind>,
    /// Not before: a time, or 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    pub from: Option<Millis>,
    /// Before: a time, or 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    pub to: Option<Millis>,
    /// At most this many, newest first
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

impl Narrow {
    /// As the daemon takes it.
    pub fn filter(&self) -> LogFilter {
        LogFilter {
            peer: self.peer,
            case: self.case,
            kind: self.kind,
            from: self.from,
            to: self.to,
            limit: self.limit,
            ..LogFilter::default()
        }
    }
}

/// `verbale inbox`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale inbox --unacknowledged\n\nListing sends nothing to anybody.")]
pub struct Inbox {
    /// Only what nobody at this desk has acknowledged yet
    #[arg(long)]
    pub unacknowledged: bool,
    /// What narrows the list
    #[command(flatten)]
    pub narrow: Narrow,
}

/// `verbale outbox`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example: verbale outbox --peer XB\n         \
verbale outbox cancel 3f2a91\n         verbale outbox retry XB"
)]
pub struct Outbox {
    /// What to do with it
    #[command(subcommand)]
    pub act: Option<Act>,
    /// What narrows the list
    #[command(flatten)]
    pub narrow: Narrow,
}

/// What can be done with what waits.
#[derive(Debug, Subcommand)]
pub enum Act {
    /// Take a message out of the queue; what is in the log can only be withdrawn
    #[command(after_help = "Example: verbale outbox cancel 3f2a91")]
    Cancel {
        /// The message: its id or its first digits
        message: String,
    },
    /// Try to reach a peer now, without waiting for the next attempt
    #[command(after_help = "Example: verbale outbox retry XB")]
    Retry {
        /// Whom
        peer: NodeName,
    },
}

/// Runs `verbale inbox`.
///
/// # Errors
/// As the daemon says.
pub async fn inbox(place: &Place, out: &mut Out, command: &Inbox) -> Result<Exit, Failure> {
    let filter = LogFilter { unacknowledged: command.unacknowledged, ..command.narrow.filter() };
    let rows = messages(&place.client().await?, &Request::Inbox(filter)).await?;
    list(place, out, &rows, "The inbox holds no such message.");
    Ok(Exit::Good)
}

/// Runs `verbale outbox`.
///
/// # Errors
/// As the daemon says.
pub async fn outbox(place: &Place, out: &mut Out, command: &Outbox) -> Result<Exit, Failure> {
    let client = place.client().await?;
    let (request, done) = match &command.act {
        None => {
            let rows = messages(&client, &Request::Outbox(command.narrow.filter())).await?;
            list(place, out, &rows, "The outbox holds no such message.");
            return Ok(Exit::Good);
        }
        Some(Act::Cancel { message: id }) => {
            let message = message(&client, id).await?;
            (Request::Cancel { message }, format!("{message} is cancelled; it was never sent."))
        }
        Some(Act::Retry { peer }) => {
            (Request::Retry { peer: *peer }, format!("Trying to reach {} now.", place.names().full(*peer)))
        }
    };
    client.call(&request).await?;
    out.show(&serde_json::json!({ "done": true }), |page| page.line(done));
    Ok(Exit::Good)
}

async fn messages(client: &Client, request: &Request) -> Result<Vec<MessageRow>, Failure> {
    match client.call(request).await? {
        Reply::Messages(rows) => Ok(rows),
        other => Err(unexpected(&other)),
    }
}

fn list(place: &Place, out: &mut Out, rows: &[MessageRow], empty: &str) {
    let names = place.names();
    out.show(rows, |page| {
        // Drill traffic is kept apart from real traffic, real first.
        for (exercise, title) in [(false, "Messages"), (true, "EXERCISE messages")] {
            let some: Vec<&MessageRow> = rows.iter().filter(|row| row.exercise == exercise).collect();
            if !some.is_empty() {
                page.strong(title);
                table(page, &names, &some);
                page.gap();
            }
        }
        if rows.is_empty() {
            page.line(empty);
        }
    });
}

fn table(page: &mut Page, names: &Names, rows: &[&MessageRow]) {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.id.to_string()[..8].to_owned(),
                when::utc_and_local(row.time),
                row.peer.to_string(),
                names.of(row.peer),
                row.precedence.to_string(),
                format!("TLP:{}", row.tlp),
                safe::one_line(&row.kind),
                show::state_words(row.state).to_owned() + if row.read { ", opened" } else { "" },
                if row.enclosures == 0 { String::new() } else { row.enclosures.to_string() },
                safe::one_line(&row.subject),
            ]
        })
        .collect();
    page.table(&["id", "time", "node", "State", "speed", "label", "kind", "state", "files", "subject"], &cells);
}
