//! Reads a whole journal folder group by group with flat memory, without a lock and without a writer: what the audit,
//! the index thread and a rebuild run. It believes nothing that the segments do not prove to each other.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::cursor::{SegmentCursor, Step};
use super::end_mark::EndMarkState;
use super::frame::{Expected, Fault, Group, Mark, Position};
use super::segment::{SegmentFile, SegmentHeader, list_segments, read_header, segment_path};

/// A stretch of the journal that cannot be read.
///
/// It says where, and which records are affected; it never stands for anything else than the loss of these bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault} at byte {offset} ({length} bytes); {}", file.display(), self.affected())]
pub struct Damage {
    /// The damaged file, or the one that should be there.
    pub file: PathBuf,
    /// First damaged byte.
    pub offset: u64,
    /// How many bytes are affected, as far as it is known.
    pub length: u64,
    /// Number of the first record that is affected.
    pub first_record: u64,
    /// Number of the first record behind the damage; `None` where nothing says how many there were. Equal to
    /// `first_record` if no record is affected.
    pub next_record: Option<u64>,
    /// What is wrong with the bytes.
    pub fault: Fault,
}

impl Damage {
    /// Whether a record is among those affected.
    pub fn affects(&self, record: u64) -> bool {
        record >= self.first_record && self.next_record.is_none_or(|next| record < next)
    }

    fn affected(&self) -> String {
        match self.next_record {
            Some(next) if next <= self.first_record => "no record is affected".to_owned(),
            Some(next) => format!("records {} to {} are affected", self.first_record, next - 1),
            None => format!("all records from {} on are affected", self.first_record),
        }
    }
}

/// Bytes after the last good group of the last segment: a write that never became durable, unless a [`Witness`] knows
/// better (see [`Scan::lost_end`]).
///
/// If they were durable once and no witness is left, nothing in the folder can tell; the peers' copies can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The last segment.
    pub file: PathBuf,
    /// First dead byte.
    pub offset: u64,
    /// How many bytes up to the last one that is not zero.
    pub length: u64,
    /// They seem to have been written from end to end, which a torn write after a power cut seldom was and a damaged
    /// group always. People are told.
    pub whole: bool,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (file, offset, length) = (self.file.display(), self.offset, self.length);
        write!(f, "{file}: {length} bytes from byte {offset} on ")?;
        f.write_str(if self.whole {
            "are no group although they seem to have been written whole. Nothing in the folder knows that they were \
             durable: if the power failed then, a last write was torn and nothing is lost; if it did not, the disk has \
             damaged them, and peers may hold what they said"
        } else {
            "are a write that never became durable"
        })
    }
}

/// Something beside the segments that remembers how many records were durable: the end mark, a snapshot, the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// How many records it knows of.
    pub records: u64,
    /// What it is, for people.
    pub what: String,
}

impl Witness {
    /// What the end mark of a journal's folder remembers, if it can be read.
    pub fn of_end_mark(folder: &Path) -> Option<Self> {
        let mark = EndMarkState::read(folder);
        mark.known().map(|mark| Self { records: mark.next_record, what: "the end mark".to_owned() })
    }
}

/// The damage that witnesses prove where a journal ends before an end that was durable.
pub(crate) fn lost_end(
    file: &Path,
    offset: u64,
    records: u64,
    torn: Option<&Torn>,
    witnesses: &[Witness],
) -> Option<Damage> {
    let beyond: Vec<&Witness> = witnesses.iter().filter(|witness| witness.records > records).collect();
    let next_record = beyond.iter().map(|witness| witness.records).max()?;
    let said: Vec<String> =
        beyond.iter().map(|witness| format!("{} knows {} records", witness.what, witness.records)).collect();
    Some(Damage {
        file: file.to_owned(),
        offset,
        length: torn.map_or(0, |torn| torn.length),
        first_record: records,
        next_record: Some(next_record),
        fault: Fault::EndLost(said.join(", ")),
    })
}

/// An iterator over all groups from a record on; each [`Damage`] is named and reading goes on behind it.
///
/// While a daemon writes, the scan ends with the last group that is complete when it gets there.
pub struct Scan {
    folder: PathBuf,
    segments: std::collections::VecDeque<SegmentFile>,
    current: Option<Current>,
    /// What the next group must continue; `None` before the first readable segment.
    expected: Option<Expected>,
    identity: Option<([u8; 16], Mark)>,
    /// Where the writer says that the durable groups end.
    durable_end: Option<Position>,
    /// Segments behind this one are left out.
    last_segment: u64,
    from_record: u64,
    pending: std::collections::VecDeque<Damage>,
    torn: Option<Torn>,
    /// Where the last segment ends, once it was read to its end.
    end: Option<(PathBuf, u64)>,
    /// The last thing found was damage, so group number and chain of what follows are not known.
    after_damage: bool,
    finished: bool,
}

struct Current {
    file: SegmentFile,
    cursor: SegmentCursor<File>,
    closed: bool,
}

/// Opens the scan of a journal folder at the group that holds `from_record`.
///
/// Fails only if the folder cannot be listed. A folder without any segment gives no groups: whether that may be is for
/// the caller to know.
pub fn scan(folder: &Path, from_record: u64) -> std::io::Result<Scan> {
    Scan::new(folder, from_record, None)
}

impl Scan {
    pub(crate) fn new(folder: &Path, from_record: u64, durable_end: Option<Position>) -> std::io::Result<Self> {
        let mut segments = std::collections::VecDeque::from(list_segments(folder)?);
        if let Some(end) = durable_end {
            segments.retain(|segment| segment.first_record <= end.segment);
        }
        let mut scan = Self {
            folder: folder.to_owned(),
            segments: std::collections::VecDeque::new(),
            current: None,
            expected: None,
            identity: None,
            durable_end,
            last_segment: u64::MAX,
            from_record,
            pending: std::collections::VecDeque::new(),
            torn: None,
            end: None,
            after_damage: false,
            finished: false,
        };
        let skip = segments.iter().rposition(|segment| segment.first_record <= from_record).unwrap_or(0);
        if skip == 0 && segments.front().is_some_and(|first| first.first_record != 0) {
            scan.pending.push_back(Damage {
                file: segment_path(folder, 0),
                offset: 0,
                length: 0,
                first_record: 0,
                next_record: segments.front().map(|first| first.first_record),
                fault: Fault::Missing,
            });
        }
        segments.drain(..skip);
        scan.segments = segments;
        Ok(scan)
    }

    /// The same scan, as if this were the last segment.
    pub(crate) fn up_to(mut self, segment: u64) -> Self {
        self.segments.retain(|file| file.first_record <= segment);
        self.last_segment = segment;
        self
    }

    /// What lies after the last good group, known once the iterator has ended.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// The damage that witnesses prove: the journal ends, but they remember more records than it gave. Ask once the
    /// iterator has ended, with witnesses that were asked before it began: a daemon may write meanwhile.
    pub fn lost_end(&self, witnesses: &[Witness]) -> Option<Damage> {
        // An end that is damaged in itself has been named already.
        if self.after_damage {
            return None;
        }
        let (file, offset) = self.end.clone().unwrap_or_else(|| (segment_path(&self.folder, 0), 0));
        lost_end(&file, offset, self.next_record(), self.torn.as_ref(), witnesses)
    }

    /// The id of the journal, known once a segment was read.
    pub fn journal_id(&self) -> Option<[u8; 16]> {
        self.identity.map(|(id, _)| id)
    }

    /// The number of the record after the last group, known once the iterator has ended.
    pub fn next_record(&self) -> u64 {
        self.expected.as_ref().map_or(0, |expected| expected.record)
    }

    /// The cursor's state at the end of the last segment, for the writer to go on from.
    pub(crate) fn expected(&self) -> Option<&Expected> {
        self.expected.as_ref()
    }

    fn record_due(&self, segment: u64) -> u64 {
        self.expected.as_ref().map_or(segment, |expected| expected.record)
    }

    fn damage(&self, file: &SegmentFile, offset: u64, next_record: Option<u64>, fault: Fault) -> Damage {
        let first_record = self.record_due(file.first_record);
        Damage { file: file.path.clone(), offset, length: 0, first_record, next_record, fault }
    }

    /// Opens the next segment of the list; `false` if there is none.
    fn open_next(&mut self) -> bool {
        let Some(file) = self.segments.pop_front() else { return false };
        match self.read_segment(&file) {
            Ok((source, header)) => {
                self.check_succession(&file, &header);
                let live_end = self.live_end_of(file.first_record);
                self.expected = Some(header.expected());
                self.identity = Some((header.journal_id, header.mark));
                let cursor = SegmentCursor::new(source, file.first_record, &header, live_end);
                self.current = Some(Current { file, cursor, closed: live_end.is_some() });
            }
            Err(fault) => {
                let next_record = self.segments.front().map(|next| next.first_record);
                let damage = self.damage(&file, 0, next_record, fault);
                if let (Some(next), Some(expected)) = (next_record, self.expected.as_mut()) {
                    expected.record = next;
                }
                self.pending.push_back(damage);
                self.after_damage = true;
            }
        }
        true
    }

    fn read_segment(&mut self, file: &SegmentFile) -> Result<(File, SegmentHeader), Fault> {
        let source = File::open(&file.path).map_err(|error| Fault::Unreadable(error.to_string()))?;
        let read = read_header(&source)?;
        if read.header.first_record != file.first_record {
            return Err(Fault::Header);
        }
        if self.identity.is_some_and(|identity| identity != (read.header.journal_id, read.header.mark)) {
            return Err(Fault::Foreign);
        }
        if let Some(offset) = read.damaged_copy {
            let due = self.record_due(file.first_record);
            self.pending.push_back(self.damage(file, offset, Some(due), Fault::HeaderCopy));
        }
        Ok((source, read.header))
    }

    /// A segment must begin where the groups before it ended.
    fn check_succession(&mut self, file: &SegmentFile, header: &SegmentHeader) {
        let Some(expected) = &self.expected else { return };
        if *expected == header.expected() || (self.after_damage && expected.record == header.first_record) {
            return;
        }
        if expected.record == header.first_record {
            let damage = self.damage(file, 0, Some(header.first_record), Fault::Chain);
            self.pending.push_back(damage);
            return;
        }
        let missing = Damage {
            file: segment_path(&self.folder, header.previous_end.segment),
            offset: header.previous_end.offset,
            length: 0,
            first_record: expected.record,
            next_record: Some(header.first_record),
            fault: Fault::Missing,
        };
        self.pending.push_back(missing);
    }

    /// Where the groups of a segment end, if its successor or the writer says so.
    fn live_end_of(&self, segment: u64) -> Option<u64> {
        if let Some(end) = self.durable_end.filter(|end| end.segment == segment) {
            return Some(end.offset);
        }
        let next = self.segments.front()?;
        let header = File::open(&next.path).ok().and_then(|file| read_header(&file).ok())?.header;
        (header.previous_end.segment == segment).then_some(header.previous_end.offset)
    }

    /// At the end of the last known segment: looks whether the writer has gone on to another one meanwhile.
    fn look_again(&mut self, segment: u64) -> bool {
        if self.durable_end.is_some() {
            return false;
        }
        let Ok(segments) = list_segments(&self.folder) else { return false };
        let is_new = |file: &SegmentFile| file.first_record > segment && file.first_record <= self.last_segment;
        self.segments = segments.into_iter().filter(is_new).collect();
        !self.segments.is_empty()
    }

    fn step(&mut self) -> Option<Result<Group, Damage>> {
        let mut current = self.current.take()?;
        let step = current.cursor.step();
        match step {
            Step::Group(group) => {
                self.after_damage = false;
                self.expected = Some(current.cursor.place().1.clone());
                self.current = Some(current);
                Some(Ok(group))
            }
            Step::Damage { bytes, next_record, fault } => {
                let next_record = next_record.or_else(|| self.segments.front().map(|next| next.first_record));
                let damage = Damage {
                    length: bytes.end - bytes.start,
                    ..self.damage(&current.file, bytes.start, next_record, fault)
                };
                self.expected = Some(current.cursor.place().1.clone());
                if let (Some(next), Some(expected)) = (next_record, self.expected.as_mut()) {
                    expected.record = next;
                }
                self.after_damage = true;
                self.current = Some(current);
                Some(Err(damage))
            }
            Step::End { torn_bytes, whole } => self.end_segment(current, torn_bytes, whole),
        }
    }

    fn end_segment(&mut self, mut current: Current, torn_bytes: u64, whole: bool) -> Option<Result<Group, Damage>> {
        let segment = current.file.first_record;
        if !current.closed && self.segments.is_empty() && self.look_again(segment) {
            // The segment was closed while it was read: its successor says where it ends.
            current.closed = true;
            if let Some(end) = self.live_end_of(segment) {
                current.cursor.close_at(end);
            }
            self.current = Some(current);
            return None;
        }
        self.end = Some((current.file.path.clone(), current.cursor.place().0));
        if torn_bytes > 0 {
            let offset = current.cursor.place().0;
            if self.segments.is_empty() {
                self.torn = Some(Torn { file: current.file.path, offset, length: torn_bytes, whole });
            } else {
                let next = self.segments.front().map(|next| next.first_record);
                let damage = self.damage(&current.file, offset, next, Fault::Mark);
                self.pending.push_back(Damage { length: torn_bytes, ..damage });
            }
        }
        None
    }
}

impl Iterator for Scan {
    type Item = Result<Group, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.finished {
            if let Some(damage) = self.pending.pop_front() {
                return Some(Err(damage));
            }
            if self.current.is_none() && !self.open_next() {
                self.finished = true;
                break;
            }
            match self.step() {
                Some(Ok(group)) if group.next_record() <= self.from_record => {}
                Some(item) => return Some(item),
                None => {}
            }
        }
        None
    }
}
