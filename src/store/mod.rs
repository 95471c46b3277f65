//! sled: what is looked up, rebuilt from the journal at any time. It decides nothing, and must not know connections,
//! keys or bodies in clear.
//!
//! It holds, per volume of each log, the Merkle tree as tiles and the places of the entries in the journal, each 256 to
//! a value; the receipts; and one row of fixed length per message made by people, by which lists are shown without
//! opening a body. All of it comes from durable records ([`Index`] reads them from the journal by number, at its own
//! pace), in atomic steps of a few buffers, each together with the cursor that says how far it has come.
//!
//! # Why nothing here is believed
//!
//! sled 0.34.7 was measured to lose data that was flushed, silently: it may open empty, with entries missing in the
//! middle, or panic. So it is opened in a thread that may panic; the cursor names the group of the journal up to which
//! it was filled; every value has a checksum that covers its key; the tiles of a log must lead to its root, and the
//! numbers of rows and lookups to those of the cursor ([`Store::check`], which [`Index`] runs before it goes on). What
//! does not fit is moved aside and built anew, with the reason said. A read that meets damage is an error, never a
//! shorter answer, and has the index thread rebuild.

mod apply;
mod batch;
mod check;
mod cursor;
mod examine;
mod index;
mod key;
mod list;
mod log;
mod open;
mod pending;
mod posting;
mod proof;
mod row;
mod sealed;
mod tile;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::journal::ReadError;

pub use check::Checked;
pub use examine::{Examined, NotExamined, examine};
pub use index::{Index, IndexError, Progress};
pub use key::LogId;
pub use list::{EntryFilter, EntryRow, EntryRows, MAX_LISTED, MAX_SCANNED_ENTRIES, MessageFilter};
pub use log::Location;
pub use open::{OpenReport, Rebuild};
pub use proof::{InclusionProof, LogView, MAX_LEAF_HASHES};
pub use row::{Acknowledged, Message, Placed, Receipted, Stage};

/// Memory that sled may use for what it read. A larger cache was measured to gain nothing.
pub const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What was read does not fit what was written. The index thread rebuilds; ask again then.
    #[error("the index is damaged and is being rebuilt from the journal: {0}")]
    Damaged(String),
    /// The operating system refused something.
    #[error("the index in {}: {error}", folder.display())]
    Io {
        /// The store's folder.
        folder: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// It was filled from more records than the journal has: records that were durable are gone from there, and the
    /// index is kept as a witness of it.
    #[error("the index was filled from {0} records, which is more than the journal has")]
    Beyond(u64),
    /// A record of the journal that was needed cannot be read.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// Records of this log could not be read from the journal, so that its tree is incomplete.
    #[error("{0} entries of this log cannot be read from the journal; nothing can be proven of it")]
    Holes(u64),
    /// What was asked for does not lie within the log.
    #[error("there is no entry or size {asked} in this log of {size} entries")]
    OutOfRange {
        /// What was asked for.
        asked: u64,
        /// How many entries there are.
        size: u64,
    },
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::Io { folder: PathBuf::new(), error },
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl StoreError {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

/// The log for use. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    inner: RwLock<Inner>,
    /// Why a rebuild is due, where a read met damage.
    suspicion: Mutex<Option<String>>,
}

struct Inner {
    /// `None` only while the folder is moved aside, or where no new one could be made.
    db: Option<sled::Db>,
    batch: batch::Batch,
}

impl Inner {
    fn tree(&self) -> Result<&sled::Tree, StoreError> {
        self.db.as_deref().ok_or_else(|| StoreError::Damaged("it is not open".to_owned()))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.shared.folder).finish_non_exhaustive()
    }
}

impl Store {
    /// The number of the first record that is not taken in yet.
    pub fn next_record(&self) -> u64 {
        self.read().batch.cursor.next_record
    }

    /// Records of the journal that could not be read when they were due.
    pub fn unread_records(&self) -> u64 {
        self.read().batch.cursor.unread
    }

    // Whatever panics inside is caught before the lock is given back, so a poisoned lock is none.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.shared.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.shared.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a query; where it meets damage, a rebuild becomes due.
    fn query<T>(&self, run: impl FnOnce(&Inner, &sled::Tree) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let inner = self.read();
        let result = inner.tree().and_then(|tree| guarded(|| run(&inner, tree)));
        drop(inner);
        if let Err(error) = &result {
            self.suspect(error);
        }
        result
    }

    fn suspect(&self, error: &StoreError) {
        if let StoreError::Damaged(reason) = error {
            self.shared.suspicion.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.clone());
        }
    }

    fn take_suspicion(&self) -> Option<String> {
        self.shared.suspicion.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Turns a panic inside sled into damage.
fn guarded<T>(run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(StoreError::Damaged(panicked(&*panic))))
}

/// What a panic said.
fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    format!("sled panicked: {}", said.unwrap_or("without a word").chars().take(200).collect::<String>())
}
