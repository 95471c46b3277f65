//! `verbale status`: what is up, what is wrong, what to do; and `verbale recover`.

use std::time::Duration;

use clap::Args;

use super::out::{Exit, Out, Page};
use super::place::{Names, Place, unexpected};
use super::{ask, safe, when};
use crate::api::{Failure, PeerView, Reply, Request, StatusView, Trouble};
use crate::settings::ByteSize;

/// `verbale status`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale status\n\n\
Each thing that is wrong is listed with: what, since when, what is affected, what to do. Wrong is, among others: a peer \
that is down while a message has waited for it for 30 s (10 s if IMMEDIATE or FLASH); messages that expired unsent in the last three days; \
messages left behind by `peer remove` or `peer suspend`; a direction that waits for people; damage; a disk that is short; \
a certificate, this State's or a peer's, within 60 days of its end; a command for new messages that fails. A peer that is \
down while nothing waits for it is a notice and not wrong. A peer that dies without a word is known to be down within a \
quarter of a minute, within five seconds while something was sent to it (longer on links with a long round trip).\n\n\
Exit codes: 0 nothing is wrong (there may be notices); 1 something is wrong; 3 no daemon answers; 4 refused; 5 this \
node's own trouble. --json: {node, peers, troubles: [{level, code, peer, what, since, affects, todo}], unacknowledged}.")]
pub struct Status {}

/// `verbale recover`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale recover --from-peers\n\n\
For a node that was restored from a backup, or that has fenced itself because another instance has spoken under its \
keys. Make sure first that no other instance runs. The node then fetches from each peer what it said, and goes on in new \
volumes.")]
pub struct Recover {
    /// Fetch everything from the peers and open new volumes
    #[arg(long, required = true)]
    pub from_peers: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// Runs `verbale status`.
///
/// # Errors
/// As the daemon says.
pub async fn run(place: &Place, out: &mut Out, _: &Status) -> Result<Exit, Failure> {
    let mut view = match place.client().await?.call(&Request::Status).await? {
        Reply::Status(view) => *view,
        other => return Err(unexpected(&other)),
    };
    let names = place.names();
    names.sort(&mut view.peers, |peer| peer.peer);
    out.show(&view, |page| render(page, &names, &view));
    Ok(if view.troubles.iter().any(Trouble::is_wrong) { Exit::NotSo } else { Exit::Good })
}

/// Runs `verbale recover`.
///
/// # Errors
/// Not confirmed, or as the daemon says.
pub async fn recover(place: &Place, out: &mut Out, command: &Recover) -> Result<Exit, Failure> {
    let doing = "recovering from the peers";
    if !command.yes {
        out.tell("Make sure that no other instance of this node runs anywhere: two would contradict each other.");
        if !ask::line(doing, "Is this the only one? Type y:")?.eq_ignore_ascii_case("y") {
            return Err(ask::not_confirmed(doing));
        }
    }
    match place.client().await?.call(&Request::Recover).await? {
        Reply::Done => {}
        other => return Err(unexpected(&other)),
    }
    out.show(&serde_json::json!({ "done": true }), |page| {
        page.line("Begun. Each peer is asked for what this node said; then a new volume is opened with it.");
        page.line("Follow it with `verbale status`.");
    });
    Ok(Exit::Good)
}

fn render(page: &mut Page, names: &Names, view: &StatusView) {
    let node = &view.node;
    if node.exercise {
        page.strong("EXERCISE node: everything it sends is marked as exercise.");
    }
    page.strong(names.full(node.node));
    page.fields(&[
        ("runs since", when::utc_and_local(node.started)),
        ("listens on", node.listen.join(", ")),
        ("certificate", format!("{} days left", node.certificate_days)),
        ("journal", format!("{} records", node.records)),
        ("disk", format!("{} used, {} free", rounded(node.bytes), rounded(node.free_bytes))),
        ("version", node.version.clone()),
        ("to acknowledge", view.unacknowledged.to_string()),
    ]);
    page.gap();
    if view.peers.is_empty() {
        page.line("No correspondents yet: exchange introductions (`verbale introduction`, `verbale peer add`).");
    } else {
        let rows: Vec<Vec<String>> = view.peers.iter().map(|peer| row(names, peer)).collect();
        page.table(&["State", "node", "status", "connection", "since", "waiting", "oldest"], &rows);
        for peer in view.peers.iter().filter(|peer| !peer.why.is_empty()) {
            page.line(format!("{}: {}", peer.peer, safe::one_line(&peer.why)));
            page.line(format!("  To do: {}", safe::one_line(&peer.todo)));
        }
    }
    page.gap();
    view.troubles.iter().for_each(|it| trouble(page, it));
    if !view.troubles.iter().any(Trouble::is_wrong) {
        page.line("Nothing is wrong.");
    }
}

fn row(names: &Names, peer: &PeerView) -> Vec<String> {
    let oldest = when::roughly(Duration::from_millis(peer.queue.oldest_ms));
    let waiting = peer.queue.queued + peer.queue.unreceipted;
    vec![
        names.of(peer.peer),
        peer.peer.to_string(),
        safe::one_line(&peer.status),
        safe::one_line(&peer.connection),
        when::utc_and_local(peer.since),
        waiting.to_string(),
        if waiting == 0 { String::new() } else { oldest },
    ]
}

fn trouble(page: &mut Page, it: &Trouble) {
    page.strong(format!("{}: {}", it.level, safe::one_line(&it.what)));
    page.fields(&[
        ("since", it.since.map(when::utc_and_local).unwrap_or_default()),
        ("affects", safe::one_line(&it.affects)),
        ("to do", safe::one_line(&it.todo)),
    ]);
}

/// A size to one place, for people.
pub(super) fn rounded(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor {
            let tenths = bytes / (factor / 10);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    ByteSize(bytes).to_string()
}
