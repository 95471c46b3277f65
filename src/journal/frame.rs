//! A group as it lies on the disk: one frame, one checksum; pure bytes in, a checked group out, without any file.
//!
//! All numbers are big-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | mark of this journal: random, never sent, so that no record's bytes can pass for a frame |
//! | 8 | 4 | length of the whole frame, mark and checksum included |
//! | 12 | 4 | count of records, at least one |
//! | 16 | 8 | group number |
//! | 24 | 8 | number of the first record |
//! | 32 | 8 + 8 | previous durable end: segment, offset |
//! | 48 | 32 | chain of the group before |
//! | 80 | 32 | chain of this group: SHA-256("verbale group v1\0" ‖ bytes 8..80 ‖ the journal leaves of its records) |
//! | 112 | | the records, each: length u32 ‖ blinding\[16\] ‖ bytes |
//! | end − 4 | 4 | CRC32C of everything before |
//!
//! The checksum notices accidents. The chain notices a group that was moved, repeated, left out or taken from another
//! journal; it covers the records through their journal leaves, SHA-256(0x00 ‖ blinding ‖ record), which are needed
//! anyway, so each byte is hashed once.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

/// Longest frame in bytes. A reader holds one group in memory, so this bounds what a scan needs; 256 KiB per sync
/// already carry half a million records a second, and the largest single act (a part of a TRUST frame, a batch of 256
/// entries of the usual size) stays well below.
pub const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a frame before its first record.
pub const FRAME_HEADER_BYTES: usize = 112;

/// Bytes of a frame after its last record.
pub const FRAME_TRAILER_BYTES: usize = 4;

/// Bytes that the frame adds to each record: length and blinding.
pub const RECORD_OVERHEAD_BYTES: usize = 4 + BLINDING_BYTES;

/// Bytes of blinding drawn for each record, so that a leaf tells nothing about a record that could be guessed.
pub const BLINDING_BYTES: usize = 16;

/// Longest record in bytes: what fits into a frame alone.
pub const MAX_RECORD_BYTES: usize = MAX_FRAME_BYTES - FRAME_HEADER_BYTES - FRAME_TRAILER_BYTES - RECORD_OVERHEAD_BYTES;

const CHAIN_LABEL: &[u8] = b"verbale group v1\0";
const ORIGIN_LABEL: &[u8] = b"verbale journal v1\0";

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// A place in the journal: a segment, named by its first record number, and a byte offset in that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The number in the segment's file name.
    pub segment: u64,
    /// Bytes from the start of the file.
    pub offset: u64,
}

impl Position {
    /// The end that the first group of a journal names: there is nothing before it.
    pub const ORIGIN: Self = Self { segment: 0, offset: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}.seg:{}", self.segment, self.offset)
    }
}

/// The eight bytes by which the frames of one journal begin; none of them is zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mark(pub [u8; 8]);

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(…)")
    }
}

/// Why bytes are not a group, or not the group that belongs there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end before the frame does.
    #[error("the bytes end within a group")]
    Short,
    /// No group begins here.
    #[error("no group begins here")]
    Mark,
    /// The length field lies outside of what a frame may have.
    #[error("the length of the group is impossible")]
    Length,
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// The records do not fill the frame exactly, or there are none.
    #[error("the records do not fill the group")]
    Records,
    /// The chain does not follow from the records, or not from the group before.
    #[error("the hash chain is broken")]
    Chain,
    /// The group names another previous durable end than the one where it lies.
    #[error("the group belongs to another place")]
    Place,
    /// Group or record numbers do not continue those before.
    #[error("the numbers do not continue those of the group before")]
    Numbers,
    /// A segment's header cannot be read.
    #[error("the header of the segment is damaged")]
    Header,
    /// One of the two copies of a segment's header is damaged; no record is affected.
    #[error("one of two copies of the header of the segment is damaged")]
    HeaderCopy,
    /// The header belongs to another journal.
    #[error("the segment belongs to another journal")]
    Foreign,
    /// A segment that a successor names is not there, or not as long as the successor says.
    #[error("a segment is missing")]
    Missing,
    /// The operating system could not read the file.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// The journal ends before an end that was durable; it names what remembers that end.
    #[error("the journal ends here, but {0}: a durable group is damaged or gone")]
    EndLost(String),
}

/// The fields of a frame before its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the whole frame in bytes.
    pub length: u32,
    /// How many records follow.
    pub count: u32,
    /// Number of the group, from 0.
    pub number: u64,
    /// Number of its first record.
    pub first_record: u64,
    /// Where the group before ended.
    pub previous_end: Position,
    /// Chain of the group before.
    pub previous_chain: Hash,
    /// Chain of this group.
    pub chain: Hash,
}

/// One opaque record with everything that its frame says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number in the journal, from 0, without gaps.
    pub number: u64,
    /// Its bytes as they were handed over.
    pub bytes: Bytes,
    /// The random bytes that blind its leaf.
    pub blinding: [u8; BLINDING_BYTES],
    /// SHA-256(0x00 ‖ blinding ‖ bytes).
    pub leaf: Hash,
    /// Where its length field lies.
    pub position: Position,
}

/// One group whose checksum and own chain were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The fields of the frame.
    pub header: FrameHeader,
    /// Where the frame begins.
    pub position: Position,
    /// The records in order.
    pub records: Vec<Record>,
    /// The whole frame, verbatim.
    pub frame: Bytes,
}

impl Group {
    /// Where the next group begins, if it lies in the same segment.
    pub fn end(&self) -> Position {
        Position { segment: self.position.segment, offset: self.position.offset + self.frame.len() as u64 }
    }

    /// The number that the record after this group has.
    pub fn next_record(&self) -> u64 {
        self.header.first_record + u64::from(self.header.count)
    }

    /// The record of a number, if it lies in this group.
    pub fn record(&self, number: u64) -> Option<&Record> {
        self.records.get(usize::try_from(number.checked_sub(self.header.first_record)?).ok()?)
    }
}

/// The journal leaf of a record: SHA-256(0x00 ‖ blinding ‖ record).
pub fn leaf_hash(blinding: &[u8; BLINDING_BYTES], record: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(blinding);
    context.update(record);
    finish(context)
}

/// The chain before the first group of a journal.
pub(crate) fn origin_chain(journal_id: &[u8; 16], mark: Mark) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(ORIGIN_LABEL);
    context.update(journal_id);
    context.update(&mark.0);
    finish(context)
}

fn group_chain(fields: &[u8], leaves: impl Iterator<Item = Hash>) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(CHAIN_LABEL);
    context.update(fields);
    leaves.for_each(|leaf| context.update(&leaf));
    finish(context)
}

fn finish(context: Context) -> Hash {
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// What the next group must continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub record: u64,
    pub group: u64,
    pub chain: Hash,
}

/// A frame that was just built, with the leaves of its records.
pub(crate) struct Built {
    pub frame: Bytes,
    pub leaves: Vec<Hash>,
    pub chain: Hash,
}

impl Built {
    /// The group as it would be read back from the place where it was written. Nothing is hashed again: these are the
    /// bytes that were hashed, and the caller has seen them synced.
    pub(crate) fn group(&self, mark: Mark, position: Position) -> Option<Group> {
        let header = parse_frame_header(&self.frame, mark).ok()?;
        let mut records = Vec::with_capacity(self.leaves.len());
        let mut offset = FRAME_HEADER_BYTES;
        for (number, leaf) in (header.first_record..).zip(&self.leaves) {
            let start = offset + RECORD_OVERHEAD_BYTES;
            let end = start + u32_at(&self.frame, offset)? as usize;
            records.push(Record {
                number,
                bytes: self.frame.slice(start..end),
                blinding: self.frame[offset + 4..start].try_into().expect("the slice has that length"),
                leaf: *leaf,
                position: Position { offset: position.offset + offset as u64, ..position },
            });
            offset = end;
        }
        Some(Group { header, position, records, frame: self.frame.clone() })
    }
}

/// How many bytes a frame with these records has.
pub(crate) fn frame_bytes(records: &[Bytes]) -> usize {
    let records: usize = records.iter().map(|record| record.len() + RECORD_OVERHEAD_BYTES).sum();
    FRAME_HEADER_BYTES + records + FRAME_TRAILER_BYTES
}

/// Builds a frame.
///
/// The caller has held the records to [`MAX_FRAME_BYTES`] and drawn [`BLINDING_BYTES`] for each.
pub(crate) fn build_group(
    mark: Mark,
    expected: &Expected,
    previous_end: Position,
    records: &[&[Bytes]],
    blinding: &[u8],
) -> Built {
    let count = records.iter().map(|records| records.len()).sum::<usize>();
    debug_assert_eq!(blinding.len(), count * BLINDING_BYTES);
    let payload: usize = records.iter().map(|records| frame_bytes(records)).sum();
    let mut frame = Vec::with_capacity(payload + FRAME_HEADER_BYTES);
    frame.resize(FRAME_HEADER_BYTES, 0);
    let mut leaves = Vec::with_capacity(count);
    let blindings = blinding.as_chunks::<BLINDING_BYTES>().0;
    for (record, blinding) in records.iter().flat_map(|records| records.iter()).zip(blindings) {
        frame.extend_from_slice(&(record.len() as u32).to_be_bytes());
        frame.extend_from_slice(blinding);
        frame.extend_from_slice(record);
        leaves.push(leaf_hash(blinding, record));
    }
    let length = frame.len() + FRAME_TRAILER_BYTES;
    frame[..8].copy_from_slice(&mark.0);
    frame[8..12].copy_from_slice(&(length as u32).to_be_bytes());
    frame[12..16].copy_from_slice(&(count as u32).to_be_bytes());
    frame[16..24].copy_from_slice(&expected.group.to_be_bytes());
    frame[24..32].copy_from_slice(&expected.record.to_be_bytes());
    frame[32..40].copy_from_slice(&previous_end.segment.to_be_bytes());
    frame[40..48].copy_from_slice(&previous_end.offset.to_be_bytes());
    frame[48..80].copy_from_slice(&expected.chain);
    let chain = group_chain(&frame[8..80], leaves.iter().copied());
    frame[80..112].copy_from_slice(&chain);
    frame.extend_from_slice(&crc32c::crc32c(&frame).to_be_bytes());
    Built { frame: frame.into(), leaves, chain }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}

fn hash_at(bytes: &[u8], offset: usize) -> Option<Hash> {
    bytes.get(offset..offset + 32)?.try_into().ok()
}

/// Reads the fields of a frame from its first [`FRAME_HEADER_BYTES`]; nothing is checked but the mark and the length.
pub fn parse_frame_header(bytes: &[u8], mark: Mark) -> Result<FrameHeader, Fault> {
    let found = bytes.get(..8).ok_or(Fault::Short)?;
    if found != mark.0 {
        return Err(Fault::Mark);
    }
    let header = (|| {
        Some(FrameHeader {
            length: u32_at(bytes, 8)?,
            count: u32_at(bytes, 12)?,
            number: u64_at(bytes, 16)?,
            first_record: u64_at(bytes, 24)?,
            previous_end: Position { segment: u64_at(bytes, 32)?, offset: u64_at(bytes, 40)? },
            previous_chain: hash_at(bytes, 48)?,
            chain: hash_at(bytes, 80)?,
        })
    })()
    .ok_or(Fault::Short)?;
    let length = header.length as usize;
    if !(FRAME_HEADER_BYTES + FRAME_TRAILER_BYTES..=MAX_FRAME_BYTES).contains(&length) {
        return Err(Fault::Length);
    }
    Ok(header)
}

/// Reads one group from bytes that begin with its frame and checks everything that the group says about itself:
/// checksum, records, own chain. Whether it belongs there is for the caller to check.
///
/// Pure and total: any bytes give a group or a [`Fault`], and memory stays within a small multiple of the input.
pub fn parse_group(bytes: &Bytes, mark: Mark, position: Position) -> Result<Group, Fault> {
    let header = parse_frame_header(bytes, mark)?;
    let length = header.length as usize;
    if bytes.len() < length {
        return Err(Fault::Short);
    }
    let frame = bytes.slice(..length);
    let body_end = length - FRAME_TRAILER_BYTES;
    if u32_at(&frame, body_end) != Some(crc32c::crc32c(&frame[..body_end])) {
        return Err(Fault::Checksum);
    }
    if header.first_record.checked_add(u64::from(header.count)).is_none() {
        return Err(Fault::Numbers);
    }
    let records = parse_records(&frame.slice(..body_end), &header, position)?;
    if group_chain(&frame[8..80], records.iter().map(|record| record.leaf)) != header.chain {
        return Err(Fault::Chain);
    }
    Ok(Group { header, position, records, frame })
}

fn parse_records(frame: &Bytes, header: &FrameHeader, position: Position) -> Result<Vec<Record>, Fault> {
    let count = header.count as usize;
    // Each record takes at least its overhead: a count beyond that is a lie and must not reserve memory.
    if count == 0 || count > (frame.len() - FRAME_HEADER_BYTES) / RECORD_OVERHEAD_BYTES {
        return Err(Fault::Records);
    }
    let mut records = Vec::with_capacity(count);
    let mut offset = FRAME_HEADER_BYTES;
    for index in 0..header.count {
        let position = Position { offset: position.offset + offset as u64, ..position };
        let record = parse_record(frame, offset, header.first_record + u64::from(index), position)?;
        offset += RECORD_OVERHEAD_BYTES + record.bytes.len();
        records.push(record);
    }
    if offset == frame.len() { Ok(records) } else { Err(Fault::Records) }
}

/// Reads the record whose length field lies at an offset.
pub(crate) fn parse_record(bytes: &Bytes, offset: usize, number: u64, position: Position) -> Result<Record, Fault> {
    let length = u32_at(bytes, offset).ok_or(Fault::Records)? as usize;
    let start = offset + RECORD_OVERHEAD_BYTES;
    let end = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(Fault::Records)?;
    let blinding: [u8; BLINDING_BYTES] = bytes[offset + 4..start].try_into().expect("the slice has that length");
    let record = bytes.slice(start..end);
    let leaf = leaf_hash(&blinding, &record);
    Ok(Record { number, bytes: record, blinding, leaf, position })
}
