//! Random access to single records, from any thread, while the writer appends; memory is bounded by constants here and
//! not by the length of the journal.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;

use super::append::Shared;
use super::cursor::{SegmentCursor, Step, read_exactly};
use super::frame::{Expected, Fault, Group, MAX_RECORD_BYTES, Position, RECORD_OVERHEAD_BYTES, Record, parse_record};
use super::scan::{Damage, Scan};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, list_segments, read_header, segment_path};

/// One place is remembered for this many bytes of a segment: what a single read may have to walk through.
const INDEX_STEP_BYTES: u64 = 64 * 1024;

/// Segments whose places are remembered: 64 of 16 MiB are a gibibyte of the journal at hand for about one of memory.
const MAX_INDEXED_SEGMENTS: usize = 64;

/// Groups that are kept at hand, because records are mostly read with their neighbours.
const MAX_CACHED_GROUPS: usize = 4;

/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no durable record of that number (yet).
    #[error("record {0} is not in the journal")]
    Absent(u64),
    /// The bytes where the record should be are damaged.
    #[error(transparent)]
    Damaged(#[from] Box<Damage>),
    /// The operating system refused something.
    #[error("cannot read the journal in {}: {error}", folder.display())]
    Io {
        /// The journal's folder.
        folder: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// Reads records by number. Clones share what they remember.
#[derive(Clone)]
pub struct Reader {
    folder: Arc<Path>,
    shared: Option<Arc<Shared>>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    segments: Vec<u64>,
    indexes: VecDeque<SegmentIndex>,
    groups: VecDeque<Arc<Group>>,
}

struct SegmentIndex {
    segment: u64,
    header: SegmentHeader,
    /// The end that the successor names, once there is one.
    closed_at: Option<u64>,
    places: Vec<(u64, Expected)>,
}

impl Reader {
    /// Opens a folder without a writer, or while another process writes.
    pub fn open(folder: &Path) -> Self {
        Self::new(folder, None)
    }

    pub(crate) fn new(folder: &Path, shared: Option<Arc<Shared>>) -> Self {
        Self { folder: folder.into(), shared, memory: Arc::default() }
    }

    /// All groups from a record on; beside a writer in this process, only what is durable now.
    pub fn scan(&self, from_record: u64) -> io::Result<Scan> {
        Scan::new(&self.folder, from_record, self.shared.as_ref().map(|shared| shared.tail().end))
    }

    /// Reads one record; the group around it is checked first.
    pub fn read(&self, number: u64) -> Result<Record, ReadError> {
        let group = self.group_of(number)?;
        group.record(number).cloned().ok_or(ReadError::Absent(number))
    }

    /// Reads the group that holds a record; the newest ones are still in memory.
    pub fn group_of(&self, number: u64) -> Result<Arc<Group>, ReadError> {
        if self.shared.as_ref().is_some_and(|shared| number >= shared.tail().next_record) {
            return Err(ReadError::Absent(number));
        }
        if let Some(group) = self.shared.as_ref().and_then(|shared| shared.fresh(number)) {
            return Ok(group);
        }
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = memory.groups.iter().find(|group| group.record(number).is_some()) {
            return Ok(Arc::clone(group));
        }
        let segment = self.segment_of(&mut memory, number)?;
        let group = Arc::new(self.find_group(&mut memory, segment, number)?);
        memory.groups.push_front(Arc::clone(&group));
        memory.groups.truncate(MAX_CACHED_GROUPS);
        Ok(group)
    }

    /// Reads the record whose length field lies at a position that was remembered from an earlier read.
    ///
    /// Nothing but the length is checked: the caller compares the leaf with the hash that it knows, and turns to
    /// [`Self::read`] if it differs (a start moves the last group into a new segment).
    pub fn read_at(&self, number: u64, position: Position) -> Result<Record, ReadError> {
        let path = segment_path(&self.folder, position.segment);
        let file = File::open(&path).map_err(|error| self.io_error(error))?;
        let damaged = |fault| {
            Box::new(Damage {
                file: path.clone(),
                offset: position.offset,
                length: 0,
                first_record: number,
                next_record: Some(number + 1),
                fault,
            })
        };
        let mut start = [0; RECORD_OVERHEAD_BYTES];
        read_exactly(&file, &mut start, position.offset).map_err(damaged)?;
        let length = u32::from_be_bytes([start[0], start[1], start[2], start[3]]) as usize;
        if length > MAX_RECORD_BYTES {
            return Err(damaged(Fault::Length).into());
        }
        let mut bytes = BytesMut::zeroed(RECORD_OVERHEAD_BYTES + length);
        read_exactly(&file, &mut bytes, position.offset).map_err(damaged)?;
        Ok(parse_record(&bytes.freeze(), 0, number, position).map_err(damaged)?)
    }

    fn io_error(&self, error: io::Error) -> ReadError {
        ReadError::Io { folder: self.folder.to_path_buf(), error }
    }

    fn segment_of(&self, memory: &mut Memory, number: u64) -> Result<u64, ReadError> {
        // The last known segment may have got a successor since.
        if memory.segments.last().is_none_or(|last| *last <= number) {
            let segments = list_segments(&self.folder).map_err(|error| self.io_error(error))?;
            memory.segments = segments.into_iter().map(|segment| segment.first_record).collect();
        }
        let index = memory.segments.partition_point(|first| *first <= number);
        index.checked_sub(1).map(|index| memory.segments[index]).ok_or(ReadError::Absent(number))
    }

    /// Where the groups of a segment end, as far as the writer or a successor says so.
    fn live_end(&self, memory: &Memory, segment: u64) -> Option<u64> {
        if let Some(end) = self.shared.as_ref().map(|shared| shared.tail().end).filter(|end| end.segment == segment) {
            return Some(end.offset);
        }
        let next = memory.segments.get(memory.segments.partition_point(|first| *first <= segment))?;
        let file = File::open(segment_path(&self.folder, *next)).ok()?;
        let end = read_header(&file).ok()?.header.previous_end;
        (end.segment == segment).then_some(end.offset)
    }

    fn find_group(&self, memory: &mut Memory, segment: u64, number: u64) -> Result<Group, ReadError> {
        let path = segment_path(&self.folder, segment);
        let file = File::open(&path).map_err(|error| self.io_error(error))?;
        let next_segment = memory.segments.get(memory.segments.partition_point(|first| *first <= segment)).copied();
        let mut index = match memory.indexes.iter().position(|index| index.segment == segment) {
            Some(place) => memory.indexes.remove(place).expect("the place was just found"),
            None => SegmentIndex::read(&file, segment).map_err(|fault| {
                let (file, length) = (path.clone(), SEGMENT_HEADER_BYTES);
                Box::new(Damage { file, offset: 0, length, first_record: segment, next_record: next_segment, fault })
            })?,
        };
        if index.closed_at.is_none() {
            let end = self.live_end(memory, segment);
            index.closed_at = end.filter(|_| next_segment.is_some());
            let found = index.find(&file, &path, number, end, next_segment);
            memory.remember(index);
            return found;
        }
        let end = index.closed_at;
        let found = index.find(&file, &path, number, end, next_segment);
        memory.remember(index);
        found
    }
}

impl Memory {
    fn remember(&mut self, index: SegmentIndex) {
        self.indexes.push_front(index);
        self.indexes.truncate(MAX_INDEXED_SEGMENTS);
    }
}

impl SegmentIndex {
    fn read(file: &File, segment: u64) -> Result<Self, Fault> {
        let header = read_header(file)?.header;
        let places = vec![(SEGMENT_HEADER_BYTES, header.expected())];
        Ok(Self { segment, header, closed_at: None, places })
    }

    fn find(
        &mut self,
        file: &File,
        path: &Path,
        number: u64,
        live_end: Option<u64>,
        next_segment: Option<u64>,
    ) -> Result<Group, ReadError> {
        let near = self.places.partition_point(|(_, expected)| expected.record <= number).saturating_sub(1);
        let (offset, expected) = self.places[near].clone();
        let mut cursor = SegmentCursor::new(file, self.segment, &self.header, live_end).resume(offset, expected);
        loop {
            let first_record = cursor.place().1.record;
            match cursor.step() {
                Step::Group(group) => {
                    self.remember(&cursor);
                    if group.record(number).is_some() {
                        return Ok(group);
                    }
                    if group.header.first_record > number {
                        return Err(ReadError::Absent(number));
                    }
                }
                Step::Damage { bytes, next_record, fault } => {
                    let next_record = next_record.or(next_segment);
                    let (offset, length) = (bytes.start, bytes.end - bytes.start);
                    let damage = Damage { file: path.to_owned(), offset, length, first_record, next_record, fault };
                    if damage.affects(number) {
                        return Err(Box::new(damage).into());
                    }
                }
                Step::End { .. } => return Err(ReadError::Absent(number)),
            }
        }
    }

    fn remember(&mut self, cursor: &SegmentCursor<&File>) {
        let (offset, expected) = cursor.place();
        if self.places.last().is_none_or(|(last, _)| offset >= last + INDEX_STEP_BYTES) {
            self.places.push((offset, expected.clone()));
        }
    }
}
