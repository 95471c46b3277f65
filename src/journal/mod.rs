//! The append-only files that are the truth, and what lies beside them: key slots, enclosures, snapshots, the sentinel.
//! It must not know what a record means: a record is opaque bytes.
//!
//! # Which system calls, in which order
//!
//! *Append* (D1, D2). All calls of [`Journal::append`] that wait are put into one group: one `pwrite` at the end of the
//! last durable group, inside a region that was filled with zeros before; one `fdatasync`; then the end is published
//! and the waiters are told. The next `pwrite` comes only after that.
//!
//! *A new segment*, when the group does not fit into the old one: `open(…tmp)`, `pwrite` of zeros (or a spare file that
//! was filled and synced ahead of need), `pwrite` of header and group, `fdatasync`, `rename` to the final name, `fsync`
//! of the folder; then the waiters are told; then `ftruncate` of the old segment to its durable end.
//!
//! *Start* (D3). Remove `*.tmp`; read all headers and the whole last segment; the last good group, verbatim, becomes
//! the first of a new segment by the very calls above. Its header names the end *before* that group, so the old copy
//! is dead. If the old segment holds nothing but that group, the new one is renamed over it (a torn end is first linked
//! under another name). Only then does [`Journal::open`] return.
//!
//! *Failure*. `pwrite` that says that the disk is full is tried again at the same offset with the same bytes, first by
//! giving free the reserve, then as often as it takes; nothing that came later overtakes it. A failed sync, and any
//! other error, is the end: [`Condition::Failed`], and the process must end, because the page cache may show lost bytes
//! as clean.
//!
//! # What can be told apart
//!
//! What is not a good group where one must be is *damage*: a good group follows, or a successor, the segment's own name,
//! the end mark or another [`Witness`] says that it was durable. Damage is named with file, offset and records, and
//! reading goes on behind it; where nothing follows, the end of the journal is lost and it is not opened.
//!
//! Bytes behind the last good group of the last segment that no witness speaks for are *torn*: never durable, dead. The
//! end mark (see `end_mark`) is written after each sync without a sync of its own, so after kill -9 it is exact and a
//! torn write is always known for one. After a power cut it may lag, so that a flipped byte in the very last group may
//! look like a torn write. Then nothing is proven, and the start goes on; but where the bytes seem to have been written
//! whole ([`Torn::whole`]), which a torn write seldom was, people are told that it may be either.

mod append;
mod cursor;
mod disk;
mod enclosure;
mod end_mark;
mod frame;
mod lock;
mod open;
mod reader;
mod reserve;
mod scan;
mod segment;
mod sentinel;
mod slot_files;
mod slot_key;
mod snapshot;
mod vault;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

pub use append::{AppendError, Durable, MAX_FRESH_BYTES, MAX_WAITING_BYTES, Tail, Urgency};
pub use cursor::fuzz_scan;
pub use disk::{
    Disk, FilesystemKind, LocalDisk, create_folder, filesystem_kind, free_bytes, is_disk_full, sync_folder,
};
pub use enclosure::{
    CHUNK_BYTES, EnclosureError, EnclosureReader, EnclosureStore, EnclosureWriter, Finished, MAX_ENCLOSURE_BYTES,
    Orphan,
};
pub use end_mark::{END_MARK, EndMark, EndMarkState};
pub use frame::{
    BLINDING_BYTES, FRAME_HEADER_BYTES, FRAME_TRAILER_BYTES, Fault, FrameHeader, Group, Hash, MAX_FRAME_BYTES,
    MAX_RECORD_BYTES, Mark, Position, RECORD_OVERHEAD_BYTES, Record, leaf_hash, parse_frame_header, parse_group,
};
pub use lock::{FolderLock, LockError};
pub use open::{Look, MAX_DAMAGES_AT_OPEN, OpenError, Opened, look};
pub use reader::{ReadError, Reader};
pub use reserve::RESERVE_BYTES;
pub use scan::{Damage, Scan, Torn, Witness, scan};
pub use segment::{HEADER_COPY_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
pub use sentinel::{Change, Sentinel, SentinelState};
pub use slot_files::{SlotDamage, SlotFiles};
pub use slot_key::{SEALED_OVERHEAD_BYTES, SLOT_BYTES, SlotKey, WrappingKey, WrappingKeyError};
pub use snapshot::{
    KEPT_SNAPSHOTS, Loaded, MAX_SNAPSHOT_BYTES, Rejected, RejectedWhy, Snapshot, SnapshotError, SnapshotStore,
};
pub use vault::{BLOCK_SLOTS, MAX_CACHED_KEYS, MAX_REMEMBERED_REPAIRS, Repair, Sealed, SlotError, Vault, VaultError};

/// Bytes of a segment by default: filled with zeros in a few tens of milliseconds, and a thousand of them are 16 GiB.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// How long a record that nobody waits for may wait for company.
pub const RIDE: Duration = Duration::from_millis(20);

/// How the journal fares. Whoever shows it to a person says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All is well.
    Running,
    /// The disk is full and the journal lives on its reserve: take no more messages.
    OnReserve,
    /// There is no room at all: what was handed over waits, in order.
    DiskFull,
    /// A write or a sync failed: the process must end.
    Failed(String),
}

/// How a journal is opened.
#[derive(Clone)]
pub struct Options {
    /// Make a new journal; fails if there is one. Without it, fails if there is none.
    pub create: bool,
    /// Bytes of a segment; a group that is larger gets a segment of its own.
    pub segment_bytes: u64,
    /// Bytes kept back for the day when the disk is full.
    pub reserve_bytes: u64,
    /// How long a record with [`Urgency::Ride`] waits at most.
    pub ride: Duration,
    /// By which calls the disk is changed.
    pub disk: Arc<dyn Disk>,
    /// Go on although the end of the journal was lost: only where a person has decided so. What is left of it is set
    /// aside, and [`Opened::lost`] names it.
    pub accept_loss: bool,
    /// Called on the writer's thread when the condition changes; must not block.
    pub on_condition: Arc<dyn Fn(Condition) + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: false,
            segment_bytes: SEGMENT_BYTES,
            reserve_bytes: RESERVE_BYTES,
            ride: RIDE,
            disk: Arc::new(LocalDisk),
            accept_loss: false,
            on_condition: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("create", &self.create)
            .field("segment_bytes", &self.segment_bytes)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("ride", &self.ride)
            .finish_non_exhaustive()
    }
}

/// An open journal: the only writer of its folder.
///
/// Dropping it writes what still waits and ends the thread.
pub struct Journal {
    folder: PathBuf,
    shared: Arc<append::Shared>,
    reader: Reader,
    thread: Option<JoinHandle<()>>,
    _lock: FolderLock,
}

impl Journal {
    /// Opens the journal in a folder, carries out D3 and starts the writer.
    ///
    /// Whether named damage permits going on is for the caller to decide: it knows what its snapshot covers.
    pub fn open(folder: &Path, options: Options) -> Result<(Self, Opened), OpenError> {
        open::open(folder, options)
    }

    pub(crate) fn new(folder: PathBuf, shared: Arc<append::Shared>, thread: JoinHandle<()>, lock: FolderLock) -> Self {
        let reader = Reader::new(&folder, Some(Arc::clone(&shared)));
        Self { folder, shared, reader, thread: Some(thread), _lock: lock }
    }

    /// Hands records over and returns the number of the first one.
    ///
    /// Numbers follow the order of the calls, and all records of one call lie in one group. `done` is called once, on
    /// the writer's thread, after the group is durable or when it never will be; it must neither block nor panic. If an
    /// error is returned, nothing was taken and `done` is dropped.
    pub fn append(
        &self,
        records: Vec<Bytes>,
        urgency: Urgency,
        done: impl FnOnce(Result<Durable, AppendError>) + Send + 'static,
    ) -> Result<u64, AppendError> {
        self.shared.append(records, urgency, Box::new(done))
    }

    /// Hands records over and waits until they are durable. For start-up and tools; the exchange does not block.
    pub fn append_and_wait(&self, records: Vec<Bytes>) -> Result<Durable, AppendError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.append(records, Urgency::Now, move |result| {
            let _ = sender.send(result);
        })?;
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Where the durable groups end now.
    pub fn tail(&self) -> Tail {
        self.shared.tail()
    }

    /// How the journal fares.
    pub fn condition(&self) -> Condition {
        self.shared.condition()
    }

    /// Has the writer look at a full disk again now instead of in a second.
    pub fn retry(&self) {
        self.shared.poke();
    }

    /// A reader that sees each record as soon as it is durable.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The folder of the journal.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("folder", &self.folder).field("tail", &self.tail()).finish_non_exhaustive()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.shared.abandon();
    }
}
