//! `verbale peer`: who is a correspondent, and the ceremony by which one becomes it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::out::{Exit, Out, Page, own};
use super::place::{Names, Place, unexpected};
use super::status::rounded;
use super::{ping, safe, when};
use crate::api::{Client, Failure, PeerAction, PeerAdd, PeerView, Reply, Request, code};
use crate::identity::{Fingerprint, Introduction, MAX_INTRODUCTION_BYTES};
use crate::name::{NO_POSITION, NodeName};

/// `verbale peer …`
#[derive(Debug, Subcommand)]
pub enum Peer {
    /// Accept another State's node as a correspondent
    #[command(after_help = "Example: verbale peer add xb.introduction --fingerprint \"01234 56789 …\" \
--read-by \"duty officer XB to duty officer XA\" --channel \"telephone, known number\"\n\n\
The fingerprint is read aloud by the other State over a channel other than the one by which the file came.")]
    Add(Add),
    /// List the correspondents
    #[command(after_help = "Example: verbale peer list")]
    List,
    /// Show one correspondent
    #[command(after_help = "Example: verbale peer show XB")]
    Show {
        /// Which, for example XB
        peer: NodeName,
    },
    /// Cut the connection until resumed; messages wait
    #[command(after_help = "Example: verbale peer suspend XB")]
    Suspend {
        /// Which
        peer: NodeName,
    },
    /// End a suspension
    #[command(after_help = "Example: verbale peer resume XB")]
    Resume {
        /// Which
        peer: NodeName,
    },
    /// End the correspondence; the logs are kept
    #[command(after_help = "Example: verbale peer remove XB")]
    Remove {
        /// Which
        peer: NodeName,
    },
    /// Agree to go on after two histories were seen
    #[command(after_help = "Example: verbale peer reopen XB\n\nA person does this on each side, after the two have \
spoken. Both histories are kept as proof; the usual cause is a restored backup.")]
    Reopen {
        /// With whom
        peer: NodeName,
    },
}

/// `verbale peer add`
#[derive(Debug, Args)]
pub struct Add {
    /// The introduction that the other State handed over
    pub file: PathBuf,
    /// The fingerprint as it was read over another channel: twelve groups of five digits
    #[arg(long)]
    pub fingerprint: String,
    /// Who read it to whom (offices, not persons)
    #[arg(long, value_name = "WHO")]
    pub read_by: String,
    /// By what means it was read
    #[arg(long, value_name = "MEANS")]
    pub channel: String,
}

/// Runs `verbale peer`.
///
/// # Errors
/// What the daemon says, or what is wrong with the file or the fingerprint.
pub async fn run(place: &Place, out: &mut Out, command: &Peer) -> Result<Exit, Failure> {
    let names = place.names();
    let act = |peer: &NodeName, action| Request::PeerAct { peer: *peer, action };
    let (request, done) = match command {
        Peer::Add(add) => return self::add(place, out, add).await,
        Peer::List => {
            let mut peers = peers(&place.client().await?, &Request::PeerList).await?;
            names.sort(&mut peers, |view| view.peer);
            out.show(&peers, |page| list(page, &names, &peers));
            return Ok(Exit::Good);
        }
        Peer::Show { peer } => {
            let peers = peers(&place.client().await?, &Request::PeerShow { peer: *peer }).await?;
            out.show(&peers, |page| peers.iter().for_each(|view| show(page, &names, view)));
            return Ok(Exit::Good);
        }
        Peer::Suspend { peer } => (act(peer, PeerAction::Suspend), format!("{} is suspended.", names.full(*peer))),
        Peer::Resume { peer } => (act(peer, PeerAction::Resume), format!("{} is resumed.", names.full(*peer))),
        Peer::Remove { peer } => {
            let done = "is no longer a correspondent. Both logs are kept.";
            (act(peer, PeerAction::Remove), format!("{} {done}", names.full(*peer)))
        }
        Peer::Reopen { peer } => {
            let done = "Agreed here to go on with";
            let next = "It goes on when a person has agreed there too.";
            (act(peer, PeerAction::Reopen), format!("{done} {}. {next}", names.full(*peer)))
        }
    };
    place.client().await?.call(&request).await?;
    out.show(&serde_json::json!({ "done": true }), |page| page.line(&done));
    Ok(Exit::Good)
}

async fn peers(client: &Client, request: &Request) -> Result<Vec<PeerView>, Failure> {
    match client.call(request).await? {
        Reply::Peers(peers) => Ok(peers),
        other => Err(unexpected(&other)),
    }
}

async fn add(place: &Place, out: &mut Out, add: &Add) -> Result<Exit, Failure> {
    let introduction = read_introduction(add)?;
    let client = place.client().await?;
    let request = Request::PeerAdd(PeerAdd {
        introduction,
        fingerprint: add.fingerprint.clone(),
        read_by: add.read_by.clone(),
        channel: add.channel.clone(),
    });
    let added = peers(&client, &request).await?;
    let names = place.names();
    for view in &added {
        out.tell(&format!("{} is now a correspondent. Fingerprint, as read:", names.full(view.peer)));
        out.tell(&format!("  {}", safe::one_line(&view.fingerprint)));
    }
    out.tell("Testing the way there and back …");
    let peers: Vec<NodeName> = added.iter().map(|view| view.peer).collect();
    let pings = ping::rounds(&client, out, &peers, 1, ping::DEFAULT_TIMEOUT).await?;
    out.show(&serde_json::json!({ "added": added, "pings": pings }), |page| {
        ping::render(page, &names, &pings);
        if pings.iter().any(|ping| !ping.delivered) {
            page.line("The peer is accepted all the same. It answers when it has accepted this node, too, and is up.");
        }
    });
    Ok(Exit::Good)
}

/// Reads the file and compares it with what was read aloud, before the daemon is asked: it will compare again.
fn read_introduction(add: &Add) -> Result<String, Failure> {
    let doing = format!("reading the introduction {}", add.file.display());
    let wrong = |why: String, todo: &str| Failure::new(own::USAGE, &doing, why, todo);
    let size = std::fs::metadata(&add.file).map_err(|error| wrong(error.to_string(), ""))?.len();
    if size > MAX_INTRODUCTION_BYTES as u64 {
        return Err(wrong(format!("it is larger than {MAX_INTRODUCTION_BYTES} bytes"), ""));
    }
    let text = std::fs::read_to_string(&add.file).map_err(|error| wrong(error.to_string(), ""))?;
    let introduction = Introduction::parse(&text).map_err(|error| {
        let todo = "Ask the other State for the file again: `verbale introduction` prints it there.";
        wrong(error.to_string(), todo)
    })?;
    let read: Fingerprint = add
        .fingerprint
        .parse()
        .map_err(|error| wrong(format!("--fingerprint: {error}"), "Read all twelve groups of five digits."))?;
    introduction.fingerprint().compare(&read).map_err(|mismatch| {
        let why = format!("{mismatch}. Read: {read}. The file says: {}", introduction.fingerprint());
        let todo = "Nothing was accepted. Read the groups once more. If they still differ, this file is not the one \
                    that the other State meant, or it was changed on the way: have it handed over again.";
        Failure::new(code::WRONG_FINGERPRINT, format!("accepting {}", introduction.state()), why, todo)
    })?;
    Ok(text)
}

fn list(page: &mut Page, names: &Names, peers: &[PeerView]) {
    if peers.is_empty() {
        page.line("This node has no correspondents yet. Add one with `verbale peer add`.");
        return;
    }
    let rows: Vec<Vec<String>> = peers
        .iter()
        .map(|view| {
            vec![
                names.of(view.peer),
                view.peer.to_string(),
                safe::one_line(&view.status),
                safe::one_line(&view.connection),
                (view.queue.queued + view.queue.unreceipted).to_string(),
                view.last_heard.map(when::utc_and_local).unwrap_or_else(|| "never".to_owned()),
            ]
        })
        .collect();
    page.table(&["State", "node", "status", "connection", "waiting", "last heard"], &rows);
    page.gap();
    page.line(NO_POSITION);
}

/// One correspondent, at length.
pub fn show(page: &mut Page, names: &Names, view: &PeerView) {
    page.strong(names.full(view.peer));
    let waiting = match view.queue.queued + view.queue.unreceipted {
        0 => "nothing".to_owned(),
        _ => format!(
            "{} queued, {} in the log without a receipt; the oldest for {}",
            view.queue.queued,
            view.queue.unreceipted,
            when::roughly(std::time::Duration::from_millis(view.queue.oldest_ms))
        ),
    };
    let log = |origin: &str, text: String| if origin.is_empty() { String::new() } else { text };
    page.fields(&[
        ("status", safe::one_line(&view.status)),
        ("connection", safe::one_line(&view.connection)),
        ("why", safe::one_line(&view.why)),
        ("last heard", view.last_heard.map(when::utc_and_local).unwrap_or_else(|| "never".to_owned())),
        ("its clock", view.clock_offset_ms.map(|ms| format!("{ms:+} ms against ours")).unwrap_or_default()),
        ("addresses", safe::one_line(&view.addresses.join(", "))),
        ("fingerprint", safe::one_line(&view.fingerprint)),
        ("certificate", view.certificate_days.map(|days| format!("{days} days left")).unwrap_or_default()),
        ("waiting", waiting),
        (
            "our log",
            log(
                &view.own_log,
                format!("{}: {} entries, receipt for {}", view.own_log, view.own_size, view.own_receipted),
            ),
        ),
        ("today from it", format!("{} of {}", rounded(view.today_bytes), rounded(view.quota_bytes))),
        ("its log", log(&view.peer_log, format!("{}: {} entries held", view.peer_log, view.peer_size))),
    ]);
}
