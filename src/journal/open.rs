//! What happens at start (D3): scan, write the last group again into a new segment, sync file and folder, and only then
//! believe; it decides nothing about the damage that it finds, it names it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use aws_lc_rs::rand;

use super::append::{Shared, Tail};
use super::disk::{create_folder, is_disk_full, remove_if_present, sync_folder, with_suffix};
use super::end_mark::{EndMarkFile, EndMarkState};
use super::frame::{Expected, Fault, Group, Mark, Position};
use super::lock::{FolderLock, LockError};
use super::reserve::Reserve;
use super::scan::{Damage, Scan, Torn, Witness, lost_end};
use super::segment::{
    OpenSegment, SEGMENT_HEADER_BYTES, SegmentFile, SegmentHeader, create_segment, list_segments, read_header,
    segment_path,
};
use super::writer::{Writer, trim};
use super::{Condition, Journal, Options};

/// How many damaged stretches an opening names; a full scan names them all.
pub const MAX_DAMAGES_AT_OPEN: usize = 1_000;

/// How many copies of torn ends are kept as evidence beside one segment.
const MAX_TORN_COPIES: usize = 16;

/// What was found when a journal was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Random id of the journal.
    pub journal_id: [u8; 16],
    /// Where the durable groups end, and the numbers that come next.
    pub tail: Tail,
    /// Dead bytes after the last good group, if there were any.
    pub torn: Option<Torn>,
    /// Damage in the last segment and gaps between segments, at most [`MAX_DAMAGES_AT_OPEN`]. What lies inside closed
    /// segments is found by [`scan`](super::scan::scan).
    pub damages: Vec<Damage>,
    /// Number of the group that was written again.
    pub rewritten_group: Option<u64>,
    /// What was lost at the end, where a person has accepted that ([`Options::accept_loss`]).
    pub lost: Vec<Damage>,
    /// The end mark as it was found; it has been written anew.
    pub mark: EndMarkState,
}

/// What a journal looks like before anything is changed.
#[derive(Clone, Debug)]
pub struct Look {
    /// Random id of the journal.
    pub journal_id: [u8; 16],
    /// The number that the next record will have.
    pub next_record: u64,
    /// Dead bytes after the last good group, if there are any.
    pub torn: Option<Torn>,
    /// Damage in the last segment and gaps between segments, at most [`MAX_DAMAGES_AT_OPEN`].
    pub damages: Vec<Damage>,
    /// What was durable once and is lost at the end, as far as the end mark and the segments prove it. Where it is not
    /// empty, [`Journal::open`] refuses without [`Options::accept_loss`].
    pub lost: Vec<Damage>,
    /// The end mark.
    pub mark: EndMarkState,
    end: (PathBuf, u64),
}

impl Look {
    /// The damage that another witness proves.
    pub fn lost_end(&self, witness: &Witness) -> Option<Damage> {
        let (file, offset) = &self.end;
        lost_end(file, *offset, self.next_record, self.torn.as_ref(), std::slice::from_ref(witness))
    }
}

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no journal and none was to be created.
    #[error("{} holds no journal", .0.display())]
    NoJournal(PathBuf),
    /// There is a journal already where a new one was to be created.
    #[error("{} already holds a journal", .0.display())]
    AlreadyThere(PathBuf),
    /// The end of the journal is damaged or lost: nothing may be written behind it, because nobody can tell what was
    /// there.
    #[error("the end of the journal is damaged: {0}")]
    EndDamaged(Damage),
    /// Another process holds the journal.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// There is no room for a new segment, not even with the reserve.
    #[error("no room on the disk for the journal in {}", .0.display())]
    DiskFull(PathBuf),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// The operating system refused something.
    #[error("{}: {error}", folder.display())]
    Io {
        /// The journal's folder.
        folder: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// The last segment as the scan left it.
struct LastSegment {
    header: SegmentHeader,
    last_group: Option<Group>,
    /// Chain and numbers before the last group.
    before_last: Expected,
    expected: Expected,
    /// How many good groups or damaged stretches lie before the last group in this segment.
    anything_before: bool,
    /// Where the last good group ends.
    end: u64,
    torn: Option<Torn>,
    damages: Vec<Damage>,
}

/// The last segments as they were found, before anything is changed.
struct Found {
    segments: Vec<SegmentFile>,
    last: LastSegment,
    damages: Vec<Damage>,
    /// What was durable once and is not there any more.
    lost: Vec<Damage>,
    /// Segments of which nothing can be read, behind the last readable one.
    unreadable: Vec<SegmentFile>,
    mark: EndMarkState,
}

impl Found {
    /// Reads all headers and the last readable segment, and holds the end against the end mark. Changes nothing.
    fn read(folder: &Path) -> Result<Self, OpenError> {
        let mark = EndMarkState::read(folder);
        let io_error = |error| OpenError::Io { folder: folder.to_owned(), error };
        let mut segments = list_segments(folder).map_err(io_error)?;
        let (mut lost, mut unreadable) = (Vec::new(), Vec::new());
        let last = loop {
            let Some(segment) = segments.last() else { return Err(OpenError::NoJournal(folder.to_owned())) };
            match scan_last(folder, segment) {
                Err(OpenError::EndDamaged(damage)) if segments.len() > 1 => {
                    lost.push(damage);
                    unreadable.extend(segments.pop());
                }
                other => break other?,
            }
        };
        let mut damages = check_headers(folder, &segments);
        damages.extend(last.damages.iter().filter(|damage| !damages.contains(damage)).cloned().collect::<Vec<_>>());
        damages.truncate(MAX_DAMAGES_AT_OPEN);
        let mut found = Self { segments, last, damages, lost, unreadable, mark };
        let known = found.mark.known().filter(|mark| mark.journal_id == found.last.header.journal_id);
        let witness = known.map(|mark| Witness { records: mark.next_record, what: "the end mark".to_owned() });
        if found.lost.is_empty()
            && let Some(witness) = witness
        {
            found.lost.extend(found.look(folder).lost_end(&witness));
        }
        Ok(found)
    }

    fn look(&self, folder: &Path) -> Look {
        let last = &self.last;
        let segment = last.header.first_record;
        let file = self.segments.last().map_or_else(|| segment_path(folder, segment), |file| file.path.clone());
        Look {
            journal_id: last.header.journal_id,
            next_record: last.expected.record,
            torn: last.torn.clone(),
            damages: self.damages.clone(),
            lost: self.lost.clone(),
            mark: self.mark.clone(),
            end: (file, last.end),
        }
    }

    fn of_new_journal() -> Result<Self, OpenError> {
        let (segments, damages, lost, unreadable) = Default::default();
        Ok(Self { segments, last: new_journal()?, damages, lost, unreadable, mark: EndMarkState::Missing })
    }
}

/// Looks at a journal as [`Journal::open`] would, and changes nothing: what is found here can be refused with the folder
/// as it was.
///
/// # Errors
/// There is no journal, or none of its segments can be read.
pub fn look(folder: &Path) -> Result<Look, OpenError> {
    if !folder.is_dir() {
        return Err(OpenError::NoJournal(folder.to_owned()));
    }
    Ok(Found::read(folder)?.look(folder))
}

/// Opens the journal of a folder and starts its writer.
pub(crate) fn open(folder: &Path, options: Options) -> Result<(Journal, Opened), OpenError> {
    let io_error = |error| OpenError::Io { folder: folder.to_owned(), error };
    if options.create {
        create_folder(folder).map_err(io_error)?;
    } else if !folder.is_dir() {
        return Err(OpenError::NoJournal(folder.to_owned()));
    }
    let lock = FolderLock::acquire(folder)?;
    let found = match (options.create, list_segments(folder).map_err(io_error)?.is_empty()) {
        (true, false) => return Err(OpenError::AlreadyThere(folder.to_owned())),
        (true, true) => Found::of_new_journal()?,
        (false, _) => Found::read(folder)?,
    };
    if let Some(damage) = found.lost.first().filter(|_| !options.accept_loss) {
        return Err(OpenError::EndDamaged(damage.clone()));
    }
    let Found { segments, last, damages, lost, unreadable, mark } = found;
    remove_temporaries(folder).map_err(io_error)?;
    set_aside(folder, &unreadable).map_err(io_error)?;
    let mut reserve = Reserve::open(folder, options.reserve_bytes).map_err(io_error)?;
    let succession = Succession { folder, options: &options, last: &last, old: segments.last() };
    let (header, segment, end) = succession.carry_out(&mut reserve)?;
    let mut mark_file = EndMarkFile::open(folder, header.journal_id);
    mark_file.set(&last.expected, end);
    mark_file.sync();
    let tail = Tail { end, next_record: last.expected.record, next_group: last.expected.group };
    let opened = Opened {
        journal_id: header.journal_id,
        tail,
        torn: last.torn,
        damages,
        rewritten_group: last.last_group.map(|group| group.header.number),
        lost,
        mark,
    };
    let condition = if reserve.is_whole() { Condition::Running } else { Condition::OnReserve };
    let shared = Arc::new(Shared::new(tail, options.ride, condition.clone()));
    let writer = Writer {
        shared: Arc::clone(&shared),
        disk: Arc::clone(&options.disk),
        folder: folder.to_owned(),
        options,
        header,
        segment,
        end,
        expected: last.expected,
        reserve,
        spare: None,
        condition,
        mark: mark_file,
    };
    let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run()).map_err(io_error)?;
    Ok((Journal::new(folder.to_owned(), shared, thread, lock), opened))
}

fn new_journal() -> Result<LastSegment, OpenError> {
    let mut random = [0; 24];
    rand::fill(&mut random).map_err(|_| OpenError::Random)?;
    let journal_id = std::array::from_fn(|index| random[index]);
    // No zero in the mark, so that it never matches in the zero-filled rest of a segment.
    let mark = Mark(std::array::from_fn(|index| random[16 + index].max(1)));
    let header = SegmentHeader::first(journal_id, mark);
    Ok(LastSegment {
        before_last: header.expected(),
        expected: header.expected(),
        header,
        last_group: None,
        anything_before: false,
        end: SEGMENT_HEADER_BYTES,
        torn: None,
        damages: Vec::new(),
    })
}

fn remove_temporaries(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            remove_if_present(&path)?;
        }
    }
    Ok(())
}

/// Gives segments of which nothing can be read another name, so that they are evidence and no part of the journal.
fn set_aside(folder: &Path, segments: &[SegmentFile]) -> io::Result<()> {
    for segment in segments {
        let names = (1..=MAX_TORN_COPIES).map(|copy| with_suffix(&segment.path, &format!(".lost-{copy}")));
        let free = names.into_iter().find(|name| !name.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
        fs::rename(&segment.path, free)?;
    }
    if segments.is_empty() { Ok(()) } else { sync_folder(folder) }
}

/// Holds each segment's header against the one before: is anything missing?
fn check_headers(folder: &Path, segments: &[SegmentFile]) -> Vec<Damage> {
    let mut damages = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let next = segments.get(index + 1);
        let header = File::open(&segment.path)
            .map_err(|error| Fault::Unreadable(error.to_string()))
            .and_then(|file| read_header(&file));
        let before = index.checked_sub(1).map(|index| segments[index].first_record);
        let damage = |file: PathBuf, first_record, next_record, fault| Damage {
            file,
            offset: 0,
            length: 0,
            first_record,
            next_record,
            fault,
        };
        match header {
            Err(fault) => {
                let next = next.map(|next| next.first_record);
                damages.push(damage(segment.path.clone(), segment.first_record, next, fault));
            }
            Ok(read) => {
                let due = before.or((read.header.first_record == 0).then_some(0));
                if due != Some(read.header.previous_end.segment) {
                    let file = segment_path(folder, read.header.previous_end.segment);
                    // A whole segment is gone; its own number says where it began.
                    let first = read.header.previous_end.segment;
                    damages.push(damage(file, first, Some(segment.first_record), Fault::Missing));
                }
            }
        }
        if damages.len() >= MAX_DAMAGES_AT_OPEN {
            break;
        }
    }
    damages
}

/// Reads the last segment and finds the last good group and what it continued.
fn scan_last(folder: &Path, segment: &SegmentFile) -> Result<LastSegment, OpenError> {
    let io_error = |error| OpenError::Io { folder: folder.to_owned(), error };
    let header = File::open(&segment.path)
        .map_err(|error| Fault::Unreadable(error.to_string()))
        .and_then(|file| read_header(&file))
        .map_err(|fault| end_damaged(segment, fault))?
        .header;
    let scan = Scan::new(folder, segment.first_record, None).map_err(io_error)?;
    let mut scan = scan.up_to(segment.first_record);
    let mut last_group: Option<Group> = None;
    let mut before_last = header.expected();
    let mut damages = Vec::new();
    let mut found = 0_usize;
    for item in scan.by_ref() {
        match item {
            Ok(group) => {
                before_last = Expected {
                    record: group.header.first_record,
                    group: group.header.number,
                    chain: group.header.previous_chain,
                };
                last_group = Some(group);
            }
            // Nothing good follows, and it was durable once: where the journal ends is not known.
            Err(damage) if damage.next_record.is_none() => return Err(OpenError::EndDamaged(damage)),
            Err(damage) if damage.fault == Fault::HeaderCopy => {
                damages.push(damage);
                continue;
            }
            Err(damage) if damages.len() < MAX_DAMAGES_AT_OPEN => damages.push(damage),
            Err(_) => {}
        }
        found += 1;
    }
    let expected = scan.expected().cloned().unwrap_or_else(|| header.expected());
    let (anything_before, torn) = (found > 1, scan.torn().cloned());
    let end = last_group.as_ref().map_or(SEGMENT_HEADER_BYTES, |group| group.end().offset);
    Ok(LastSegment { header, last_group, before_last, expected, anything_before, end, torn, damages })
}

fn end_damaged(segment: &SegmentFile, fault: Fault) -> OpenError {
    OpenError::EndDamaged(Damage {
        file: segment.path.clone(),
        offset: 0,
        length: SEGMENT_HEADER_BYTES,
        first_record: segment.first_record,
        next_record: None,
        fault,
    })
}

/// The step from the last segment to the new one.
struct Succession<'a> {
    folder: &'a Path,
    options: &'a Options,
    last: &'a LastSegment,
    old: Option<&'a SegmentFile>,
}

impl Succession<'_> {
    fn carry_out(&self, reserve: &mut Reserve) -> Result<(SegmentHeader, OpenSegment, Position), OpenError> {
        let io_error = |error| OpenError::Io { folder: self.folder.to_owned(), error };
        let header = self.header();
        self.keep_torn_end(&header).map_err(io_error)?;
        let frame = self.last.last_group.as_ref().map(|group| group.frame.as_ref());
        let disk = self.options.disk.as_ref();
        let mut capacity = self.options.segment_bytes;
        let segment = loop {
            match create_segment(disk, self.folder, &header, frame, capacity, None) {
                Ok(segment) => break segment,
                Err(error) if is_disk_full(&error) => {
                    if !reserve.release().map_err(io_error)? {
                        return Err(OpenError::DiskFull(self.folder.to_owned()));
                    }
                    capacity = SEGMENT_HEADER_BYTES;
                }
                Err(error) => return Err(io_error(error)),
            }
        };
        self.trim_old(&header);
        let offset = SEGMENT_HEADER_BYTES + frame.map_or(0, |frame| frame.len() as u64);
        let end = Position { segment: header.first_record, offset };
        Ok((header, segment, end))
    }

    /// The new segment begins with the last group, so it succeeds the end before that group.
    fn header(&self) -> SegmentHeader {
        match &self.last.last_group {
            Some(group) if self.last.anything_before => {
                self.last.header.successor(&self.last.before_last, group.position)
            }
            // The old segment holds nothing else: the new one takes its very place.
            _ => self.last.header.clone(),
        }
    }

    /// Where the new segment replaces the old one, a torn end is kept under another name: somebody may want to look.
    fn keep_torn_end(&self, header: &SegmentHeader) -> io::Result<()> {
        let Some(old) = self.old else { return Ok(()) };
        if self.last.torn.is_none() || old.first_record != header.first_record {
            return Ok(());
        }
        for copy in 1..=MAX_TORN_COPIES {
            match fs::hard_link(&old.path, with_suffix(&old.path, &format!(".torn-{copy}"))) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.and_then(|()| sync_folder(self.folder)),
            }
        }
        Ok(())
    }

    /// The end of the old segment is dead now; if there is nothing to look at, its room is given back.
    fn trim_old(&self, header: &SegmentHeader) {
        let Some(old) = self.old.filter(|old| old.first_record != header.first_record) else { return };
        if self.last.torn.is_none()
            && let Ok(file) = File::options().write(true).open(&old.path)
        {
            trim(&file, header.previous_end.offset);
        }
    }
}
