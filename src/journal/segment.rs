//! Segment files: their names, their headers, and how a new one takes the place of the one before.
//!
//! A segment is `<first record number, 20 digits>.seg`. It begins with two equal copies of its header, each
//! [`HEADER_COPY_BYTES`] long, so that one bad block does not lose a whole segment:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | `vblseg` 0x00 0x01 |
//! | 8 | 4 | format version, 1 |
//! | 12 | 16 | journal id |
//! | 28 | 8 | mark of the journal |
//! | 36 | 8 | number of the first record |
//! | 44 | 8 | number of the first group |
//! | 52 | 8 + 8 | the durable end that it succeeds: segment, offset; what lies beyond that end is dead |
//! | 68 | 32 | chain at that end |
//! | 100 | | zeros |
//! | 4064 | 32 | SHA-256 of everything before in this copy |
//!
//! A segment gets its name only when its header and its first group are durable (the very first segment of a journal
//! has no group yet), so a segment without a good first group is damaged, never torn.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::disk::{Disk, ReadAt, create_file, fill_with_zeros, remove_if_present, with_suffix};
use super::frame::{Expected, Fault, Hash, Mark, Position, origin_chain};

/// Bytes of one copy of a segment's header: one block of any common disk.
pub const HEADER_COPY_BYTES: usize = 4096;

/// Bytes of a segment before its first group.
pub const SEGMENT_HEADER_BYTES: u64 = 2 * HEADER_COPY_BYTES as u64;

const MAGIC: &[u8; 8] = b"vblseg\0\x01";
const FORMAT_VERSION: u32 = 1;
const HASHED_BYTES: usize = HEADER_COPY_BYTES - 32;
const SUFFIX: &str = ".seg";

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Random id of the journal.
    pub journal_id: [u8; 16],
    /// Mark of the journal's frames.
    pub mark: Mark,
    /// Number of the first record in this segment.
    pub first_record: u64,
    /// Number of the first group in this segment.
    pub first_group: u64,
    /// The durable end that this segment succeeds.
    pub previous_end: Position,
    /// The chain at that end.
    pub previous_chain: Hash,
}

impl SegmentHeader {
    /// The header of the first segment of a new journal.
    pub(crate) fn first(journal_id: [u8; 16], mark: Mark) -> Self {
        Self {
            journal_id,
            mark,
            first_record: 0,
            first_group: 0,
            previous_end: Position::ORIGIN,
            previous_chain: origin_chain(&journal_id, mark),
        }
    }

    /// What the first group of this segment must continue.
    pub(crate) fn expected(&self) -> Expected {
        Expected { record: self.first_record, group: self.first_group, chain: self.previous_chain }
    }

    /// The same journal, a segment that continues at another place.
    pub(crate) fn successor(&self, expected: &Expected, previous_end: Position) -> Self {
        Self {
            first_record: expected.record,
            first_group: expected.group,
            previous_chain: expected.chain,
            previous_end,
            ..self.clone()
        }
    }

    /// Both copies.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(2 * HEADER_COPY_BYTES);
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        copy.extend_from_slice(&self.journal_id);
        copy.extend_from_slice(&self.mark.0);
        copy.extend_from_slice(&self.first_record.to_be_bytes());
        copy.extend_from_slice(&self.first_group.to_be_bytes());
        copy.extend_from_slice(&self.previous_end.segment.to_be_bytes());
        copy.extend_from_slice(&self.previous_end.offset.to_be_bytes());
        copy.extend_from_slice(&self.previous_chain);
        copy.resize(HASHED_BYTES, 0);
        let hash = digest(&SHA256, &copy);
        copy.extend_from_slice(hash.as_ref());
        copy.extend_from_within(..);
        copy
    }

    /// Reads one copy; `None` if it is damaged or of a format that this version does not know.
    pub(crate) fn decode(copy: &[u8]) -> Option<Self> {
        let copy: &[u8; HEADER_COPY_BYTES] = copy.try_into().ok()?;
        let known = copy[..8] == MAGIC[..] && copy[8..12] == FORMAT_VERSION.to_be_bytes();
        if !known || digest(&SHA256, &copy[..HASHED_BYTES]).as_ref() != &copy[HASHED_BYTES..] {
            return None;
        }
        let number = |offset: usize| Some(u64::from_be_bytes(copy[offset..offset + 8].try_into().ok()?));
        Some(Self {
            journal_id: copy[12..28].try_into().ok()?,
            mark: Mark(copy[28..36].try_into().ok()?),
            first_record: number(36)?,
            first_group: number(44)?,
            previous_end: Position { segment: number(52)?, offset: number(60)? },
            previous_chain: copy[68..100].try_into().ok()?,
        })
    }
}

/// A header that was read, and whether one copy of it was damaged (and where).
pub(crate) struct ReadHeader {
    pub header: SegmentHeader,
    pub damaged_copy: Option<u64>,
}

/// Reads the header of a segment from whichever copy is good.
pub(crate) fn read_header(source: &impl ReadAt) -> Result<ReadHeader, Fault> {
    let mut copies = [const { None }; 2];
    let mut buffer = vec![0; HEADER_COPY_BYTES];
    for (index, copy) in copies.iter_mut().enumerate() {
        let offset = (index * HEADER_COPY_BYTES) as u64;
        // A block that cannot be read is a damaged copy like any other.
        let count = source.read_full_at(&mut buffer, offset).unwrap_or(0);
        *copy = SegmentHeader::decode(&buffer[..count]);
    }
    let [first, second] = copies;
    match (first, second) {
        (Some(first), Some(second)) if first == second => Ok(ReadHeader { header: first, damaged_copy: None }),
        (Some(header), None) => Ok(ReadHeader { header, damaged_copy: Some(HEADER_COPY_BYTES as u64) }),
        (None, Some(header)) => Ok(ReadHeader { header, damaged_copy: Some(0) }),
        _ => Err(Fault::Header),
    }
}

/// One segment file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub first_record: u64,
    pub path: PathBuf,
}

/// The path of the segment that a number names.
pub(crate) fn segment_path(folder: &Path, first_record: u64) -> PathBuf {
    folder.join(format!("{first_record:020}{SUFFIX}"))
}

/// All segments of a folder in order.
pub(crate) fn list_segments(folder: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let digits = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(SUFFIX));
        let Some(digits) = digits.filter(|digits| digits.len() == 20) else { continue };
        if let Ok(first_record) = digits.parse() {
            segments.push(SegmentFile { first_record, path });
        }
    }
    segments.sort_by_key(|segment| segment.first_record);
    Ok(segments)
}

/// A segment that is open for writing.
pub(crate) struct OpenSegment {
    pub file: File,
    /// Bytes that are zero-filled and may be written without asking the disk for room.
    pub capacity: u64,
}

/// Writes a new segment with its first group and gives it its name, in the order that the module documentation of
/// [`journal`](super) writes out. With a `spare` that is large enough, its zeros are used.
pub(crate) fn create_segment(
    disk: &dyn Disk,
    folder: &Path,
    header: &SegmentHeader,
    frame: Option<&[u8]>,
    capacity: u64,
    spare: Option<OpenSegment>,
) -> io::Result<OpenSegment> {
    let path = segment_path(folder, header.first_record);
    let mut start = header.encode();
    start.extend_from_slice(frame.unwrap_or_default());
    let needed = start.len() as u64;
    let (temporary, segment) = match spare.filter(|spare| spare.capacity >= needed) {
        Some(spare) => (spare_path(folder), spare),
        None => {
            let temporary = with_suffix(&path, ".tmp");
            let file = create_file(&temporary)?;
            let capacity = capacity.max(needed);
            if let Err(error) = fill_with_zeros(disk, &file, needed, capacity) {
                let _ = remove_if_present(&temporary);
                return Err(error);
            }
            (temporary, OpenSegment { file, capacity })
        }
    };
    disk.write_at(&segment.file, &start, 0)?;
    disk.sync_data(&segment.file).map_err(SyncFailed::wrap)?;
    disk.rename(&temporary, &path)?;
    disk.sync_folder(folder).map_err(SyncFailed::wrap)?;
    Ok(segment)
}

/// The path of a zero-filled file that waits to become the next segment.
pub(crate) fn spare_path(folder: &Path) -> PathBuf {
    folder.join("spare.tmp")
}

/// Writes a zero-filled file for the next segment, ahead of need.
pub(crate) fn create_spare(disk: &dyn Disk, folder: &Path, capacity: u64) -> io::Result<OpenSegment> {
    let path = spare_path(folder);
    let made = create_file(&path).and_then(|file| {
        fill_with_zeros(disk, &file, 0, capacity)?;
        file.sync_all()?;
        Ok(OpenSegment { file, capacity })
    });
    if made.is_err() {
        let _ = remove_if_present(&path);
    }
    made
}

/// A failed sync, marked so that it can never be taken for a full disk: after it nothing is known of the pages.
#[derive(Debug, thiserror::Error)]
#[error("sync failed: {0}")]
pub(crate) struct SyncFailed(io::Error);

impl SyncFailed {
    pub(crate) fn wrap(error: io::Error) -> io::Error {
        io::Error::other(Self(error))
    }
}
