//! What is up, what is wrong, and what to do about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::clock::days_left;
use super::desk::peers;
use super::order::{Node, Stopped};
use super::standing::{PeerStanding, is_fresh};
use crate::api::{NodeView, PeerView, StatusView, Trouble};
use crate::identity::{PeerStatus, root_key_in_folder};
use crate::journal::Condition;
use crate::name::{Millis, NodeName};

/// Days before the end of a certificate at which an operator is told: `status` warns from the first on, and loudly from
/// the third on.
pub const CERTIFICATE_DAYS: [i64; 4] = [60, 30, 7, 1];

/// A clock that differs this much from a peer's is worth a look: receipts carry its times.
pub const MAX_CLOCK_OFFSET: Duration = Duration::from_secs(120);

/// A peer that is not reached and for whom something has waited this long is named.
pub const MAX_QUEUE_AGE: Duration = Duration::from_secs(15 * 60);

/// Free bytes below which the disk is named before it is full.
pub const FEW_FREE_BYTES: u64 = 1 << 30;

/// Messages that wait for an acknowledgement are counted up to this number.
const MAX_COUNTED: usize = 10_000;

/// How things stand.
///
/// # Errors
/// [`Stopped`].
pub(super) async fn view(node: &Arc<Node>) -> Result<StatusView, Stopped> {
    let names = node.with_roster(|roster| {
        let wanted = roster.peers().filter(|(_, accepted)| accepted.status != PeerStatus::Removed);
        wanted.map(|(name, _)| name).collect()
    });
    let peers = peers::views(node, names).await?;
    let fence = node.ask(|core| core.fold().fenced.map(|fence| fence.peer)).await?;
    let asked = node.clone();
    let disk = tokio::task::spawn_blocking(move || look_at_disk(&asked)).await.unwrap_or_default();
    let now = node.clock.now();
    let mut troubles = Vec::new();
    of_node(node, now, &disk, &mut troubles);
    if let Some(peer) = fence {
        troubles.push(trouble(
            "error",
            "fenced",
            format!("{peer} showed that another instance speaks under this node's keys; this node signs nothing"),
            "stop the other instance for good; then run `verbale recover --from-peers` here",
        ));
    }
    of_certificates(node, now, &mut troubles);
    peers.iter().for_each(|peer| of_peer(peer, &mut troubles));
    troubles.sort_by_key(|trouble| trouble.level != "error");
    Ok(StatusView { node: node_view(node, now, &disk), peers, troubles, unacknowledged: disk.unacknowledged as u64 })
}

#[derive(Default)]
struct DiskLook {
    bytes: u64,
    free: u64,
    root_key: Option<PathBuf>,
    unacknowledged: usize,
}

fn look_at_disk(node: &Node) -> DiskLook {
    DiskLook {
        bytes: folder_bytes(&node.folder),
        free: crate::journal::free_bytes(&node.folder).unwrap_or(0),
        root_key: root_key_in_folder(&node.folder),
        unacknowledged: node.index.unacknowledged(MAX_COUNTED).unwrap_or(0),
    }
}

/// Bytes of all files in a folder and one level of folders below it, as the node lays them out.
fn folder_bytes(folder: &Path) -> u64 {
    let list = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut bytes = 0;
    for entry in list(folder) {
        let Ok(data) = entry.metadata() else { continue };
        if data.is_dir() {
            bytes += list(&entry.path()).filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>();
        } else {
            bytes += data.len();
        }
    }
    bytes
}

fn node_view(node: &Node, now: Millis, disk: &DiskLook) -> NodeView {
    let listen = node.listening.iter().map(ToString::to_string).collect();
    NodeView {
        node: node.me,
        exercise: node.me.state().is_exercise(),
        started: node.started,
        listen,
        records: node.journal_end(),
        bytes: disk.bytes,
        free_bytes: disk.free,
        certificate_days: days_left(now, node.own_certificate_until()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn trouble(level: &str, code: &str, what: impl Into<String>, todo: impl Into<String>) -> Trouble {
    Trouble { level: level.into(), code: code.into(), what: what.into(), todo: todo.into() }
}

fn of_node(node: &Node, now: Millis, disk: &DiskLook, troubles: &mut Vec<Trouble>) {
    let standing = node.standing().clone();
    let folder = node.folder.display();
    let make_room = format!("free space on the file system of {folder}; the node goes on by itself");
    match standing.disk {
        Some(Condition::OnReserve | Condition::DiskFull) => {
            troubles.push(trouble(
                "error",
                "disk",
                "the disk is full; nothing new is taken, nothing is lost",
                make_room,
            ));
        }
        _ if disk.free < FEW_FREE_BYTES => {
            let what = format!("only {} MiB are free on the file system of {folder}", disk.free >> 20);
            troubles.push(trouble("warning", "disk", what, make_room));
        }
        _ => {}
    }
    if let Some(path) = &disk.root_key {
        let what = format!("a root key lies in the node's folder: {}", path.display());
        let todo = "move it to a medium that is locked away; whoever takes this machine would hold the State's root";
        troubles.push(trouble("warning", "root-key", what, todo));
    }
    for peer in &standing.left_out {
        let todo = "ask the peer for a new introduction and run `verbale peer add` again";
        troubles.push(trouble("error", "introduction", format!("an introduction cannot be used: {peer}"), todo));
    }
    if standing.bodies_lost > 0 {
        let what = format!("{} bodies could not be opened since the start", standing.bodies_lost);
        troubles.push(trouble("error", "damage", what, "run `verbale log verify`; it names what is affected"));
    }
    let found = standing.found.iter().filter(|found| !standing.damages.contains(found));
    for damage in standing.damages.iter().chain(found) {
        let todo = "keep a copy of the folder; run `verbale log verify`; peers hold what was exchanged with them";
        troubles.push(trouble("error", "damage", damage.clone(), todo));
    }
    for (peer, standing) in &standing.peers {
        of_instances(now, *peer, standing, troubles);
    }
    of_index(node, troubles);
    of_pager(node, troubles);
    let last = node.newest_at_start;
    if last > now.after(MAX_CLOCK_OFFSET) {
        let what = format!("this machine's clock stands at {now}, but the journal has records of {last}");
        troubles.push(trouble("error", "clock", what, "set the clock by a time server"));
    }
}

fn of_instances(now: Millis, peer: NodeName, standing: &PeerStanding, troubles: &mut Vec<Trouble>) {
    if standing.second_instance.is_some_and(|at| is_fresh(now, at)) {
        let what =
            format!("{peer} runs twice under the same keys; messages pass with the instance that was there first");
        let todo = format!("ask the administrator of {peer} by telephone which of the two is to go on");
        troubles.push(trouble("warning", "second-instance", what, todo));
    }
    if standing.said_second_instance.is_some_and(|at| is_fresh(now, at)) {
        let what = format!("{peer} says that this node runs twice under the same keys");
        let todo = "find the other instance, often a copied or restored folder, and stop one of the two for good";
        troubles.push(trouble("error", "second-instance", what, todo));
    }
}

fn of_index(node: &Node, troubles: &mut Vec<Trouble>) {
    let progress = node.index.progress();
    if let Some(why) = progress.failed {
        let todo =
            "free space, or look at the permissions of the folder `store`; nothing of the exchange depends on it";
        troubles.push(trouble("error", "index", format!("the index stands still: {why}"), todo));
    } else if let Some(rebuild) = progress.rebuilds.last().filter(|_| progress.indexed < progress.durable) {
        let what = format!(
            "the index is being built anew ({}): {} of {} records; lists are shorter meanwhile",
            rebuild.reason, progress.indexed, progress.durable
        );
        troubles.push(trouble("warning", "index", what, "nothing; it ends by itself"));
    }
}

fn of_pager(node: &Node, troubles: &mut Vec<Trouble>) {
    let health = node.pager.health();
    if let Some(why) = health.failing {
        let what = format!("the command for new messages fails: {why}");
        let todo = "mend [on_message] in verbale.toml and reload; until then look at `verbale inbox` yourself";
        troubles.push(trouble("error", "on-message", what, todo));
    }
    if health.given_up > 0 {
        let what = format!("for {} messages the command was not run, because too many came at once", health.given_up);
        troubles.push(trouble("warning", "on-message", what, "look at `verbale inbox`; they are all there"));
    }
}

/// The warning for a certificate that ends in so many days; `None` where there is time.
fn certificate_level(days: i64) -> Option<&'static str> {
    let [first, _, loud, _] = CERTIFICATE_DAYS;
    match days {
        _ if days <= loud => Some("error"),
        _ if days <= first => Some("warning"),
        _ => None,
    }
}

fn certificate(whose: &str, what: &str, days: i64, todo: &str) -> Option<Trouble> {
    let level = certificate_level(days)?;
    let when = match days {
        ..0 => "has expired; sessions are restricted and messages wait".to_owned(),
        0 => "ends today".to_owned(),
        1 => "ends in 1 day".to_owned(),
        days => format!("ends in {days} days"),
    };
    Some(trouble(level, "certificate", format!("{whose}: the {what} {when}"), todo))
}

fn of_certificates(node: &Node, now: Millis, troubles: &mut Vec<Trouble>) {
    let own = "renew it with the State's root and hand the new introduction to every peer";
    for expiry in node.introduction.expiries() {
        let whose = expiry.node.map_or_else(|| "this State".to_owned(), |name| format!("{name} (this State)"));
        troubles.extend(certificate(&whose, expiry.what, days_left(now, expiry.at), own));
    }
    let theirs = "ask the peer for its new introduction in good time, and run `verbale peer add` with it";
    let anchors = node.anchors.load();
    for (peer, anchor) in anchors.iter().filter(|(_, anchor)| anchor.status == PeerStatus::Active) {
        for expiry in anchor.introduction().expiries() {
            if expiry.node.is_none_or(|node| node == peer) {
                let whose = peer.to_string();
                troubles.extend(certificate(&whose, expiry.what, days_left(now, expiry.at), theirs));
            }
        }
    }
}

fn of_peer(peer: &PeerView, troubles: &mut Vec<Trouble>) {
    let name = peer.peer;
    if peer.connection == "frozen" {
        let what = format!("two histories with {name}; the usual cause is a restored backup. One direction waits");
        let todo = format!("speak with {name} by telephone, then run `verbale peer reopen {name}` on both sides");
        troubles.push(trouble("error", "frozen", what, todo));
    }
    let waits = peer.queue.queued + peer.queue.unreceipted;
    let age = Duration::from_millis(peer.queue.oldest_ms);
    if peer.status == "active" && waits > 0 && age >= MAX_QUEUE_AGE {
        let what = format!("{waits} entries wait for {name}, the oldest for {} min. {}", age.as_secs() / 60, peer.why);
        let todo = format!("`verbale doctor {name}` names the first layer that fails; urgent matters go by telephone");
        troubles.push(trouble("warning", "peer-down", what, todo));
    }
    let offset = peer.clock_offset_ms.unwrap_or(0).unsigned_abs();
    if u128::from(offset) > MAX_CLOCK_OFFSET.as_millis() {
        let what = format!("the clocks of {name} and of this node differ by {} s", offset / 1000);
        troubles.push(trouble("warning", "clock", what, "compare both clocks with a time server"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_named_from_sixty_days_on_and_loudly_from_seven() {
        assert_eq!(certificate_level(CERTIFICATE_DAYS[0] + 1), None);
        assert_eq!(certificate_level(CERTIFICATE_DAYS[0]), Some("warning"));
        assert_eq!(certificate_level(CERTIFICATE_DAYS[2] + 1), Some("warning"));
        assert_eq!(certificate_level(CERTIFICATE_DAYS[2]), Some("error"));
        assert_eq!(certificate_level(-1), Some("error"));
        let expired = certificate("XB", "TLS certificate", -1, "").unwrap();
        assert!(expired.what.contains("has expired"), "{expired:?}");
    }

    #[test]
    fn two_instances_are_named_while_it_is_fresh_whichever_side_runs_twice() {
        let at = Millis(1_000_000);
        let standing =
            PeerStanding { second_instance: Some(at), said_second_instance: Some(at), ..PeerStanding::default() };
        let found = |now| {
            let mut troubles = Vec::new();
            of_instances(now, "XB".parse().unwrap(), &standing, &mut troubles);
            troubles.iter().map(|trouble| (trouble.level.clone(), trouble.code.clone())).collect::<Vec<_>>()
        };
        let both = [("warning", "second-instance"), ("error", "second-instance")];
        assert_eq!(found(at), both.map(|(level, code)| (level.to_owned(), code.to_owned())));
        let last = at.after(super::super::standing::NOT_NOW_HOLDS);
        assert_eq!(found(last).len(), 2);
        assert!(found(Millis(last.0 + 1)).is_empty());
    }

    #[test]
    fn a_folder_is_measured_with_one_level_below_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), [0; 10]).unwrap();
        std::fs::create_dir(folder.path().join("journal")).unwrap();
        std::fs::write(folder.path().join("journal/b"), [0; 5]).unwrap();
        assert_eq!(folder_bytes(folder.path()), 15);
    }
}
