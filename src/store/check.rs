//! Holding the store against itself and against the journal.

use std::collections::BTreeMap;

use crate::journal::Reader;

use super::batch::Batch;
use super::key::{self, Folder, LogId};
use super::log::{LOCATIONS_PER_VALUE, Location, LogState};
use super::posting::{Name, key_of};
use super::row::{Flag, ROW_BYTES, Row};
use super::{Inner, Store, StoreError, guarded, sealed, tile};

/// How many differences are named; the rest is counted.
const MAX_FAULTS: usize = 100;

/// What a check looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Volumes of logs whose tiles lead to their roots.
    pub logs: u64,
    /// Entries in them.
    pub entries: u64,
    /// Rows of messages.
    pub messages: u64,
    /// Names by which messages are found.
    pub names: u64,
}

impl Checked {
    /// All rows of every kind.
    pub fn rows(&self) -> u64 {
        self.logs + self.entries + self.messages + self.names
    }
}

impl Store {
    /// Reads the whole store and checks that it is complete in itself: every value matches its checksum, the tiles of
    /// each log lead to its root, and all counts are those that were written with the cursor. It takes about a second
    /// for a million messages; what the journal says is not looked at.
    ///
    /// # Errors
    /// The first thing that is missing or does not fit.
    pub fn check(&self) -> Result<Checked, StoreError> {
        self.query(|inner, tree| whole(&inner.batch, tree))
    }

    /// Builds a second store from the journal, beside this one, and compares the two value by value. Gives what was
    /// compared, and each difference in words.
    ///
    /// # Errors
    /// No room or no permission for the second store, or a journal that cannot be read.
    pub fn verify_against(&self, journal: &Reader) -> Result<(Checked, Vec<String>), StoreError> {
        let mut name = self.shared.folder.as_os_str().to_owned();
        name.push(".verify");
        let folder = std::path::PathBuf::from(name);
        let io_error = |error| StoreError::Io { folder: folder.clone(), error };
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(io_error)?;
        }
        let result = self.verify_beside(journal, &folder);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(io_error)?;
        }
        result
    }

    fn verify_beside(&self, journal: &Reader, folder: &std::path::Path) -> Result<(Checked, Vec<String>), StoreError> {
        let (second, _) = Store::open(folder, journal)?;
        second.take_scan(journal, self.next_record(), |_| true)?;
        // The index thread goes on meanwhile: what it took in until now is taken in here too, and then it waits.
        let inner = self.read();
        second.take_scan(journal, inner.batch.cursor.next_record, |_| true)?;
        let tree = inner.tree()?;
        let checked = guarded(|| whole(&inner.batch, tree));
        let other = second.read();
        let mut faults = Faults::default();
        match checked {
            Err(StoreError::Damaged(reason)) => {
                faults.add(reason);
                Ok((Checked::default(), faults.list()))
            }
            Err(error) => Err(error),
            Ok(checked) => {
                guarded(|| compare(&inner, &other, &mut faults))?;
                Ok((checked, faults.list()))
            }
        }
    }
}

#[derive(Default)]
struct Faults {
    named: Vec<String>,
    more: u64,
}

impl Faults {
    fn add(&mut self, fault: String) {
        if self.named.len() < MAX_FAULTS {
            self.named.push(fault);
        } else {
            self.more += 1;
        }
    }

    fn list(mut self) -> Vec<String> {
        if self.more > 0 {
            self.named.push(format!("and {} more differences", self.more));
        }
        self.named
    }
}

fn damaged(what: String) -> StoreError {
    StoreError::Damaged(what)
}

fn whole(batch: &Batch, tree: &sled::Tree) -> Result<Checked, StoreError> {
    let cursor = &batch.cursor;
    let mut checked = Checked::default();
    for item in tree.scan_prefix(key::logs(None)) {
        let (key, value) = item?;
        let log = key::log_of(&key).ok_or_else(|| damaged("the name of a log cannot be read".to_owned()))?;
        let state = LogState::from_value(&key, &value)?;
        check_log(tree, &log, &state)?;
        checked.logs += 1;
        checked.entries += state.size;
    }
    for item in tree.scan_prefix(key::all_rows()) {
        let (key, value) = item?;
        checked.messages += check_rows(&key, &value)?;
    }
    let mut pending = 0;
    for item in tree.scan_prefix(key::all_pending()) {
        let (key, value) = item?;
        sealed::open(&key, &value)?;
        pending += 1;
    }
    batch.runs().check(tree)?;
    checked.names = batch.runs().count();
    let counts = [
        ("volumes of logs", checked.logs, cursor.logs),
        ("entries", checked.entries, cursor.entries),
        ("messages", checked.messages, cursor.rows),
        ("entries that wait for a receipt", pending, cursor.pending),
    ];
    match counts.iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => Err(damaged(format!("{found} of {expected} {what} are there"))),
        None => Ok(checked),
    }
}

fn check_log(tree: &sled::Tree, log: &LogId, state: &LogState) -> Result<(), StoreError> {
    if tile::check(tree, log, state.size)? != state.root {
        return Err(damaged("the tiles of a log do not lead to its root".to_owned()));
    }
    for index in 0..state.size.div_ceil(LOCATIONS_PER_VALUE) {
        let value = sealed::get(tree, &key::locations(log, index))?;
        let width = (state.size - index * LOCATIONS_PER_VALUE).min(LOCATIONS_PER_VALUE);
        let last = value.and_then(|value| Location::in_value(&value, width - 1));
        last.ok_or_else(|| damaged("the places of a log's entries are missing".to_owned()))?;
    }
    let mut receipts = 0;
    for item in tree.scan_prefix(key::receipts(log)) {
        let (key, value) = item?;
        sealed::open(&key, &value)?;
        receipts += 1;
    }
    if receipts != state.receipts {
        return Err(damaged(format!("{receipts} of {} receipts of a log are there", state.receipts)));
    }
    Ok(())
}

/// Checks a value of rows and counts them.
fn check_rows(key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    let value = sealed::open(key, value)?;
    let (rows, rest) = value.as_chunks::<ROW_BYTES>();
    let mut last = None;
    for bytes in rows {
        let row = Row::decode(bytes)?;
        if last >= Some(row.record) {
            return Err(damaged("rows of messages are out of order".to_owned()));
        }
        last = Some(row.record);
    }
    match (rest, key::rows_at(key), rows.first()) {
        ([], Some((_, first)), Some(row)) if super::row::record_of(row) == first => Ok(rows.len() as u64),
        _ => Err(damaged("a value of rows of messages is not where it belongs".to_owned())),
    }
}

/// Compares what two stores hold, but for the order in which names were written.
fn compare(ours: &Inner, theirs: &Inner, faults: &mut Faults) -> Result<(), StoreError> {
    let (left, right) = (ours.tree()?, theirs.tree()?);
    if ours.batch.cursor != theirs.batch.cursor {
        faults.add("the cursor differs from the journal".to_owned());
    }
    let (left_logs, right_logs) = (logs(left)?, logs(right)?);
    for log in left_logs.keys().chain(right_logs.keys()).collect::<std::collections::BTreeSet<_>>() {
        match (left_logs.get(log), right_logs.get(log)) {
            (Some(a), Some(b)) if a == b => compare_log(left, right, log, a, faults)?,
            _ => faults.add(format!("the volume {} with {} differs from the journal", log.volume, log.peer)),
        }
    }
    let mut others = right.scan_prefix(key::all_rows());
    for item in left.scan_prefix(key::all_rows()) {
        let (key, value) = item?;
        let other = others.next().transpose()?;
        if other.as_ref().map(|(other, _)| other) != Some(&key) {
            faults.add("the rows of messages are others than the journal gives".to_owned());
            return Ok(());
        }
        let other = other.map(|(_, value)| value).unwrap_or_default();
        compare_rows(ours, left, &key, &value, &other, faults)?;
    }
    if others.next().is_some() {
        faults.add("rows of messages are missing".to_owned());
    }
    // As many as in the journal, because the cursors are equal.
    for (a, b) in left.scan_prefix(key::all_pending()).zip(right.scan_prefix(key::all_pending())) {
        if a? != b? {
            faults.add("what waits for a receipt differs from the journal".to_owned());
            break;
        }
    }
    Ok(())
}

fn logs(tree: &sled::Tree) -> Result<BTreeMap<LogId, LogState>, StoreError> {
    let mut logs = BTreeMap::new();
    for item in tree.scan_prefix(key::logs(None)) {
        let (key, value) = item?;
        if let Some(log) = key::log_of(&key) {
            logs.insert(log, LogState::from_value(&key, &value)?);
        }
    }
    Ok(logs)
}

/// The roots are equal, and the tiles of both lead to it: what is left are places and receipts.
fn compare_log(
    left: &sled::Tree,
    right: &sled::Tree,
    log: &LogId,
    state: &LogState,
    faults: &mut Faults,
) -> Result<(), StoreError> {
    for value in 0..state.size.div_ceil(LOCATIONS_PER_VALUE) {
        let key = key::locations(log, value);
        let (a, b) = (sealed::get(left, &key)?.unwrap_or_default(), sealed::get(right, &key)?.unwrap_or_default());
        let first = value * LOCATIONS_PER_VALUE;
        for index in first..state.size.min(first + LOCATIONS_PER_VALUE) {
            if Location::in_value(&a, index - first) != Location::in_value(&b, index - first) {
                faults.add(format!("entry {index} of volume {} with {} lies elsewhere", log.volume, log.peer));
            }
        }
    }
    let receipts = key::receipts(log);
    for (a, b) in left.scan_prefix(&receipts).zip(right.scan_prefix(&receipts)) {
        if a? != b? {
            faults.add(format!("a receipt of volume {} with {} differs", log.volume, log.peer));
        }
    }
    Ok(())
}

fn compare_rows(
    ours: &Inner,
    tree: &sled::Tree,
    key: &[u8],
    value: &[u8],
    other: &[u8],
    faults: &mut Faults,
) -> Result<(), StoreError> {
    let (a, b) = (sealed::open(key, value)?, sealed::open(key, other)?);
    let folder = key::rows_at(key).map(|(folder, _)| folder);
    for (a, b) in a.chunks(ROW_BYTES).zip(b.chunks(ROW_BYTES)) {
        if a != b {
            faults.add(format!("the row of the message in record {} differs", super::row::record_of(b)));
            continue;
        }
        let row = Row::decode(a)?;
        let Some(folder) = folder else { continue };
        if !is_found(ours, tree, folder, &row)? {
            let to = if folder.outgoing { "to" } else { "from" };
            faults.add(format!("the message {to} {} in record {} is not found by its names", folder.peer, row.record));
        }
    }
    if a.len() != b.len() {
        faults.add("a value of rows has another length".to_owned());
    }
    Ok(())
}

/// Whether a message is found under each of its names.
fn is_found(ours: &Inner, tree: &sled::Tree, folder: Folder, row: &Row) -> Result<bool, StoreError> {
    let names = [
        (Flag::Readable, Name::Id, &row.id),
        (Flag::HasCase, Name::Case, &row.case),
        (Flag::HasReply, Name::Answers, &row.in_reply_to),
    ];
    for (_, name, bytes) in names.iter().filter(|(flag, ..)| row.has(*flag)) {
        let found = ours.batch.runs().find(tree, key_of(*name, bytes))?;
        if !found.iter().any(|posting| posting.record == row.record && posting.folder == folder.bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}
