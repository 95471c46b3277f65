//! The container of snapshots: a shortcut to a late point of the journal, never a truth of its own. It does not know
//! what is in them.
//!
//! `<next record, 20 digits>.snap`: magic 8 ‖ format of the contents u32be ‖ journal id 16 ‖ next record u64be ‖ length
//! u64be ‖ contents ‖ SHA-256 of everything before. Written to a temporary file, synced, renamed, folder synced. The
//! newest two are kept.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use super::disk::{create_folder, remove_if_present, replace_file, sync_folder, with_suffix};

/// How many snapshots are kept: the newest, and one for the day when that one is damaged.
pub const KEPT_SNAPSHOTS: usize = 2;

/// Longest snapshot in bytes: a fold keeps what is open, and a file that claims more is not one of ours.
pub const MAX_SNAPSHOT_BYTES: u64 = 256 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"vblsnp\0\x01";
const HEADER_BYTES: usize = 8 + 4 + 16 + 8 + 8;
const HASH_BYTES: usize = 32;
const SUFFIX: &str = ".snap";

/// A snapshot as it was given and as it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Format of the contents, a number of the caller's: a snapshot of another format is not loaded.
    pub format: u32,
    /// The journal that it is a shortcut into.
    pub journal_id: [u8; 16],
    /// Number of the first record that is not in it.
    pub next_record: u64,
    /// The contents.
    pub contents: Bytes,
}

/// Why a snapshot was passed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectedWhy {
    /// It cannot be read, is cut, too long or changed.
    #[error("it is damaged")]
    Damaged,
    /// It belongs to another journal.
    #[error("it belongs to another journal")]
    Foreign,
    /// Its contents have another format.
    #[error("its contents have format {0}")]
    Format(u32),
    /// It knows of more records than there are.
    #[error("it knows {0} records, which is more than the journal has")]
    Beyond(u64),
}

/// A snapshot that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: RejectedWhy,
}

/// What loading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The newest good snapshot.
    pub snapshot: Option<Snapshot>,
    /// The newer ones that were passed over; to be reported.
    pub rejected: Vec<Rejected>,
}

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The contents are too long.
    #[error("a snapshot of {0} bytes is longer than {MAX_SNAPSHOT_BYTES}")]
    TooLong(u64),
    /// The operating system refused something. The journal is not affected.
    #[error("cannot write the snapshot: {0}")]
    Io(#[from] io::Error),
}

/// The folder of snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    folder: PathBuf,
}

impl SnapshotStore {
    /// Opens the folder, making it if need be.
    pub fn open(folder: &Path) -> io::Result<Self> {
        create_folder(folder)?;
        Ok(Self::at(folder))
    }

    /// Takes the folder as it is, for reading; one that is not there holds no snapshot.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Writes a snapshot and removes all but the newest [`KEPT_SNAPSHOTS`].
    pub fn save(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let length = snapshot.contents.len() as u64;
        if length > MAX_SNAPSHOT_BYTES {
            return Err(SnapshotError::TooLong(length));
        }
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&snapshot.format.to_be_bytes());
        header.extend_from_slice(&snapshot.journal_id);
        header.extend_from_slice(&snapshot.next_record.to_be_bytes());
        header.extend_from_slice(&length.to_be_bytes());
        let mut context = aws_lc_rs::digest::Context::new(&SHA256);
        context.update(&header);
        context.update(&snapshot.contents);
        let path = self.folder.join(format!("{:020}{SUFFIX}", snapshot.next_record));
        replace_file(&path, &[&header, &snapshot.contents, context.finish().as_ref()])?;
        for (old, _) in self.list()?.into_iter().skip(KEPT_SNAPSHOTS) {
            remove_if_present(&old)?;
        }
        Ok(())
    }

    /// Loads the newest snapshot that is whole, of this journal and of this format.
    ///
    /// One that reaches beyond the journal is returned too: only the caller can tell what that means.
    pub fn load(&self, journal_id: &[u8; 16], format: u32) -> io::Result<Loaded> {
        self.load_within(journal_id, format, u64::MAX)
    }

    /// As [`Self::load`], but passes over what knows of more than `records`.
    pub fn load_within(&self, journal_id: &[u8; 16], format: u32, records: u64) -> io::Result<Loaded> {
        let mut loaded = Loaded::default();
        for (path, next_record) in self.list()? {
            match read_snapshot(&path).filter(|snapshot| snapshot.next_record == next_record) {
                Some(found) if found.next_record > records && found.journal_id == *journal_id => {
                    loaded.rejected.push(Rejected { path, why: RejectedWhy::Beyond(found.next_record) });
                }
                Some(found) if found.journal_id != *journal_id => {
                    loaded.rejected.push(Rejected { path, why: RejectedWhy::Foreign });
                }
                Some(found) if found.format != format => {
                    loaded.rejected.push(Rejected { path, why: RejectedWhy::Format(found.format) });
                }
                Some(found) => {
                    loaded.snapshot = Some(found);
                    break;
                }
                None => loaded.rejected.push(Rejected { path, why: RejectedWhy::Damaged }),
            }
        }
        Ok(loaded)
    }

    /// Reads every snapshot from end to end, newest first: how many records a good one knows, or why it is none.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn look(&self, journal_id: &[u8; 16], format: u32) -> io::Result<Vec<(PathBuf, Result<u64, RejectedWhy>)>> {
        let listed = self.list()?.into_iter();
        let looked = listed.map(|(path, next_record)| {
            let good = match read_snapshot(&path).filter(|snapshot| snapshot.next_record == next_record) {
                None => Err(RejectedWhy::Damaged),
                Some(found) if found.journal_id != *journal_id => Err(RejectedWhy::Foreign),
                Some(found) if found.format != format => Err(RejectedWhy::Format(found.format)),
                Some(_) => Ok(next_record),
            };
            (path, good)
        });
        Ok(looked.collect())
    }

    /// Gives a snapshot another name, so that it is evidence and never loaded.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_aside(&self, path: &Path) -> io::Result<()> {
        fs::rename(path, with_suffix(path, ".lost"))?;
        sync_folder(&self.folder)
    }

    /// All snapshots, newest first.
    fn list(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        let listed = match fs::read_dir(&self.folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        for entry in listed {
            let path = entry?.path();
            let digits = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(number) = digits.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok()) {
                found.push((path, number));
            }
        }
        found.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
        Ok(found)
    }
}

fn read_snapshot(path: &Path) -> Option<Snapshot> {
    let mut bytes = Vec::new();
    let longest = MAX_SNAPSHOT_BYTES + (HEADER_BYTES + HASH_BYTES) as u64;
    File::open(path).ok()?.take(longest + 1).read_to_end(&mut bytes).ok()?;
    let body_end = bytes.len().checked_sub(HASH_BYTES).filter(|end| *end >= HEADER_BYTES)?;
    if bytes[..8] != MAGIC[..] || digest(&SHA256, &bytes[..body_end]).as_ref() != &bytes[body_end..] {
        return None;
    }
    let length = u64::from_be_bytes(bytes[36..44].try_into().ok()?);
    if length != (body_end - HEADER_BYTES) as u64 {
        return None;
    }
    Some(Snapshot {
        format: u32::from_be_bytes(bytes[8..12].try_into().ok()?),
        journal_id: bytes[12..28].try_into().ok()?,
        next_record: u64::from_be_bytes(bytes[28..36].try_into().ok()?),
        contents: Bytes::from(bytes).slice(HEADER_BYTES..body_end),
    })
}
