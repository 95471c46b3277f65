//! What is wrong with the node itself: disk, journal, index, command, clock, and messages that were never sent.

use std::collections::BTreeMap;

use super::super::order::Node;
use super::super::standing::Standing;
use super::super::status::{DiskLook, EXPIRED_SHOWN};
use super::correspondents::MAX_CLOCK_OFFSET;
use super::{Level, Saying, count, trouble};
use crate::api::Trouble;
use crate::journal::Condition;
use crate::name::{Millis, NodeName};

/// Free bytes below which the disk is named before it is full.
pub const FEW_FREE_BYTES: u64 = 1 << 30;

/// What to do where the journal or its files are not as they were.
const KEEP_A_COPY: &str = "keep a copy of the folder, and look at the disk; `verbale log verify` names what is \
                           affected; peers hold what was exchanged with them";

pub(in crate::node) fn of_node(
    node: &Node,
    now: Millis,
    standing: &Standing,
    disk: &DiskLook,
    troubles: &mut Vec<Trouble>,
) {
    troubles.extend(of_disk(node, standing, disk));
    of_journal(node, standing, disk, troubles);
    of_expired(&disk.expired, troubles);
    if let Some(path) = &disk.root_key {
        troubles.push(
            trouble(Level::Warning, "root-key", format!("a root key lies in the node's folder: {}", path.display()))
                .affects("whoever takes this machine would hold the State's root")
                .todo("move it to a medium that is locked away"),
        );
    }
    for peer in &standing.left_out {
        troubles.push(
            trouble(Level::Error, "introduction", format!("an introduction cannot be used: {peer}"))
                .affects("that peer is not spoken to")
                .todo("ask the peer for a new introduction and run `verbale peer add` again"),
        );
    }
    troubles.extend(of_index(node));
    of_command(node, troubles);
    let last = node.newest_at_start;
    if last > now.after(MAX_CLOCK_OFFSET) {
        let what = format!("this machine's clock stands at {now}, but the journal has records of {last}");
        troubles.push(
            trouble(Level::Error, "clock", what)
                .since(node.started)
                .affects("times in messages and receipts; deadlines and expiry")
                .todo("set the clock by a time server"),
        );
    }
}

pub(in crate::node) fn of_fence(peer: Option<NodeName>, troubles: &mut Vec<Trouble>) {
    let Some(peer) = peer else { return };
    let what = format!("{peer} showed that another instance speaks under this node's keys");
    troubles.push(
        trouble(Level::Error, "fenced", what)
            .affects("this node signs nothing, for no peer; messages wait")
            .todo("stop the other instance for good; then run `verbale recover --from-peers` here"),
    );
}

fn of_disk(node: &Node, standing: &Standing, disk: &DiskLook) -> Option<Trouble> {
    let folder = node.folder.display();
    let todo = format!("free space on the file system of {folder}; the node goes on by itself");
    let it = match &standing.disk {
        Some((at, Condition::OnReserve | Condition::DiskFull)) => trouble(Level::Error, "disk", "the disk is full")
            .since(*at)
            .affects("nothing new is taken; nothing is lost"),
        _ if disk.free < FEW_FREE_BYTES => {
            let what = format!("only {} MiB are free on the file system of {folder}", disk.free >> 20);
            trouble(Level::Warning, "disk", what).affects("nothing yet; when it is full, nothing new is taken")
        }
        _ => return None,
    };
    Some(it.todo(todo))
}

fn of_journal(node: &Node, standing: &Standing, disk: &DiskLook, troubles: &mut Vec<Trouble>) {
    if standing.bodies_lost > 0 {
        let what = format!("{} could not be opened", count(standing.bodies_lost, "text", "texts"));
        let it = trouble(Level::Error, "damage", what).since(node.started);
        troubles.push(it.affects("these texts; their proofs stay").todo("`verbale log verify` names them"));
    }
    for damage in &standing.damages {
        troubles.push(
            trouble(Level::Error, "damage", damage.clone())
                .since(node.started)
                .affects("what stands there, and proofs over it; the exchange goes on")
                .todo(KEEP_A_COPY),
        );
    }
    for (at, damage) in node.upkeep.damages() {
        troubles.push(
            trouble(Level::Error, "damage", format!("the journal is damaged: {damage}"))
                .since(at)
                .affects("what stands there, and proofs over it; the exchange goes on")
                .todo(KEEP_A_COPY),
        );
    }
    if !disk.gone.is_empty() {
        troubles.push(
            trouble(Level::Error, "files-gone", format!("files of the node are gone or cut: {}", disk.gone.join(", ")))
                .affects("the node may not start again from this folder")
                .todo(KEEP_A_COPY),
        );
    }
    if let Some((at, faults, first)) = node.upkeep.verified() {
        let what = format!("the last `verbale log verify` found {}: {first}", count(faults, "fault", "faults"));
        let it = trouble(Level::Error, "verify", what).since(at).affects("see its report");
        troubles.push(it.todo("run `verbale log verify` again after the repair; it ends this line"));
    }
}

/// One line for each peer: an expired message was never sent, and nobody there knows of it.
fn of_expired(expired: &[(NodeName, Millis)], troubles: &mut Vec<Trouble>) {
    let mut by_peer: BTreeMap<NodeName, Vec<Millis>> = BTreeMap::new();
    for (peer, at) in expired {
        by_peer.entry(*peer).or_default().push(*at);
    }
    for (peer, times) in by_peer {
        let messages = count(times.len() as u64, "message", "messages");
        let it = trouble(Level::Warning, "expired", format!("{messages} for {peer} expired unsent")).peer(peer);
        let hours = EXPIRED_SHOWN.as_secs() / 3_600;
        troubles.push(Trouble {
            since: times.iter().min().copied(),
            affects: format!("{peer} does not have them, and is not told"),
            todo: format!(
                "`verbale outbox --peer {peer}` lists them; send again what still matters. Named for {hours} hours"
            ),
            ..it
        });
    }
}

fn of_index(node: &Node) -> Option<Trouble> {
    let progress = node.index.progress();
    if let Some(why) = progress.failed {
        let it = trouble(Level::Error, "index", format!("the index stands still: {why}"));
        let todo = "free space, or look at the permissions of the folder `store`; `verbale log rebuild` makes it anew";
        return Some(it.affects("lists and lookups; nothing of the exchange").todo(todo));
    }
    let rebuild = progress.rebuilds.last().filter(|_| progress.indexed < progress.durable)?;
    let (done, all) = (progress.indexed, progress.durable);
    let what = format!("the index is being built anew ({}): {done} of {all} records", rebuild.reason);
    Some(
        trouble(Level::Notice, "index", what).affects("lists are shorter meanwhile").todo("nothing; it ends by itself"),
    )
}

fn of_command(node: &Node, troubles: &mut Vec<Trouble>) {
    let health = node.pager.health();
    if let Some(why) = health.failing {
        troubles.push(
            trouble(Level::Error, "on-message", format!("the command for new messages fails: {why}"))
                .affects("nobody is called when a message comes; the messages are all in the inbox")
                .todo("mend [on_message] in verbale.toml and reload; until then look at `verbale inbox` yourself"),
        );
    }
    if health.given_up > 0 {
        let what = format!("for {} messages the command was not run, because too many came at once", health.given_up);
        let it = trouble(Level::Warning, "on-message", what).since(node.started);
        troubles.push(it.affects("nobody was called for these").todo("look at `verbale inbox`; they are all there"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expired_is_named_once_for_each_peer_since_the_first_of_it() {
        let (xb, xc) = ("XB".parse().unwrap(), "XC".parse().unwrap());
        let mut troubles = Vec::new();
        of_expired(&[(xc, Millis(7)), (xb, Millis(9)), (xb, Millis(5))], &mut troubles);
        let said: Vec<_> = troubles.iter().map(|it| (it.peer, it.since, it.what.as_str())).collect();
        assert_eq!(
            said,
            [
                (Some(xb), Some(Millis(5)), "2 messages for XB expired unsent"),
                (Some(xc), Some(Millis(7)), "1 message for XC expired unsent")
            ]
        );
        assert!(troubles.iter().all(Trouble::is_wrong));
    }
}
