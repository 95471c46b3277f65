//! When the state is written down, so that the next start need not read the whole journal: after many records, at a
//! moment when everything that the core has recorded is durable, and at the end. Written beside the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::order::Node;
use super::roster::Roster;
use crate::exchange::{Core, Fold};
use crate::journal::{Snapshot, SnapshotStore};

/// Records after which a snapshot is due: a start reads at most about this many, which takes a fraction of a second.
pub const SNAPSHOT_RECORDS: u64 = 100_000;

/// The form of the contents. It changes whenever the fold or the roster does.
pub(super) const FORMAT: u32 = 2;

/// Keeps count of what was recorded since the last snapshot.
pub(super) struct Snapshots {
    store: SnapshotStore,
    journal_id: [u8; 16],
    since: u64,
    saving: Arc<AtomicBool>,
}

impl Snapshots {
    /// `since`: records that are durable and in no snapshot.
    pub(super) fn new(store: SnapshotStore, journal_id: [u8; 16], since: u64) -> Self {
        Self { store, journal_id, since, saving: Arc::default() }
    }

    /// So many more records are durable.
    pub(super) fn written(&mut self, records: usize) {
        self.since += records as u64;
    }

    /// Takes a snapshot, where one is due and the core has recorded nothing that is not durable.
    pub(super) fn consider(&mut self, core: &Core, node: &Node, durable: u64) {
        if self.since < SNAPSHOT_RECORDS || core.fold().next_record() != durable {
            return;
        }
        if self.saving.swap(true, Ordering::AcqRel) {
            return;
        }
        self.since = 0;
        let Some(snapshot) = self.take(core, node) else { return };
        let (store, saving) = (self.store.clone(), self.saving.clone());
        tokio::task::spawn_blocking(move || {
            save(&store, &snapshot);
            saving.store(false, Ordering::Release);
        });
    }

    /// The last snapshot of a run.
    pub(super) async fn last(&mut self, core: &Core, node: &Node, durable: u64) {
        if self.since == 0 || core.fold().next_record() != durable {
            return;
        }
        if let Some(snapshot) = self.take(core, node) {
            let store = self.store.clone();
            let _ = tokio::task::spawn_blocking(move || save(&store, &snapshot)).await;
        }
    }

    fn take(&self, core: &Core, node: &Node) -> Option<Snapshot> {
        let contents = node.with_roster(|roster| postcard::to_stdvec(&(core.fold(), roster)));
        match contents {
            Ok(contents) => Some(Snapshot {
                format: FORMAT,
                journal_id: self.journal_id,
                next_record: core.fold().next_record(),
                contents: contents.into(),
            }),
            Err(error) => {
                tracing::warn!(%error, "no snapshot can be taken; the next start reads more of the journal");
                None
            }
        }
    }
}

fn save(store: &SnapshotStore, snapshot: &Snapshot) {
    match store.save(snapshot) {
        Ok(()) => tracing::debug!(next_record = snapshot.next_record, "snapshot written"),
        Err(error) => tracing::warn!(%error, "no snapshot was written; the next start reads more of the journal"),
    }
}

/// Reads the contents back; `None` where they are of another version after all.
pub(super) fn read(contents: &Bytes) -> Option<(Fold, Roster)> {
    postcard::from_bytes(contents).ok()
}
