//! The end mark: a small file that remembers how far the journal was durable, so that a durable group that was damaged
//! or cut off is told from a write that never became durable. It knows nothing of what is in the records.
//!
//! `end`: magic 8 ‖ journal id 16 ‖ next record u64be ‖ next group u64be ‖ segment u64be ‖ offset u64be ‖ chain 32 ‖
//! CRC32C. It is overwritten after the sync of each group and before anybody hears of it, without a sync of its own: so
//! it never names more than is durable. After kill -9 it is exact, because the system keeps what was written; after a
//! power cut it may lag, and then it proves less. It is synced at the start, with each new segment, and at the end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::disk::ReadAt;
use super::frame::{Expected, Hash, Position};

/// The name of the file in the journal's folder.
pub const END_MARK: &str = "end";

const MAGIC: &[u8; 8] = b"vblend\0\x01";
const MARK_BYTES: usize = 8 + 16 + 4 * 8 + 32 + 4;

/// How far a journal was durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndMark {
    /// The journal.
    pub journal_id: [u8; 16],
    /// The number that the next record had.
    pub next_record: u64,
    /// The number that the next group had.
    pub next_group: u64,
    /// Where the durable groups ended. A start writes the last group again elsewhere, so the numbers count, not this.
    pub end: Position,
    /// The chain at that end.
    pub chain: Hash,
}

/// What lies where the end mark should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndMarkState {
    /// It can be read.
    Known(EndMark),
    /// There is none: the journal was made by a version without it, or it was removed.
    Missing,
    /// It cannot be read.
    Damaged,
}

impl EndMarkState {
    /// Reads the end mark of a journal's folder.
    pub fn read(folder: &Path) -> Self {
        let mut bytes = [0; MARK_BYTES + 1];
        let count = match File::open(folder.join(END_MARK)).and_then(|file| file.read_full_at(&mut bytes, 0)) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::Missing,
            Err(_) => return Self::Damaged,
        };
        EndMark::decode(&bytes[..count]).map_or(Self::Damaged, Self::Known)
    }

    /// The mark, where it can be read.
    pub fn known(&self) -> Option<&EndMark> {
        match self {
            Self::Known(mark) => Some(mark),
            Self::Missing | Self::Damaged => None,
        }
    }
}

impl EndMark {
    fn encode(&self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..24].copy_from_slice(&self.journal_id);
        let numbers = [self.next_record, self.next_group, self.end.segment, self.end.offset];
        for (place, number) in bytes[24..56].as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        bytes[56..88].copy_from_slice(&self.chain);
        let checksum = crc32c::crc32c(&bytes[..MARK_BYTES - 4]);
        bytes[MARK_BYTES - 4..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MARK_BYTES] = bytes.try_into().ok()?;
        let (body, checksum) = bytes.split_at(MARK_BYTES - 4);
        if body[..8] != MAGIC[..] || checksum != crc32c::crc32c(body).to_be_bytes() {
            return None;
        }
        let number = |offset: usize| Some(u64::from_be_bytes(*body.get(offset..)?.first_chunk()?));
        Some(Self {
            journal_id: *body[8..].first_chunk()?,
            next_record: number(24)?,
            next_group: number(32)?,
            end: Position { segment: number(40)?, offset: number(48)? },
            chain: *body[56..].first_chunk()?,
        })
    }
}

/// The end mark as the writer keeps it.
#[derive(Debug)]
pub(crate) struct EndMarkFile {
    path: PathBuf,
    journal_id: [u8; 16],
    /// `None` where there was no room for it: then fewer damages can be told from torn writes, and nothing else changes.
    file: Option<File>,
}

impl EndMarkFile {
    /// Opens the mark of a journal, making it if need be.
    pub(crate) fn open(folder: &Path, journal_id: [u8; 16]) -> Self {
        let mut file = Self { path: folder.join(END_MARK), journal_id, file: None };
        file.file = file.reopen().ok();
        file
    }

    fn reopen(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        file.set_len(MARK_BYTES as u64)?;
        Ok(file)
    }

    /// Says where the durable groups end now. A mark that cannot be written stays behind, which is true as well.
    pub(crate) fn set(&mut self, expected: &Expected, end: Position) {
        let mark = EndMark {
            journal_id: self.journal_id,
            next_record: expected.record,
            next_group: expected.group,
            end,
            chain: expected.chain,
        };
        if let Some(file) = &self.file {
            let _ = file.write_all_at(&mark.encode(), 0);
        }
    }

    /// Makes it durable, so that a power cut leaves it not far behind.
    pub(crate) fn sync(&self) {
        if let Some(file) = &self.file {
            let _ = file.sync_data();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_one_that_was_changed_cut_or_lengthened_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(END_MARK);
        assert_eq!(EndMarkState::read(folder.path()), EndMarkState::Missing);
        let mut file = EndMarkFile::open(folder.path(), [7; 16]);
        let end = Position { segment: 3, offset: 8_192 };
        file.set(&Expected { record: 42, group: 9, chain: [5; 32] }, end);
        let written = EndMark { journal_id: [7; 16], next_record: 42, next_group: 9, end, chain: [5; 32] };
        assert_eq!(EndMarkState::read(folder.path()), EndMarkState::Known(written));
        let whole = std::fs::read(&path).unwrap();
        for byte in 0..whole.len() {
            let mut changed = whole.clone();
            changed[byte] ^= 0x10;
            std::fs::write(&path, &changed).unwrap();
            assert_eq!(EndMarkState::read(folder.path()), EndMarkState::Damaged, "byte {byte}");
        }
        for bytes in [&whole[..whole.len() - 1], &[&whole[..], b"\0"].concat(), b""] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(EndMarkState::read(folder.path()), EndMarkState::Damaged);
        }
    }
}
