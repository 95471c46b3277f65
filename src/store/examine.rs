//! Looking at a store without touching it: sled writes when it is opened, so an examination opens a copy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use crate::journal::{Reader, free_bytes, is_disk_full};

use super::open::{close, judge, open_as_it_is};
use super::{Checked, Shared, Store, StoreError};

/// Bytes that must stay free beside the copy and the second store: sled's first segments, and what others need.
const ROOM_BESIDE: u64 = 64 << 20;

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Examined {
    /// It was held against the journal; each difference in words.
    Compared(Checked, Vec<String>),
    /// It was filled from so many records, more than the journal has: a witness of what is lost there.
    Beyond(u64),
    /// It cannot be used; the next start builds it anew from the journal.
    Unusable(String),
}

/// Why a store was not examined.
#[derive(Debug, thiserror::Error)]
pub enum NotExamined {
    /// There is no store.
    #[error("there is no index; the next start builds it from the journal")]
    Absent,
    /// The copy does not fit.
    #[error("a copy of the index needs {needed} bytes in {}, and {free} are free (TMPDIR names another place)", .scratch.display())]
    NoRoom {
        /// Where the copy would lie.
        scratch: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The system refused something.
    #[error("no copy of the index could be made in {}: {error}", .scratch.display())]
    Io {
        /// Where the copy would lie.
        scratch: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// A folder that is removed on every way out.
struct Scratch(PathBuf);

impl Scratch {
    fn new(under: &Path) -> io::Result<Self> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system gave no random bytes"))?;
        let folder = under.join(format!("verbale-index-{}", data_encoding::HEXLOWER.encode(&random)));
        crate::journal::create_folder(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Holds a copy of a store against the journal. Nothing in the store's folder is changed; `under` is a folder for the
/// copy and for the second store that it is compared with, both of which are gone afterwards.
///
/// # Errors
/// See [`NotExamined`].
pub fn examine(folder: &Path, under: &Path, journal: &Reader) -> Result<Examined, NotExamined> {
    if !folder.is_dir() {
        return Err(NotExamined::Absent);
    }
    let scratch = under.to_owned();
    let failed = |error| NotExamined::Io { scratch: scratch.clone(), error };
    let needed = bytes_in(folder).map_err(failed)?.saturating_mul(2).saturating_add(ROOM_BESIDE);
    let free = free_bytes(under).map_err(failed)?;
    if free < needed {
        return Err(NotExamined::NoRoom { scratch, needed, free });
    }
    let own = Scratch::new(under).map_err(failed)?;
    let copy = own.0.join("copy");
    copy_folder(folder, &copy).map_err(failed)?;
    match compare(&copy, journal) {
        Ok(examined) => Ok(examined),
        Err(StoreError::Io { error, .. }) if is_disk_full(&error) => Err(failed(error)),
        Err(StoreError::Beyond(records)) => Ok(Examined::Beyond(records)),
        Err(StoreError::Damaged(reason)) => Ok(Examined::Unusable(reason)),
        Err(error) => Ok(Examined::Unusable(error.to_string())),
    }
}

fn compare(copy: &Path, journal: &Reader) -> Result<Examined, StoreError> {
    let inner = open_as_it_is(copy)?;
    if let Err(error) = judge(&inner.batch.cursor, journal) {
        close(inner.db);
        return Err(error);
    }
    let shared = Shared { folder: copy.to_owned(), inner: RwLock::new(inner), suspicion: Mutex::new(None) };
    let store = Store { shared: Arc::new(shared) };
    store.verify_against(journal).map(|(checked, faults)| Examined::Compared(checked, faults))
}

fn bytes_in(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { bytes_in(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    crate::journal::create_folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
