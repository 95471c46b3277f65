//! Two nodes with a path between them that a test can make bad.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use verbale::api::{MessageState, WaitFor};
use verbale::name::EntryId;

use crate::relay::Relay;
use crate::rig::{Rig, RootOf, message, until, up};

/// XA and XB, up, with everything between them going over `path`: XA is its first node, XB its second.
pub struct World {
    pub a: Rig,
    pub b: Rig,
    pub path: Relay,
    pub stage: tempfile::TempDir,
}

impl World {
    pub async fn new(seed: u64) -> Self {
        Self::with(seed, &[]).await
    }

    /// Like `new`, with other values of keys of the configuration on both sides.
    pub async fn with(seed: u64, keys: &[(&str, &str)]) -> Self {
        let stage = tempfile::tempdir().unwrap();
        let mut a = Rig::new(stage.path(), "XA", RootOf::TheState);
        let mut b = Rig::new(stage.path(), "XB", RootOf::TheState);
        let path = Relay::start(seed, listens(&a), listens(&b));
        dials(&a, &b, path.second());
        dials(&b, &a, path.first());
        for node in [&a, &b] {
            keys.iter().for_each(|(key, value)| set(node, key, value));
        }
        a.start().await;
        b.start().await;
        a.add(&b).await.unwrap();
        b.add(&a).await.unwrap();
        up(&a, &b).await;
        Self { a, b, path, stage }
    }

    /// The end of every test: what each side sent has arrived at the other, each once, and everything verifies.
    pub async fn all_is_well(&self) {
        for (from, to) in [(&self.a, &self.b), (&self.b, &self.a)] {
            all_arrived(from, to).await;
        }
        self.a.all_holds().await;
        self.b.all_holds().await;
    }
}

/// Waits until all that `from` sent is delivered, and compares it with what `to` received.
pub async fn all_arrived(from: &Rig, to: &Rig) {
    until("everything is delivered", async || {
        from.outbox().await.iter().all(|row| row.state == MessageState::Delivered)
    })
    .await;
    let (mut sent, mut received) = (ids(&from.outbox().await), ids(&to.inbox().await));
    sent.sort_unstable();
    received.sort_unstable();
    assert!(received.windows(2).all(|two| two[0] != two[1]), "{} received something twice", to.name);
    assert_eq!(sent, received, "what {} sent and {} received", from.name, to.name);
}

fn ids(rows: &[verbale::api::MessageRow]) -> Vec<EntryId> {
    rows.iter().map(|row| row.id).collect()
}

/// Sends numbered messages one after the other without waiting for receipts.
pub async fn queue(from: &Rig, to: &Rig, numbers: std::ops::Range<usize>) {
    for number in numbers {
        from.send(message(to, &format!("{number:04}"), WaitFor::Queued)).await;
    }
}

/// What a node has received, oldest first.
pub async fn subjects(node: &Rig) -> Vec<String> {
    node.inbox().await.into_iter().rev().map(|row| row.subject).collect()
}

/// Waits until `node` has received the numbers up to `end`, each once and in order.
pub async fn arrived_in_order(node: &Rig, end: usize) {
    until("all numbers have arrived", async || node.inbox().await.len() >= end).await;
    assert_eq!(subjects(node).await, (0..end).map(|number| format!("{number:04}")).collect::<Vec<_>>());
}

/// Where a node listens.
pub fn listens(node: &Rig) -> SocketAddr {
    let text = fs::read_to_string(node.folder.join("verbale.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("listen = ")).unwrap();
    line.trim_start_matches("listen = [\"").trim_end_matches("\"]").parse().unwrap()
}

/// Lets `node` dial `peer` at this address.
pub fn dials(node: &Rig, peer: &Rig, address: SocketAddr) {
    let path = node.folder.join("verbale.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.split("\n[peers.").next().unwrap();
    fs::write(&path, format!("{text}\n[peers.{}]\naddresses = [\"{address}\"]\n", peer.name)).unwrap();
}

/// Gives a key of a node's configuration another value.
pub fn set(node: &Rig, key: &str, value: &str) {
    let path = node.folder.join("verbale.toml");
    let text = fs::read_to_string(&path).unwrap();
    let begins = format!("{key} = ");
    assert_eq!(text.lines().filter(|line| line.starts_with(&begins)).count(), 1, "{key}");
    let lines: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with(&begins) { format!("{begins}{value}") } else { line.to_owned() })
        .collect();
    fs::write(&path, lines.join("\n") + "\n").unwrap();
}

/// Copies a folder with its modes, without the local socket.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let Ok(kind) = entry.file_type() else { continue };
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            match fs::copy(entry.path(), &target) {
                Ok(_) => {}
                // A running node renames and removes files.
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
            }
        }
    }
}

/// Puts an earlier copy of a stopped node's folder back.
pub fn restore(node: &Rig, copied: &Path) {
    fs::remove_dir_all(&node.folder).unwrap();
    copy(copied, &node.folder);
}
