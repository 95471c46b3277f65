//! The one thread that writes: all that waits goes into one group, one write, one sync, and only then are the waiters
//! told. It knows neither what a record means nor who reads it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::{io, thread};

use aws_lc_rs::rand;

use super::append::{AppendError, Durable, Item, Shared, Tail};
use super::disk::{Disk, free_bytes, is_disk_full, remove_if_present};
use super::end_mark::EndMarkFile;
use super::frame::{BLINDING_BYTES, Built, Expected, MAX_FRAME_BYTES, Position, build_group};
use super::reserve::Reserve;
use super::segment::{OpenSegment, SegmentHeader, create_segment, create_spare};
use super::{Condition, Options};

/// From this size on the next segment is filled with zeros ahead of need, on a thread of its own; below it, filling on
/// the spot is quicker than a thread.
const SPARE_FROM_BYTES: u64 = 1024 * 1024;

/// While the journal lives on its reserve, segments are this small, so that the reserve carries many small acts.
const RESERVE_SEGMENT_BYTES: u64 = 256 * 1024;

/// Everything that the writer thread owns.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
    pub options: Options,
    pub header: SegmentHeader,
    pub segment: OpenSegment,
    pub end: Position,
    pub expected: Expected,
    pub reserve: Reserve,
    pub spare: Option<JoinHandle<io::Result<OpenSegment>>>,
    pub condition: Condition,
    pub mark: EndMarkFile,
}

/// What went wrong with a write after which nothing more may be written.
struct Fatal(String);

/// Tells the waiters if the thread ends in any other way than by its own decision.
struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail("the writer of the journal panicked");
        }
    }
}

impl Writer {
    /// Writes until the journal is closed or a write fails for good.
    pub(crate) fn run(mut self) {
        let _guard = FailOnPanic(Arc::clone(&self.shared));
        while let Some(batch) = self.shared.next_batch(MAX_FRAME_BYTES, self.condition == Condition::OnReserve) {
            if batch.is_empty() {
                self.consider_reserve();
                continue;
            }
            let blinding = match draw_blinding(&batch) {
                Ok(blinding) => blinding,
                Err(fatal) => return self.fail(fatal, batch),
            };
            let records: Vec<_> = batch.iter().map(|item| item.records.as_slice()).collect();
            let built = build_group(self.header.mark, &self.expected, self.previous_end(), &records, &blinding);
            match self.commit(&built) {
                Ok(true) => self.tell(batch, &built),
                Ok(false) => return batch.into_iter().for_each(|item| (item.done)(Err(AppendError::Closed))),
                Err(fatal) => return self.fail(fatal, batch),
            }
            self.consider_reserve();
            self.prepare_spare();
        }
    }

    /// The end that the next group names: the first group of a journal has nothing before it.
    fn previous_end(&self) -> Position {
        if self.end.offset == super::segment::SEGMENT_HEADER_BYTES { self.header.previous_end } else { self.end }
    }

    /// Makes a group durable, however long the disk stays full; `false` if the journal was closed meanwhile.
    fn commit(&mut self, built: &Built) -> Result<bool, Fatal> {
        loop {
            match self.write(built) {
                Ok(()) => break,
                Err(error) if is_disk_full(&error) => {
                    if self.reserve.release().map_err(|error| Fatal(error.to_string()))? {
                        self.say(Condition::OnReserve);
                        continue;
                    }
                    self.say(Condition::DiskFull);
                    if !self.shared.wait_for_room() {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(Fatal(error.to_string())),
            }
        }
        if self.condition == Condition::DiskFull {
            self.say(Condition::OnReserve);
        }
        Ok(true)
    }

    fn write(&mut self, built: &Built) -> io::Result<()> {
        let length = built.frame.len() as u64;
        if self.end.offset + length <= self.segment.capacity {
            self.disk.write_at(&self.segment.file, &built.frame, self.end.offset)?;
            // A failed sync is never retried: the pages may be marked clean although they were lost.
            return self.disk.sync_data(&self.segment.file).map_err(super::segment::SyncFailed::wrap);
        }
        self.roll_over(built)
    }

    fn roll_over(&mut self, built: &Built) -> io::Result<()> {
        let spare = self.spare.take().and_then(|spare| spare.join().ok()?.ok());
        let capacity = match self.condition {
            Condition::Running => self.options.segment_bytes,
            _ => self.options.segment_bytes.min(RESERVE_SEGMENT_BYTES),
        };
        let header = self.header.successor(&self.expected, self.previous_end());
        let frame = Some(built.frame.as_ref());
        let segment = create_segment(self.disk.as_ref(), &self.folder, &header, frame, capacity, spare)?;
        trim(&self.segment.file, self.end.offset);
        self.segment = segment;
        self.end = Position { segment: header.first_record, offset: super::segment::SEGMENT_HEADER_BYTES };
        self.header = header;
        self.mark.sync();
        Ok(())
    }

    /// Publishes the new end and tells each waiter, in the order of the calls.
    fn tell(&mut self, batch: Vec<Item>, built: &Built) {
        let group = self.expected.group;
        let count: usize = batch.iter().map(|item| item.records.len()).sum();
        if let Some(group) = built.group(self.header.mark, self.end) {
            self.shared.keep(group);
        }
        self.end.offset += built.frame.len() as u64;
        self.expected = Expected { record: self.expected.record + count as u64, group: group + 1, chain: built.chain };
        // Before anybody hears of it: what was told to somebody is known to be durable after kill -9.
        self.mark.set(&self.expected, self.end);
        self.shared.publish(Tail { end: self.end, next_record: self.expected.record, next_group: group + 1 });
        let mut leaves = built.leaves.as_slice();
        for item in batch {
            let (own, rest) = leaves.split_at(item.records.len());
            leaves = rest;
            (item.done)(Ok(Durable::new(item.first_record, group, own.to_vec())));
        }
    }

    fn fail(&mut self, fatal: Fatal, batch: Vec<Item>) {
        self.shared.fail_with(&fatal.0, batch);
        self.say(Condition::Failed(fatal.0));
    }

    fn say(&mut self, condition: Condition) {
        if self.condition != condition {
            self.condition = condition.clone();
            self.shared.set_condition(condition.clone());
            (self.options.on_condition)(condition);
        }
    }

    /// Takes the reserve again as soon as there is room for it and for going on.
    fn consider_reserve(&mut self) {
        if self.condition != Condition::OnReserve {
            return;
        }
        let needed = 2 * self.options.reserve_bytes + self.options.segment_bytes;
        if free_bytes(&self.folder).is_ok_and(|free| free >= needed) && self.reserve.take().is_ok() {
            self.say(Condition::Running);
        }
    }

    /// Has the next segment filled once half of this one is used.
    fn prepare_spare(&mut self) {
        let capacity = self.options.segment_bytes;
        let due = self.end.offset > self.segment.capacity / 2;
        if !due || self.spare.is_some() || capacity < SPARE_FROM_BYTES || self.condition != Condition::Running {
            return;
        }
        let (disk, folder) = (Arc::clone(&self.disk), self.folder.clone());
        let thread = thread::Builder::new().name("journal-spare".to_owned());
        self.spare = thread.spawn(move || create_spare(disk.as_ref(), &folder, capacity)).ok();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.mark.sync();
        if let Some(spare) = self.spare.take() {
            let _ = spare.join();
            let _ = remove_if_present(&super::segment::spare_path(&self.folder));
        }
    }
}

fn draw_blinding(batch: &[Item]) -> Result<Vec<u8>, Fatal> {
    let count: usize = batch.iter().map(|item| item.records.len()).sum();
    let mut blinding = vec![0; count * BLINDING_BYTES];
    rand::fill(&mut blinding).map_err(|_| Fatal("the system gave no random bytes".to_owned()))?;
    Ok(blinding)
}

/// Gives back the zero-filled rest of a closed segment. Failing costs room, not truth.
pub(crate) fn trim(file: &File, end: u64) {
    let _ = file.set_len(end);
}
