//! `verbale inbox` and `verbale outbox`: lists of messages; what waits can be cancelled or tried again.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::out::{Exit, Out, Page};
use super::place::{Names, Place, message, unexpected};
use super::{safe, send, show, when, words};
use crate::api::{Client, Failure, Folder, LogFilter, MessageRow, MessageState, Reply, Request, code};
use crate::name::{CaseId, Kind, Millis, NodeName};

/// The most rows of one list: more is read in pages (`--before`).
pub const MAX_LIMIT: u32 = 10_000;

/// What narrows a list.
#[derive(Clone, Debug, Args)]
pub struct Narrow {
    /// Only with this node
    #[arg(long, value_name = "NODE")]
    pub peer: Option<NodeName>,
    /// Only of this case
    #[arg(long, value_name = "ID")]
    pub case: Option<CaseId>,
    /// Not before: a time, or 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    pub from: Option<Millis>,
    /// Before: a time, or 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    pub to: Option<Millis>,
    /// At most this many (1 to 10,000), newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LIMIT)))]
    pub limit: u32,
    /// The next page: only what is older than this number, which the page before named
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<u64>,
}

impl Narrow {
    /// As the daemon takes it: one row more than is shown, to know whether there are more.
    pub fn filter(&self, kind: Option<Kind>) -> LogFilter {
        LogFilter {
            peer: self.peer,
            case: self.case,
            kind,
            from: self.from,
            to: self.to,
            limit: self.limit + 1,
            before: self.before,
            ..LogFilter::default()
        }
    }

    /// Cuts the row off that only told that there are more; gives the number for the next page.
    pub fn page<T>(&self, rows: &mut Vec<T>, record: impl Fn(&T) -> u64) -> Option<u64> {
        if rows.len() <= self.limit as usize {
            return None;
        }
        rows.truncate(self.limit as usize);
        rows.last().map(record)
    }
}

/// Says that rows were left out, and how to see them.
pub fn left_out(page: &mut Page, rows: usize, before: Option<u64>) {
    if let Some(before) = before {
        let shown =
            if rows == 1 { "This is the newest one".to_owned() } else { format!("These are the newest {rows}") };
        page.line(format!("{shown}; there are older ones. The next page: the same with --before {before}"));
    }
}

/// `verbale inbox`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale inbox --unacknowledged\n         verbale inbox --peer XB --limit 20\n\n\
Listing sends nothing to anybody.")]
pub struct Inbox {
    /// Only what nobody at this desk has acknowledged yet
    #[arg(long)]
    pub unacknowledged: bool,
    /// Only of this kind
    #[arg(long, value_parser = words::kinds_of_people(), hide_possible_values = true)]
    pub kind: Option<Kind>,
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
    /// Only of this kind
    #[arg(long, value_parser = words::kinds_of_people(), hide_possible_values = true)]
    pub kind: Option<Kind>,
    /// What narrows the list
    #[command(flatten)]
    pub narrow: Narrow,
}

/// What can be done with what waits.
#[derive(Debug, Subcommand)]
pub enum Act {
    /// Take a message out of the queue before it is sent
    #[command(after_help = "Example: verbale outbox cancel 3f2a91\n\n\
Only what is not in the log yet can be cancelled; towards a correspondent that is up that is a moment. What is in the \
log stays there: send a correction or a withdrawal after it.")]
    Cancel {
        /// The message: its id or its first digits
        message: String,
    },
    /// Try to reach a correspondent now, without waiting for the next attempt
    #[command(after_help = "Example: verbale outbox retry XB")]
    Retry {
        /// Whom
        peer: NodeName,
    },
}

/// A list as JSON has it.
#[derive(Serialize)]
struct Listed<'a> {
    messages: &'a [MessageRow],
    /// For `--before`, where there are more.
    before: Option<u64>,
}

/// Runs `verbale inbox`.
///
/// # Errors
/// As the daemon says.
pub async fn inbox(place: &Place, out: &mut Out, command: &Inbox) -> Result<Exit, Failure> {
    let filter = LogFilter { unacknowledged: command.unacknowledged, ..command.narrow.filter(command.kind) };
    let all = is_all(&filter);
    let mut rows = messages(&place.client().await?, &Request::Inbox(filter)).await?;
    let before = command.narrow.page(&mut rows, |row| row.record);
    let empty = match (all, command.unacknowledged) {
        (true, false) => "Nothing has been received yet.",
        (true, true) => "Nothing waits for an acknowledgement.",
        (false, _) => "No message that was received is like that.",
    };
    list(place, out, Folder::Inbox, &rows, before, empty);
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
            let filter = command.narrow.filter(command.kind);
            let empty =
                if is_all(&filter) { "Nothing has been sent yet." } else { "No message that was sent is like that." };
            let mut rows = messages(&client, &Request::Outbox(filter)).await?;
            let before = command.narrow.page(&mut rows, |row| row.record);
            list(place, out, Folder::Outbox, &rows, before, empty);
            return Ok(Exit::Good);
        }
        Some(Act::Cancel { message: id }) => return cancel(&client, out, id).await,
        Some(Act::Retry { peer }) => {
            (Request::Retry { peer: *peer }, format!("Trying to reach {} now.", place.names().full(*peer)))
        }
    };
    client.call(&request).await?;
    out.show(&serde_json::json!({ "done": true }), |page| page.line(done));
    Ok(Exit::Good)
}

async fn cancel(client: &Client, out: &mut Out, id: &str) -> Result<Exit, Failure> {
    let message = message(client, id).await?;
    match client.call(&Request::Cancel { message }).await {
        Ok(_) => {}
        Err(failure) if failure.code == code::FENCED || failure.code == "in-doubt" => return Err(failure),
        // Why it was too late, as far as this node knows.
        Err(failure) => return Err(too_late(client, message).await.unwrap_or(failure)),
    }
    out.show(&serde_json::json!({ "done": true }), |page| {
        page.line(format!("{message} is cancelled. It was never sent, and the other State knows nothing of it."));
    });
    Ok(Exit::Good)
}

async fn too_late(client: &Client, message: crate::name::EntryId) -> Option<Failure> {
    let view = send::fetch(client, message).await.ok()?;
    let (row, doing) = (&view.row, "cancelling a message");
    let failure = |code: &str, why: &str, todo: String| Some(Failure::new(code, doing, why, todo));
    if row.folder == Folder::Inbox {
        return failure(
            "not-ours",
            "the other State wrote it; only what was written here can be cancelled here",
            String::new(),
        );
    }
    match row.state {
        MessageState::Cancelled => failure("ended", "it was cancelled before", String::new()),
        MessageState::Expired => failure("ended", "it has left the queue already: its time had passed", String::new()),
        MessageState::Queued => None,
        state => {
            let why = match state {
                MessageState::Sent => "it is too late: it stands in the signed log, and may be under way",
                _ => "it is too late: the other machine has stored it",
            };
            let short = &message.to_string()[..12];
            let todo = format!(
                "What is in the log stays there. Say after it what is right: `verbale send {} --kind correction \
                 --in-reply-to {short} …`, or --kind withdrawal to take it back; it may have been read.",
                row.peer
            );
            failure("in-the-log", why, todo)
        }
    }
}

fn is_all(filter: &LogFilter) -> bool {
    let LogFilter { peer, case, kind, from, to, before, .. } = filter;
    peer.is_none() && case.is_none() && kind.is_none() && from.is_none() && to.is_none() && before.is_none()
}

async fn messages(client: &Client, request: &Request) -> Result<Vec<MessageRow>, Failure> {
    match client.call(request).await? {
        Reply::Messages(rows) => Ok(rows),
        other => Err(unexpected(&other)),
    }
}

fn list(place: &Place, out: &mut Out, folder: Folder, rows: &[MessageRow], before: Option<u64>, empty: &str) {
    let names = place.names();
    out.show(&Listed { messages: rows, before }, |page| {
        if rows.is_empty() {
            return page.line(empty);
        }
        // Drill traffic is kept apart from real traffic, real first.
        for (exercise, title) in [(false, "Messages"), (true, "EXERCISE messages")] {
            let some: Vec<&MessageRow> = rows.iter().filter(|row| row.exercise == exercise).collect();
            if !some.is_empty() {
                page.gap();
                page.strong(title);
                table(page, folder, &some);
            }
        }
        page.gap();
        below(page, &names, rows);
        left_out(page, rows.len(), before);
    });
}

/// What the rows' words mean, once for all of them.
fn below(page: &mut Page, names: &Names, rows: &[MessageRow]) {
    let peers: BTreeSet<NodeName> = rows.iter().map(|row| row.peer).collect();
    let mut peers: Vec<NodeName> = peers.into_iter().collect();
    names.sort(&mut peers, |peer| *peer);
    let named: Vec<String> = peers.iter().map(|peer| names.full(*peer)).collect();
    page.line(format!("{}. {}", named.join(", "), when::zone_note()));
    if rows.iter().any(|row| row.state == MessageState::Acknowledged) {
        page.line(show::NOT_AGREEMENT);
    }
}

/// How far a message has come, in a column.
fn short_state(row: &MessageRow) -> &'static str {
    match row.state {
        MessageState::Queued => "waits here",
        MessageState::Sent => "no receipt yet",
        MessageState::Delivered => "receipt",
        MessageState::Held => "receipt, files",
        MessageState::Acknowledged => "acknowledged",
        MessageState::Answered => "answered",
        MessageState::Declined => "declined",
        MessageState::Refused => "not accepted",
        MessageState::Expired => "expired unsent",
        MessageState::Cancelled => "cancelled",
        MessageState::Withdrawn => "withdrawn",
        MessageState::Received if row.read => "opened",
        MessageState::Received => "new",
    }
}

/// One row a message; on a terminal that is too narrow for that, two lines.
fn table(page: &mut Page, folder: Folder, rows: &[&MessageRow]) {
    let (at, with) = match folder {
        Folder::Inbox => ("received", "from"),
        Folder::Outbox => ("queued", "to"),
    };
    let sent = |row: &MessageRow| match (row.sent, row.state) {
        (Some(time), _) => when::minute(time),
        (None, MessageState::Expired | MessageState::Cancelled) => "never".to_owned(),
        (None, _) => "not yet".to_owned(),
    };
    let files = |row: &MessageRow| match row.enclosures {
        0 => String::new(),
        some if row.files_refused.is_empty() => some.to_string(),
        some => format!("{some}, refused"),
    };
    let subject = |row: &MessageRow| safe::one_line(&row.subject);
    let head = |row: &MessageRow| {
        let times = [when::minute(row.recorded), sent(row)];
        let times = if folder == Folder::Inbox { &times[..1] } else { &times[..] };
        let mut cells = vec![row.id.to_string()[..8].to_owned()];
        cells.extend_from_slice(times);
        cells.extend([row.peer.to_string(), row.precedence.to_string(), row.tlp.to_string()]);
        cells
    };
    let wide: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let rest = [short_state(row).to_owned(), safe::one_line(&row.kind), files(row), subject(row)];
            head(row).into_iter().chain(rest).collect()
        })
        .collect();
    let mut heading = vec!["id", at];
    if folder == Folder::Outbox {
        heading.push("sent");
    }
    heading.extend([with, "speed", "TLP", "state", "kind", "files", "subject"]);
    if page.table_if_it_fits(&heading, &wide) {
        return;
    }
    let narrow: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let cells = [
                row.id.to_string()[..8].to_owned(),
                when::minute(row.recorded),
                row.peer.to_string(),
                row.precedence.to_string(),
                row.tlp.to_string(),
                short_state(row).to_owned(),
            ];
            cells.to_vec()
        })
        .collect();
    let below = |row: &MessageRow| {
        let refused = if row.files_refused.is_empty() { "" } else { ", refused" };
        let files = match row.enclosures {
            0 => String::new(),
            1 => format!(" (1 file{refused})"),
            some => format!(" ({some} files{refused})"),
        };
        let sent = match sent(row).as_str() {
            "not yet" => ", not sent yet".to_owned(),
            "never" => ", never sent".to_owned(),
            time => format!(", sent {time}"),
        };
        let sent = if folder == Folder::Outbox { sent } else { String::new() };
        vec![format!("{}{files}{sent}: {}", safe::one_line(&row.kind), subject(row))]
    };
    let below: Vec<Vec<String>> = rows.iter().map(|row| below(row)).collect();
    page.table_with_lines(&["id", at, with, "speed", "TLP", "state"], &narrow, &below);
}
