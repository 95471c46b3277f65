//! Opening sled with care, holding it against the journal, and moving it aside where it does not fit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use crate::journal::{ReadError, Reader};

use super::batch::Batch;
use super::cursor::Cursor;
use super::{CACHE_BYTES, Inner, Shared, Store, StoreError, panicked};

/// How often sled reclaims space and syncs its file. Each step is flushed anyway, and a sync here delays the journal's.
const RECLAIM_EVERY_MS: u64 = 2_000;

/// Why a store is built anew, and where the old one lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// Why, for people.
    pub reason: String,
    /// Where the old folder lies until the next rebuild; `None` where there was nothing to keep.
    pub aside: Option<PathBuf>,
}

/// What was found when a store was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// The first record that is not taken in yet.
    pub next_record: u64,
    /// Rows of messages that are there.
    pub messages: u64,
    /// Entries of logs that are there.
    pub entries: u64,
    /// Why it begins anew, where it does.
    pub rebuild: Option<Rebuild>,
}

impl Store {
    /// Opens the store in a folder, or begins a new one where there is none, where it is damaged, or where it was not
    /// filled from this journal. [`super::Index::start`] then checks it whole and fills it.
    ///
    /// # Errors
    /// The operating system refuses the folder; [`StoreError::Beyond`] where it knows more records than the journal
    /// has (D6: it was filled from durable groups only), and then it is left as it is.
    pub fn open(folder: &Path, journal: &Reader) -> Result<(Self, OpenReport), StoreError> {
        let io_error = |error| StoreError::Io { folder: folder.to_owned(), error };
        let existed = folder.is_dir();
        let opened = if existed {
            open_and_judge(folder, journal)
        } else {
            Err(StoreError::Damaged("there was no index".to_owned()))
        };
        let (inner, rebuild) = match opened {
            Ok(inner) => (inner, None),
            Err(error @ StoreError::Beyond(_)) => return Err(error),
            Err(error) => {
                let reason = reason_of(error);
                let aside = move_aside(folder).map_err(io_error)?;
                let inner = begin(folder)?;
                (inner, Some(Rebuild { reason, aside }))
            }
        };
        let cursor = &inner.batch.cursor;
        let report =
            OpenReport { next_record: cursor.next_record, messages: cursor.rows, entries: cursor.entries, rebuild };
        let shared = Shared { folder: folder.to_owned(), inner: RwLock::new(inner), suspicion: Mutex::new(None) };
        Ok((Self { shared: Arc::new(shared) }, report))
    }

    /// Moves a store aside, so that the next [`Self::open`] begins a new one.
    ///
    /// # Errors
    /// The operating system refuses the folder.
    pub fn set_aside(folder: &Path) -> Result<Option<PathBuf>, StoreError> {
        move_aside(folder).map_err(|error| StoreError::Io { folder: folder.to_owned(), error })
    }

    /// Throws everything away and begins anew; the index thread fills it again.
    ///
    /// # Errors
    /// The operating system refuses the folder. The store then answers nothing until a rebuild succeeds.
    pub fn begin_anew(&self, reason: String) -> Result<Rebuild, StoreError> {
        let mut inner = self.write();
        inner.batch = Batch::default();
        close(inner.db.take());
        let folder = &self.shared.folder;
        let aside = move_aside(folder).map_err(|error| StoreError::Io { folder: folder.clone(), error })?;
        *inner = begin(folder)?;
        self.take_suspicion();
        Ok(Rebuild { reason, aside })
    }
}

/// Opens what is there and says why it cannot be used, where it cannot.
fn open_and_judge(folder: &Path, journal: &Reader) -> Result<Inner, StoreError> {
    let inner = open_as_it_is(folder)?;
    match judge(&inner.batch.cursor, journal) {
        Ok(()) => Ok(inner),
        Err(error) => {
            close(inner.db);
            Err(error)
        }
    }
}

/// Opens what is there and reads its cursor.
pub(super) fn open_as_it_is(folder: &Path) -> Result<Inner, StoreError> {
    let db = open_sled(folder)?;
    match super::guarded(|| Batch::load(&db)) {
        Ok(batch) => Ok(Inner { db: Some(db), batch }),
        Err(error) => {
            close(Some(db));
            Err(error)
        }
    }
}

/// Why it cannot be used, in words.
fn reason_of(error: StoreError) -> String {
    match error {
        StoreError::Damaged(reason) => reason,
        other => other.to_string(),
    }
}

/// Whether the store was filled from this journal, and not beyond its end.
pub(super) fn judge(cursor: &Cursor, journal: &Reader) -> Result<(), StoreError> {
    if cursor.next_record == 0 {
        return Ok(());
    }
    // Damage and refusals of the system are the journal's matter; they are named elsewhere.
    if let Err(ReadError::Absent(_)) = journal.read(cursor.next_record - 1) {
        return Err(StoreError::Beyond(cursor.next_record));
    }
    match journal.group_of(cursor.group_record) {
        Ok(group) if group.header.chain != cursor.chain => {
            Err(StoreError::Damaged("it was filled from another journal".to_owned()))
        }
        _ => Ok(()),
    }
}

fn begin(folder: &Path) -> Result<Inner, StoreError> {
    crate::journal::create_folder(folder).map_err(|error| StoreError::Io { folder: folder.to_owned(), error })?;
    let (db, mut batch) = (open_sled(folder)?, Batch::default());
    // With a cursor from the first moment on, a store without one has lost it.
    super::guarded(|| batch.commit(&db))?;
    Ok(Inner { db: Some(db), batch })
}

/// How often an opening is tried again while sled still holds the file, and the pause between: it lets go a moment after
/// its last handle is dropped, on threads of its own. That is no damage, and nothing to build anew for.
const HELD_TRIES: u32 = 40;
const HELD_PAUSE: Duration = Duration::from_millis(50);

fn is_held(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

/// Opens sled in a thread of its own: it panics on some damage, and what unwinds there ends there.
fn open_sled(folder: &Path) -> Result<sled::Db, StoreError> {
    let path = folder.to_owned();
    let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(Some(RECLAIM_EVERY_MS));
    let open = move || {
        let mut opened = config.open();
        for _ in 0..HELD_TRIES {
            match &opened {
                Err(error) if is_held(error) => std::thread::sleep(HELD_PAUSE),
                _ => break,
            }
            opened = config.open();
        }
        opened
    };
    let thread = std::thread::Builder::new().name("store-open".to_owned()).spawn(open);
    let thread = thread.map_err(|error| StoreError::Io { folder: folder.to_owned(), error })?;
    match thread.join() {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) => Err(StoreError::Io { folder: folder.to_owned(), error }),
        Ok(Err(error)) => Err(StoreError::Damaged(error.to_string())),
        Err(panic) => Err(StoreError::Damaged(panicked(&*panic))),
    }
}

/// Lets go of sled; a damaged one may panic even then.
pub(super) fn close(db: Option<sled::Db>) {
    let _ = super::guarded(|| {
        drop(db);
        Ok(())
    });
}

/// Moves the folder out of the way. One old folder is kept, so that somebody can look at it.
fn move_aside(folder: &Path) -> io::Result<Option<PathBuf>> {
    if !folder.exists() {
        return Ok(None);
    }
    let mut name = folder.as_os_str().to_owned();
    name.push(".aside");
    let aside = PathBuf::from(name);
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(folder, &aside)?;
    Ok(Some(aside))
}
