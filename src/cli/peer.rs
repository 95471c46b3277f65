//! `verbale peer`: who is a correspondent, and the ceremony by which one becomes it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::out::{Exit, Out, Page, own};
use super::ping::{self, Watcher};
use super::place::{Names, Place, unexpected};
use super::status::rounded;
use super::{ask, safe, when};
use crate::api::{Client, Failure, PeerAction, PeerAdd, PeerView, Reply, Request, code};
use crate::identity::{Fingerprint, Introduction, MAX_INTRODUCTION_BYTES};
use crate::name::{NO_POSITION, NodeName};

/// Groups of a fingerprint.
const GROUPS: usize = 12;

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
    #[command(
        after_help = "Example: verbale peer suspend XB\n\nNothing is lost: what is sent meanwhile waits here, and \
what the other State sends waits there. It is told nothing but that the connection is closed."
    )]
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
    #[command(
        after_help = "Example: verbale peer remove XB\n\nThe code is typed again at the terminal, or confirmed with \
--yes. What waits stays in the queue: it goes only if the node is accepted again with `verbale peer add`, in a new \
ceremony. To cut the connection for a while: `verbale peer suspend`."
    )]
    Remove {
        /// Which
        peer: NodeName,
        /// Do not ask for the code again; this is journalled
        #[arg(long)]
        yes: bool,
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
    let (peer, action, done) = match command {
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
        Peer::Remove { peer, yes } => return remove(place, out, &names, *peer, *yes).await,
        Peer::Suspend { peer } => (peer, PeerAction::Suspend, "is suspended until `verbale peer resume`."),
        Peer::Resume { peer } => (peer, PeerAction::Resume, "is resumed; it is being reached now."),
        Peer::Reopen { peer } => {
            (peer, PeerAction::Reopen, "may go on from here. It does when a person has agreed there too.")
        }
    };
    let client = place.client().await?;
    client.call(&Request::PeerAct { peer: *peer, action, confirmed_by_flag: false }).await?;
    let waiting = waiting(&client, *peer).await?;
    out.show(&serde_json::json!({ "done": true, "waiting": waiting }), |page| {
        page.line(format!("{} {done}", names.full(*peer)));
        if action == PeerAction::Suspend {
            page.line(match waiting {
                0 => "Nothing waits for it. What is sent from now on waits here until then.".to_owned(),
                some => format!("{} here until then, and what is sent from now on, too.", messages_wait(some)),
            });
        }
    });
    Ok(Exit::Good)
}

/// Messages towards a node that it has not receipted.
async fn waiting(client: &Client, peer: NodeName) -> Result<u64, Failure> {
    let views = peers(client, &Request::PeerShow { peer }).await?;
    Ok(views.first().map_or(0, |view| view.queue.queued + view.queue.unreceipted))
}

fn messages_wait(count: u64) -> String {
    if count == 1 { "1 message waits".to_owned() } else { format!("{count} messages wait") }
}

async fn remove(place: &Place, out: &mut Out, names: &Names, peer: NodeName, yes: bool) -> Result<Exit, Failure> {
    let doing = format!("ending the correspondence with {peer}");
    let client = place.client().await?;
    let waiting = waiting(&client, peer).await?;
    out.tell(&format!("This ends the correspondence with {}. Both logs are kept.", names.full(peer)));
    if waiting > 0 {
        out.tell(&format!(
            "{} for it. What waits stays in the queue, unsent, and goes only if it is accepted again in a new ceremony; \
             `verbale outbox --peer {peer}` lists it, `verbale outbox cancel` takes it out.",
            messages_wait(waiting)
        ));
    }
    if !yes {
        let typed = ask::line(&doing, &format!("Type {peer} again to end it:")).map_err(|failure| Failure {
            todo: "Run it on a terminal, or confirm with --yes, which is journalled.".to_owned(),
            ..failure
        })?;
        if typed != peer.to_string() {
            return Err(ask::not_confirmed(&doing));
        }
    }
    client.call(&Request::PeerAct { peer, action: PeerAction::Remove, confirmed_by_flag: yes }).await?;
    out.show(&serde_json::json!({ "done": true, "waiting": waiting }), |page| {
        page.line(format!("{} is no longer a correspondent.", names.full(peer)));
    });
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
    let mut watcher = Watcher::waiting(out, String::new());
    let pings = ping::rounds(&client, &peers, 1, ping::DEFAULT_TIMEOUT, &mut watcher).await?;
    drop(watcher);
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
    let unread = "Is this the file that the other State handed over, and may this user read it?";
    let size = std::fs::metadata(&add.file).map_err(|error| wrong(error.to_string(), unread))?.len();
    if size > MAX_INTRODUCTION_BYTES as u64 {
        return Err(wrong(format!("it is larger than {MAX_INTRODUCTION_BYTES} bytes"), ""));
    }
    let text = std::fs::read_to_string(&add.file).map_err(|error| wrong(error.to_string(), unread))?;
    let introduction = Introduction::parse(&text).map_err(|error| {
        let todo = "Ask the other State for the file again: `verbale introduction` prints it there.";
        wrong(error.to_string(), todo)
    })?;
    let read: Fingerprint = add
        .fingerprint
        .parse()
        .map_err(|error| wrong(format!("--fingerprint: {error}"), "Read all twelve groups of five digits."))?;
    introduction.fingerprint().compare(&read).map_err(|mismatch| {
        // What the file says is not shown: a fingerprint that is copied from the file proves nothing.
        let all = mismatch.groups.len() == GROUPS;
        let why = match all {
            true => "the fingerprint is another one altogether: it was read from another introduction".to_owned(),
            false => format!("{mismatch} from those of the file"),
        };
        let todo = "Nothing was accepted. Have the other State read its groups once more, from its own `verbale init` or \
                    `verbale introduction`, over a number that you knew before. If they still differ, this file is not \
                    the one that it meant, or it was changed on the way: have it handed over again.";
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
                when::utc_and_local(view.since),
            ]
        })
        .collect();
    page.table(&["State", "node", "status", "connection", "waiting", "since"], &rows);
    page.gap();
    page.line(format!("{} {NO_POSITION}", when::zone_note()));
}

/// When it was last heard from, as far as this run of the node knows.
pub fn last_heard(view: &PeerView) -> String {
    match view.last_heard {
        Some(at) => when::utc_and_local(at),
        None => "not since this node was started".to_owned(),
    }
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
        ("connection", format!("{} since {}", safe::one_line(&view.connection), when::utc_and_local(view.since))),
        ("why", safe::one_line(&view.why)),
        ("to do", safe::one_line(&view.todo)),
        ("last heard", last_heard(view)),
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
