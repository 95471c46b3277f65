//! What is up, what is wrong, and what to do about it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::clock::days_left;
use super::desk::peers;
use super::order::{Node, Stopped};
use super::trouble::{certificates, correspondents, own};
use crate::api::{Folder, LogFilter, NodeView, StatusView};
use crate::identity::root_key_in_folder;
use crate::name::{Millis, NodeName};

/// How long a message that expired unsent is named: a long weekend, so that whoever comes back to the desk reads of it.
pub const EXPIRED_SHOWN: Duration = Duration::from_secs(72 * 3_600);

/// Messages sent that are looked at for those that expired.
const MAX_LOOKED_AT: u32 = 2_000;

/// Messages that wait for an acknowledgement are counted up to this number.
const MAX_COUNTED: usize = 10_000;

/// How things stand.
///
/// # Errors
/// [`Stopped`].
pub(super) async fn view(node: &Arc<Node>) -> Result<StatusView, Stopped> {
    let names: Vec<NodeName> = node.with_roster(|roster| roster.peers().map(|(name, _)| name).collect());
    let asked = names.clone();
    let (fence, urgent) = node
        .ask(move |core| {
            let urgent = asked.into_iter().filter(|name| core.is_urgent(*name));
            (core.fold().fenced.map(|fence| fence.peer), urgent.collect::<BTreeSet<_>>())
        })
        .await?;
    let mut peers = peers::views(node, names).await?;
    let asked = node.clone();
    let disk = tokio::task::spawn_blocking(move || look_at_disk(&asked)).await.unwrap_or_default();
    let now = node.clock.now();
    let standing = node.standing().clone();
    let mut troubles = Vec::new();
    own::of_node(node, now, &standing, &disk, &mut troubles);
    own::of_fence(fence, &mut troubles);
    certificates::look(node, now, &mut troubles);
    for peer in &peers {
        let standing = standing.peers.get(&peer.peer).cloned().unwrap_or_default();
        correspondents::look(now, peer, &standing, urgent.contains(&peer.peer), &mut troubles);
    }
    troubles.sort_by_key(|trouble| match trouble.level.as_str() {
        "error" => 0,
        "warning" => 1,
        _ => 2,
    });
    // Who is no correspondent any more is named where something is left behind, and listed nowhere else.
    peers.retain(|peer| peer.status != "removed");
    let unacknowledged = disk.unacknowledged as u64;
    Ok(StatusView { node: node_view(node, now, &disk), peers, troubles, unacknowledged })
}

/// What reading the folder and the index has shown.
#[derive(Default)]
pub(super) struct DiskLook {
    bytes: u64,
    pub(super) free: u64,
    pub(super) root_key: Option<PathBuf>,
    unacknowledged: usize,
    /// Messages that left the queue unsent of late: for whom, and when their time had passed.
    pub(super) expired: Vec<(NodeName, Millis)>,
    /// Files of the node that were there and are not, or are shorter than they were.
    pub(super) gone: Vec<String>,
}

fn look_at_disk(node: &Node) -> DiskLook {
    DiskLook {
        bytes: folder_bytes(&node.folder),
        free: crate::journal::free_bytes(&node.folder).unwrap_or(0),
        root_key: root_key_in_folder(&node.folder),
        unacknowledged: node.index.unacknowledged(MAX_COUNTED).unwrap_or(0),
        expired: expired(node),
        gone: node.upkeep.gone(&node.folder),
    }
}

/// Messages of people that expired in the last [`EXPIRED_SHOWN`], among the newest that were sent.
fn expired(node: &Node) -> Vec<(NodeName, Millis)> {
    let since = Millis(node.clock.now().0.saturating_sub(u64::try_from(EXPIRED_SHOWN.as_millis()).unwrap_or(0)));
    let filter = LogFilter { limit: MAX_LOOKED_AT, ..LogFilter::default() };
    let sent = node.index.messages(Folder::Outbox, &filter).unwrap_or_default();
    let expired = sent.iter().filter(|message| message.expired);
    expired.filter_map(|message| Some((message.peer, message.expires?))).filter(|(_, at)| *at >= since).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_measured_with_one_level_below_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), [0; 10]).unwrap();
        std::fs::create_dir(folder.path().join("journal")).unwrap();
        std::fs::write(folder.path().join("journal/b"), [0; 5]).unwrap();
        assert_eq!(folder_bytes(folder.path()), 15);
    }
}
