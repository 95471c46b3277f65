//! The hand that writes: what was taken from the journal and is not in sled yet, and reading through it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use crate::name::{EntryId, NodeName};

use super::cursor::Cursor;
use super::key::{self, Folder, LogId};
use super::log::{LOCATIONS_PER_VALUE, Location, OpenLog};
use super::posting::{Change, Name, Posting, Runs, key_of};
use super::row::{ROW_BYTES, ROWS_PER_VALUE, Row, record_of};
use super::{StoreError, sealed};

/// How much may change before it is written: a few of sled's buffers. sled writes each full buffer from a pool of seven
/// threads for the whole process, and hangs for ever when all of them wait for a lock whose owner waits for the pool.
pub(super) const STEP_BYTES: usize = 512 * 1024;

/// One step is written and flushed before the next one of any store in this process begins, for the same reason.
static WRITING: Mutex<()> = Mutex::new(());

/// Logs and values of rows that stay at hand between two batches. Beyond it they are read again: memory follows what is
/// open, not history.
const MAX_AT_HAND: usize = 256;

/// What an entry adds: its hash and its place.
const ENTRY_BYTES: usize = 48;

/// A value of rows.
#[derive(Debug, Default)]
struct RowsValue {
    bytes: Vec<u8>,
    dirty: bool,
}

/// What the index thread keeps from one batch to the next, and what it has not written yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub cursor: Cursor,
    runs: Runs,
    logs: BTreeMap<LogId, OpenLog>,
    rows: BTreeMap<(Folder, u64), RowsValue>,
    /// Folders whose newest value is among `rows`, with its first record (none: the folder is empty).
    newest: BTreeMap<Folder, Option<u64>>,
    postings: BTreeSet<Posting>,
    /// Values that are full, and receipts.
    puts: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Values that were taken out.
    removes: BTreeSet<Vec<u8>>,
    /// About how many bytes a commit would write.
    changed: usize,
}

impl Batch {
    pub(super) fn load(tree: &sled::Tree) -> Result<Self, StoreError> {
        let (cursor, runs) = (Cursor::load(tree)?, Runs::load(tree)?);
        if runs.count() != cursor.names {
            return Err(StoreError::Damaged(format!("{} of {} names are there", runs.count(), cursor.names)));
        }
        Ok(Self { cursor, runs, ..Self::default() })
    }

    /// The lookups as of the last commit.
    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Whether so much changed that it should be written before more is taken in.
    pub(super) fn is_due(&self) -> bool {
        self.changed >= STEP_BYTES
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changed += value.len();
        self.puts.insert(key, value);
    }

    /// Takes the first values of a range of keys out, at most `most`, whether they were written already or not.
    pub(super) fn take_range(
        &mut self,
        tree: &sled::Tree,
        range: std::ops::Range<Vec<u8>>,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut found = BTreeMap::new();
        for item in tree.range(range.clone()) {
            let (key, value) = item?;
            if found.len() == most {
                break;
            }
            if !self.removes.contains(&key[..]) {
                found.insert(key.to_vec(), sealed::open(&key, &value)?.to_vec());
            }
        }
        let unwritten = self.puts.range(range).take(most);
        found.extend(unwritten.map(|(key, value)| (key.clone(), value.clone())));
        let taken: Vec<(Vec<u8>, Vec<u8>)> = found.into_iter().take(most).collect();
        for (key, _) in &taken {
            self.puts.remove(key);
            self.removes.insert(key.clone());
            self.changed += key.len();
        }
        Ok(taken.into_iter().map(|(_, value)| value).collect())
    }

    /// The volume of a log, opened where it is not known yet.
    pub(super) fn log(&mut self, tree: &sled::Tree, log: LogId) -> Result<&mut OpenLog, StoreError> {
        if !self.logs.contains_key(&log) {
            let open = OpenLog::load(tree, &log)?;
            if open.state == Default::default() {
                self.cursor.logs += 1;
            }
            self.logs.insert(log, open);
        }
        Ok(self.logs.get_mut(&log).expect("it is there or was just inserted"))
    }

    /// The volume, if it exists.
    pub(super) fn known_log(&mut self, tree: &sled::Tree, log: LogId) -> Result<Option<&mut OpenLog>, StoreError> {
        if !self.logs.contains_key(&log) && !tree.contains_key(key::log(&log))? {
            return Ok(None);
        }
        self.log(tree, log).map(Some)
    }

    /// The volume with a number.
    pub(super) fn log_numbered(
        &self,
        tree: &sled::Tree,
        peer: NodeName,
        own: bool,
        number: u32,
    ) -> Result<Option<LogId>, StoreError> {
        let is_it = |log: &LogId| log.peer == peer && log.own == own && log.volume.number == number;
        if let Some(log) = self.logs.keys().find(|log| is_it(log)) {
            return Ok(Some(*log));
        }
        for item in tree.scan_prefix(key::logs(Some(peer))) {
            if let Some(log) = key::log_of(&item?.0).filter(|log| is_it(log)) {
                return Ok(Some(log));
            }
        }
        Ok(None)
    }

    /// Appends an entry to a volume that is already open.
    pub(super) fn push(&mut self, log: &LogId, leaf_hash: crate::name::Hash, location: Location) {
        let Some(open) = self.logs.get_mut(log) else { return };
        let puts = &mut self.puts;
        open.push(log, leaf_hash, location, &mut |key, value| {
            puts.insert(key, value);
        });
        self.changed += 2 * ENTRY_BYTES;
        self.cursor.entries += 1;
    }

    /// Where an entry lies in the journal.
    pub(super) fn location(
        &mut self,
        tree: &sled::Tree,
        log: LogId,
        index: u64,
    ) -> Result<Option<Location>, StoreError> {
        let Some(open) = self.known_log(tree, log)? else { return Ok(None) };
        if index >= open.state.size {
            return Ok(None);
        }
        if let Some(location) = open.open_location(index) {
            return Ok(Some(location));
        }
        let key = key::locations(&log, index / LOCATIONS_PER_VALUE);
        let at = index % LOCATIONS_PER_VALUE;
        if let Some(value) = self.puts.get(&key) {
            return Ok(Location::in_value(value, at));
        }
        Ok(sealed::get(tree, &key)?.and_then(|value| Location::in_value(&value, at)))
    }

    /// Adds the row of a message, with the names under which it is found.
    pub(super) fn add_row(&mut self, tree: &sled::Tree, folder: Folder, row: &Row) -> Result<(), StoreError> {
        let newest = self.newest_rows(tree, folder)?;
        let room = newest.and_then(|first| self.rows.get_mut(&(folder, first)));
        match room.filter(|value| value.bytes.len() < ROWS_PER_VALUE * ROW_BYTES) {
            Some(value) => {
                value.bytes.extend_from_slice(&row.encode());
                self.changed += if value.dirty { ROW_BYTES } else { value.bytes.len() };
                value.dirty = true;
            }
            None => {
                self.rows.insert((folder, row.record), RowsValue { bytes: row.encode().to_vec(), dirty: true });
                self.newest.insert(folder, Some(row.record));
                self.changed += ROW_BYTES;
            }
        }
        self.cursor.rows += 1;
        use super::row::Flag::{HasCase, HasReply, Readable};
        let names =
            [(Readable, Name::Id, row.id), (HasCase, Name::Case, row.case), (HasReply, Name::Answers, row.in_reply_to)];
        for (_, name, bytes) in names.iter().filter(|(flag, ..)| row.has(*flag)) {
            let folder = folder.bytes();
            self.postings.insert(Posting { key: key_of(*name, bytes), record: row.record, folder });
        }
        Ok(())
    }

    /// The first record of the newest value of a folder, which is then at hand.
    fn newest_rows(&mut self, tree: &sled::Tree, folder: Folder) -> Result<Option<u64>, StoreError> {
        if let Some(newest) = self.newest.get(&folder) {
            return Ok(*newest);
        }
        let stored = tree.scan_prefix(key::rows_of(folder)).next_back().transpose()?;
        let newest = match stored {
            None => None,
            Some((key, value)) => {
                let bytes = sealed::open(&key, &value)?.to_vec();
                let first = record_of(&bytes);
                self.rows.entry((folder, first)).or_insert(RowsValue { bytes, dirty: false });
                Some(first)
            }
        };
        self.newest.insert(folder, newest);
        Ok(newest)
    }

    /// The value in which the row of a record must lie, at hand.
    fn rows_around(&mut self, tree: &sled::Tree, folder: Folder, record: u64) -> Result<Option<u64>, StoreError> {
        let here = self.rows.range((folder, 0)..=(folder, record)).next_back().map(|((_, first), _)| *first);
        let newest = self.newest.get(&folder).copied().flatten();
        if here.is_some() && here == newest {
            return Ok(here);
        }
        let range = (Bound::Included(key::rows(folder, 0)), Bound::Included(key::rows(folder, record)));
        let Some((key, value)) = tree.range::<Vec<u8>, _>(range).next_back().transpose()? else { return Ok(here) };
        let Some((_, first)) = key::rows_at(&key) else { return Ok(here) };
        if here.is_some_and(|here| here >= first) {
            return Ok(here);
        }
        let bytes = sealed::open(&key, &value)?.to_vec();
        self.rows.insert((folder, first), RowsValue { bytes, dirty: false });
        Ok(Some(first))
    }

    /// The row of a record.
    pub(super) fn row(&mut self, tree: &sled::Tree, folder: Folder, record: u64) -> Result<Option<Row>, StoreError> {
        let Some(first) = self.rows_around(tree, folder, record)? else { return Ok(None) };
        let Some(value) = self.rows.get(&(folder, first)) else { return Ok(None) };
        find(&value.bytes, record).map(|at| Row::decode(&value.bytes[at..at + ROW_BYTES])).transpose()
    }

    /// Changes the row of a record, if there is one.
    pub(super) fn change(
        &mut self,
        tree: &sled::Tree,
        folder: Folder,
        record: u64,
        change: impl FnOnce(&mut Row),
    ) -> Result<bool, StoreError> {
        let Some(first) = self.rows_around(tree, folder, record)? else { return Ok(false) };
        let Some(value) = self.rows.get_mut(&(folder, first)) else { return Ok(false) };
        let Some(at) = find(&value.bytes, record) else { return Ok(false) };
        let bytes = &mut value.bytes[at..at + ROW_BYTES];
        let mut row = Row::decode(bytes)?;
        change(&mut row);
        bytes.copy_from_slice(&row.encode());
        self.changed += if value.dirty { 0 } else { value.bytes.len() };
        value.dirty = true;
        Ok(true)
    }

    /// The first message of a folder with an id.
    pub(super) fn by_id(&mut self, tree: &sled::Tree, folder: Folder, id: &EntryId) -> Result<Option<Row>, StoreError> {
        let name = key_of(Name::Id, &id.0);
        let low = Posting { key: name, record: 0, folder: [0; key::FOLDER_BYTES] };
        let high = Posting { key: name, record: u64::MAX, folder: [u8::MAX; key::FOLDER_BYTES] };
        let mut records: Vec<u64> = self
            .runs
            .find(tree, name)?
            .iter()
            .chain(self.postings.range(low..=high))
            .filter(|posting| posting.folder == folder.bytes())
            .map(|posting| posting.record)
            .collect();
        records.sort_unstable();
        for record in records {
            if let Some(row) = self.row(tree, folder, record)?.filter(|row| row.id == id.0) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Writes everything in one step.
    pub(super) fn commit(&mut self, tree: &sled::Tree) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for key in std::mem::take(&mut self.removes) {
            batch.remove(key);
        }
        for (key, value) in std::mem::take(&mut self.puts) {
            let value = sealed::seal(&key, value);
            batch.insert(key, value);
        }
        for (log, open) in &mut self.logs {
            open.flush(log, &mut |key, value| {
                let value = sealed::seal(&key, value);
                batch.insert(key, value);
            });
        }
        for ((folder, first), value) in self.rows.iter_mut().filter(|(_, value)| value.dirty) {
            let key = key::rows(*folder, *first);
            let sealed = sealed::seal(&key, value.bytes.clone());
            batch.insert(key, sealed);
            value.dirty = false;
        }
        let postings = std::mem::take(&mut self.postings);
        self.runs.add(tree, &postings, &mut |change| match change {
            Change::Put(key, value) => batch.insert(key, value),
            Change::Remove(key) => batch.remove(key),
        })?;
        self.cursor.names = self.runs.count();
        batch.insert(key::CURSOR, sealed::seal(key::CURSOR, self.cursor.encode()));
        self.changed = 0;
        // A thread that panicked here left nothing behind that this lock would guard.
        let writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        tree.apply_batch(batch)?;
        tree.flush()?;
        drop(writing);
        self.forget();
        Ok(())
    }

    /// Keeps at hand only what is likely to be needed next.
    fn forget(&mut self) {
        let newest = &self.newest;
        self.rows.retain(|(folder, first), _| newest.get(folder) == Some(&Some(*first)));
        if self.rows.len() > MAX_AT_HAND {
            self.rows.clear();
            self.newest.clear();
        }
        if self.logs.len() > MAX_AT_HAND {
            self.logs.clear();
        }
    }
}

/// Where the row of a record begins among others.
pub(super) fn find(rows: &[u8], record: u64) -> Option<usize> {
    let (rows, _) = rows.as_chunks::<ROW_BYTES>();
    let at = rows.binary_search_by_key(&record, |row| record_of(row)).ok()?;
    Some(at * ROW_BYTES)
}
