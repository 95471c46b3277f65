//! The seam to the store: what the node looks up, and waiting until the index thread has come far enough. Nothing of the
//! exchange is decided from it; whoever reads an entry compares it with the record in the journal.

use std::sync::Arc;
use std::time::Duration;

use crate::api::{Folder, LogFilter, LogRow, VerifyView};
use crate::journal::{Reader, is_disk_full};
use crate::name::{EntryId, NodeName, Origin};
use crate::store::{EntryFilter, Index, LogId, Message, MessageFilter, Progress, Store, StoreError};

/// How long a command waits for the index. While it is built anew, lists are shorter, and say so in `status`.
const CATCH_UP: Duration = Duration::from_secs(10);

/// The store and the thread that fills it.
#[derive(Clone)]
pub(super) struct Lookup {
    store: Store,
    index: Arc<Index>,
    journal: Reader,
}

fn log_id(me: NodeName, origin: Origin) -> LogId {
    let own = origin.from == me;
    LogId { peer: if own { origin.to } else { origin.from }, own, volume: origin.volume }
}

/// The origin of a log.
pub(super) fn origin(me: NodeName, log: &LogId) -> Origin {
    let (from, to) = if log.own { (me, log.peer) } else { (log.peer, me) };
    Origin { from, to, volume: log.volume }
}

impl Lookup {
    pub(super) fn new(store: Store, index: Index, journal: Reader) -> Self {
        Self { store, index: Arc::new(index), journal }
    }

    /// All records below this number are durable.
    pub(super) fn durable(&self, next_record: u64) {
        self.index.durable(next_record);
    }

    /// How far the index thread is.
    pub(super) fn progress(&self) -> Progress {
        self.index.progress()
    }

    /// The record that put an entry into its log, as far as is known.
    pub(super) fn locate(&self, me: NodeName, origin: Origin, index: u64) -> Option<u64> {
        match self.store.entry_record(&log_id(me, origin), index) {
            Ok(location) => location.map(|location| location.record),
            Err(error) => {
                tracing::warn!(%origin, index, %error, "the index does not answer");
                None
            }
        }
    }

    /// A message by its id.
    pub(super) fn message(&self, id: EntryId) -> Result<Option<Message>, StoreError> {
        self.store.message(&id)
    }

    /// The messages that refer to one: acknowledgements, answers, corrections, …
    pub(super) fn replies(&self, id: EntryId) -> Result<Vec<Message>, StoreError> {
        self.store.replies(&id)
    }

    /// Messages that came, or that were sent, newest first.
    pub(super) fn messages(&self, folder: Folder, filter: &LogFilter) -> Result<Vec<Message>, StoreError> {
        let filter = MessageFilter {
            peer: filter.peer,
            case: filter.case,
            kind: filter.kind.map(|kind| kind.number()),
            from: filter.from,
            to: filter.to,
            limit: filter.limit as usize,
            unacknowledged: filter.unacknowledged,
            // What a person acknowledged is told with the message itself.
            without_acknowledgements: !filter.machine && filter.kind.is_none(),
            before_record: filter.before,
        };
        self.pages(folder, filter)
    }

    fn pages(&self, folder: Folder, mut filter: MessageFilter) -> Result<Vec<Message>, StoreError> {
        let wanted = filter.limit;
        let mut all: Vec<Message> = Vec::new();
        loop {
            filter.limit = wanted - all.len();
            let page = match folder {
                Folder::Inbox => self.store.inbox(&filter)?,
                Folder::Outbox => self.store.outbox(&filter)?,
            };
            filter.before_record = page.last().map(|last| last.record);
            let ended = page.is_empty();
            all.extend(page);
            if ended || all.len() >= wanted {
                return Ok(all);
            }
        }
    }

    /// Messages in the inbox that nobody acknowledged, counted up to `limit`.
    pub(super) fn unacknowledged(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.unacknowledged(limit)
    }

    /// Entries of all logs, newest first.
    pub(super) fn log_rows(&self, me: NodeName, filter: &LogFilter) -> Result<Vec<LogRow>, StoreError> {
        let mut wanted = EntryFilter {
            peer: filter.peer,
            case: filter.case,
            kind: filter.kind.map(|kind| kind.number()),
            from: filter.from,
            to: filter.to,
            limit: filter.limit as usize,
            machine: filter.machine,
            before_record: filter.before,
        };
        let mut rows = Vec::new();
        while rows.len() < filter.limit as usize {
            wanted.limit = filter.limit as usize - rows.len();
            let page = self.store.log_rows(&wanted, &self.journal)?;
            rows.extend(page.rows.iter().map(|row| LogRow {
                origin: origin(me, &row.log).to_string(),
                index: row.index,
                id: row.id,
                kind: super::desk::kind_word(row.kind),
                time: row.time,
                case: row.case,
                body_len: row.body_len,
                receipted: row.receipted,
                record: row.record,
            }));
            wanted.before_record = page.before_record;
            if page.before_record.is_none() {
                break;
            }
        }
        Ok(rows)
    }

    /// The record of the newest receipt that this node gave for a volume of a peer's log.
    pub(super) fn newest_receipt(&self, origin: Origin) -> Option<u64> {
        let log = LogId { peer: origin.from, own: false, volume: origin.volume };
        let receipted = self.store.log(&log).ok().flatten()?.receipted;
        let receipt = self.store.receipt(&log, receipted.checked_sub(1)?).ok().flatten()?;
        Some(receipt.record)
    }

    /// Compares every row with the journal and adds what was found to a verification. `no_room`: the disk is full.
    pub(super) fn verify_into(&self, view: &mut VerifyView, no_room: bool) {
        match self.store.verify_against(&self.journal) {
            // What there is no room for is behind, and fills itself when there is room; the journal has it all.
            Ok((checked, faults)) if !faults.is_empty() && (no_room || self.index.progress().failed.is_some()) => {
                view.rows = Some(checked.rows());
                let behind = format!("the index has no room and was not judged ({} differences)", faults.len());
                view.remarks.push(behind);
            }
            Ok((checked, faults)) => {
                view.rows = Some(checked.rows());
                view.faults.extend(faults.into_iter().map(|fault| format!("index: {fault}")));
            }
            Err(StoreError::Io { error, .. }) if is_disk_full(&error) => {
                view.remarks.push("the index was not held against the journal: the disk is full".to_owned());
            }
            Err(error) => view.faults.push(format!("index: {error}")),
        }
        view.good = view.faults.is_empty();
    }

    /// Has the index thrown away and built anew from the journal.
    pub(super) fn rebuild(&self, reason: &str) {
        self.index.rebuild(reason);
    }

    /// Waits until everything below this record is taken in, or for a while; blocks the thread.
    pub(super) fn caught_up_blocking(&self, next_record: u64) {
        if let Some(last) = next_record.checked_sub(1)
            && let Err(error) = self.index.wait_until(last)
        {
            tracing::warn!(%error, "the index is behind");
        }
    }

    /// Waits until everything below this record is taken in, or for a while.
    pub(super) async fn caught_up(&self, next_record: u64) {
        if self.index.progress().indexed >= next_record {
            return;
        }
        let lookup = self.clone();
        let caught_up = tokio::task::spawn_blocking(move || lookup.caught_up_blocking(next_record));
        let _ = tokio::time::timeout(CATCH_UP, caught_up).await;
    }
}
