//! Walks the groups of one segment, names each damaged stretch, and finds the next good group behind it; it knows
//! nothing of the other segments but what the header of this one says.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::disk::ReadAt;
use super::frame::{
    Expected, FRAME_HEADER_BYTES, FRAME_TRAILER_BYTES, Fault, Group, Mark, Position, parse_frame_header, parse_group,
};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

/// How much is read at a time while looking for the next good group.
const SEARCH_BYTES: usize = 64 * 1024;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// A run of zeros to compare a searched piece with: most of what is searched is the zero-filled rest of a segment.
static ZEROS: [u8; SEARCH_BYTES] = [0; SEARCH_BYTES];

/// What a cursor finds next.
#[derive(Debug)]
pub(crate) enum Step {
    /// The group that belongs here.
    Group(Group),
    /// Bytes that should be groups and are not; reading can go on behind them.
    Damage { bytes: Range<u64>, next_record: Option<u64>, fault: Fault },
    /// Nothing more. In an open segment: how many bytes at the end are neither groups nor zeros, and whether all of
    /// them seem to have been written.
    End { torn_bytes: u64, whole: bool },
}

/// Walks one segment.
pub(crate) struct SegmentCursor<S> {
    source: S,
    mark: Mark,
    segment: u64,
    /// What the header says of the end before this segment: the first group must name it.
    header_end: Position,
    offset: u64,
    expected: Expected,
    /// Where the groups end, if a successor or the writer says so; else they end with the last good one.
    live_end: Option<u64>,
    ended: bool,
}

impl<S: ReadAt> SegmentCursor<S> {
    /// Starts at the first group of a segment.
    pub(crate) fn new(source: S, segment: u64, header: &SegmentHeader, live_end: Option<u64>) -> Self {
        Self {
            source,
            mark: header.mark,
            segment,
            header_end: header.previous_end,
            offset: SEGMENT_HEADER_BYTES,
            expected: header.expected(),
            live_end,
            ended: false,
        }
    }

    /// Starts in the middle, at a group that was reached before.
    pub(crate) fn resume(mut self, offset: u64, expected: Expected) -> Self {
        self.offset = offset;
        self.expected = expected;
        self
    }

    /// Where the next group is looked for, and what it must continue.
    pub(crate) fn place(&self) -> (u64, &Expected) {
        (self.offset, &self.expected)
    }

    /// Says where the groups end after all: a successor was found meanwhile.
    pub(crate) fn close_at(&mut self, live_end: u64) {
        self.live_end = Some(live_end);
        self.ended = false;
    }

    /// The next group, damage or end. After the end it stays at the end.
    pub(crate) fn step(&mut self) -> Step {
        if self.ended || self.live_end.is_some_and(|end| self.offset >= end) {
            return Step::End { torn_bytes: 0, whole: false };
        }
        match self.read_expected(self.offset) {
            Ok(group) => self.accept(group),
            Err(fault) => self.resynchronise(fault),
        }
    }

    fn accept(&mut self, group: Group) -> Step {
        self.offset = group.end().offset;
        self.expected =
            Expected { record: group.next_record(), group: group.header.number + 1, chain: group.header.chain };
        Step::Group(group)
    }

    fn limit(&self) -> Result<u64, Fault> {
        let length = self.source.length().map_err(|error| Fault::Unreadable(error.to_string()))?;
        Ok(self.live_end.map_or(length, |end| end.min(length)))
    }

    /// Reads the group at an offset if it is sound in itself and belongs to that place.
    fn read_group(&self, offset: u64) -> Result<Group, Fault> {
        let rest = self.limit()?.saturating_sub(offset);
        let group = read_group_at(&self.source, self.mark, Position { segment: self.segment, offset }, rest)?;
        let place = if offset == SEGMENT_HEADER_BYTES { self.header_end } else { group.position };
        if group.header.previous_end != place {
            return Err(Fault::Place);
        }
        if group.header.number == u64::MAX {
            return Err(Fault::Numbers);
        }
        Ok(group)
    }

    fn read_expected(&self, offset: u64) -> Result<Group, Fault> {
        let group = self.read_group(offset)?;
        if group.header.first_record != self.expected.record || group.header.number != self.expected.group {
            return Err(Fault::Numbers);
        }
        if group.header.previous_chain != self.expected.chain {
            return Err(Fault::Chain);
        }
        Ok(group)
    }

    fn resynchronise(&mut self, fault: Fault) -> Step {
        let start = self.offset;
        let Ok(limit) = self.limit() else { return self.end_with_damage(start, fault) };
        match self.find_group(start, limit) {
            Ok(Found::Group(group)) => {
                // While another process writes, the bytes here may have become a good group since they were read.
                if let Ok(group) = self.read_expected(start) {
                    return self.accept(group);
                }
                self.offset = group.position.offset;
                self.expected = Expected {
                    record: group.header.first_record,
                    group: group.header.number,
                    chain: group.header.previous_chain,
                };
                let next_record = Some(group.header.first_record);
                Step::Damage { bytes: start..self.offset, next_record, fault }
            }
            Ok(Found::Nothing { .. }) if self.live_end.is_some() => self.end_with_damage(start, fault),
            // A named segment was given its name after its first group was durable: that one cannot be torn.
            Ok(Found::Nothing { .. }) if start == SEGMENT_HEADER_BYTES && self.header_end != Position::ORIGIN => {
                self.end_with_damage(start, fault)
            }
            Ok(Found::Nothing { used_until }) => {
                self.ended = true;
                let whole = self.seems_whole(start, used_until);
                Step::End { torn_bytes: used_until.saturating_sub(start), whole }
            }
            Err(unreadable) => self.end_with_damage(start, unreadable),
        }
    }

    /// Whether bytes that are no group were written from end to end, as far as can be seen. A group is written into
    /// zeros, so where the power failed in the middle of the write, or the process was killed, a sector or the end of it
    /// is still zero. Some disks leave other bytes behind at a power cut: this is a hint and no proof.
    fn seems_whole(&self, start: u64, used_until: u64) -> bool {
        if used_until <= start {
            return false;
        }
        let mut head = [0; FRAME_HEADER_BYTES];
        let header = read_exactly(&self.source, &mut head, start).and_then(|()| parse_frame_header(&head, self.mark));
        // The checksum at the end may itself end in zeros.
        let written = |length: u32| used_until + FRAME_TRAILER_BYTES as u64 > start + u64::from(length);
        !header.is_ok_and(|header| !written(header.length)) && !self.has_empty_sector(start, used_until)
    }

    fn has_empty_sector(&self, start: u64, end: u64) -> bool {
        let mut sector = vec![0; SECTOR_BYTES as usize];
        let mut offset = start;
        while offset < end {
            let piece = (SECTOR_BYTES - offset % SECTOR_BYTES).min(end - offset);
            let piece = &mut sector[..usize::try_from(piece).unwrap_or(0)];
            if self.source.read_full_at(piece, offset).is_err() || piece.iter().all(|byte| *byte == 0) {
                return true;
            }
            offset += piece.len() as u64;
        }
        false
    }

    fn end_with_damage(&mut self, start: u64, fault: Fault) -> Step {
        let end = self.live_end.or_else(|| self.source.length().ok()).unwrap_or(start).max(start);
        self.ended = true;
        self.offset = end;
        Step::Damage { bytes: start..end, next_record: None, fault }
    }

    /// Looks for the next group that is sound, belongs to its place and comes after what was expected.
    fn find_group(&self, from: u64, limit: u64) -> Result<Found, Fault> {
        let mut buffer = vec![0; SEARCH_BYTES];
        let mut offset = from;
        let mut used_until = from;
        while offset < limit {
            let wanted = usize::try_from(limit - offset).unwrap_or(SEARCH_BYTES).min(SEARCH_BYTES);
            let count = self
                .source
                .read_full_at(&mut buffer[..wanted], offset)
                .map_err(|error| Fault::Unreadable(error.to_string()))?;
            let piece = &buffer[..count];
            if piece != &ZEROS[..count] {
                if let Some(group) = self.find_in_piece(piece, offset) {
                    return Ok(Found::Group(Box::new(group)));
                }
                let last = piece.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
                used_until = offset + last + 1;
            }
            if count < self.mark.0.len() {
                break;
            }
            // The next piece overlaps, so that a mark across the border is seen.
            offset += (count + 1 - self.mark.0.len()) as u64;
        }
        Ok(Found::Nothing { used_until })
    }

    fn find_in_piece(&self, piece: &[u8], offset: u64) -> Option<Group> {
        piece
            .windows(self.mark.0.len())
            .enumerate()
            .filter(|(_, window)| *window == self.mark.0)
            .filter_map(|(index, _)| self.read_group(offset + index as u64).ok())
            .find(|group| group.header.first_record > self.expected.record && group.header.number > self.expected.group)
    }
}

enum Found {
    Group(Box<Group>),
    Nothing { used_until: u64 },
}

/// Reads one group from a place; at most `rest` bytes belong to it.
pub(crate) fn read_group_at(source: &impl ReadAt, mark: Mark, place: Position, rest: u64) -> Result<Group, Fault> {
    let mut start = [0; FRAME_HEADER_BYTES];
    read_exactly(source, &mut start, place.offset)?;
    let header = parse_frame_header(&start, mark)?;
    if u64::from(header.length) > rest {
        return Err(Fault::Short);
    }
    let mut frame = BytesMut::zeroed(header.length as usize);
    read_exactly(source, &mut frame, place.offset)?;
    parse_group(&frame.freeze(), mark, place)
}

/// Fills the buffer or says that the bytes end.
pub(crate) fn read_exactly(source: &impl ReadAt, buffer: &mut [u8], offset: u64) -> Result<(), Fault> {
    match source.read_full_at(buffer, offset) {
        Ok(count) if count == buffer.len() => Ok(()),
        Ok(_) => Err(Fault::Short),
        Err(error) => Err(Fault::Unreadable(error.to_string())),
    }
}

/// Scans arbitrary bytes as a segment file; the entry point of a fuzz target.
///
/// Returns how many groups were found. Never panics, and never holds more than a small multiple of the input.
pub fn fuzz_scan(data: &[u8]) -> usize {
    let header = super::segment::read_header(&data).map(|read| read.header).unwrap_or_else(|_| {
        // With a header taken from the input itself the frames behind it are reached as well.
        let mark = data.first_chunk().map_or(Mark(*b"fuzzfuzz"), |mark| Mark(*mark));
        SegmentHeader::first([0; 16], mark)
    });
    let _ = parse_group(&Bytes::copy_from_slice(data), header.mark, Position::ORIGIN);
    let mut groups = 0;
    for live_end in [None, Some(data.len() as u64)] {
        let mut cursor = SegmentCursor::new(data, header.first_record, &header, live_end);
        loop {
            match cursor.step() {
                Step::Group(_) => groups += 1,
                Step::Damage { .. } => {}
                Step::End { .. } => break,
            }
        }
    }
    groups
}
