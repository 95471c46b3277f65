//! What lists show: messages of people from their rows, entries of every kind from their places and the journal.

use std::collections::BTreeMap;

use crate::exchange::{Act, Record};
use crate::journal::Reader;
use crate::name::{CaseId, EntryId, Kind, Millis, NodeName};
use crate::wire::Leaf;

use super::key::{self, Folder, LogId};
use super::log::{LogState, receipt_of};
use super::posting::{Name, Posting, key_of};
use super::row::{Flag, Message, ROW_BYTES, Row, record_of};
use super::{Inner, Store, StoreError, sealed};

/// The most rows that one list has; also what a limit of 0 means.
pub const MAX_LISTED: usize = 1_000;

/// The most entries that one list of entries looks at in the journal.
pub const MAX_SCANNED_ENTRIES: u64 = 200_000;

/// Which messages are wanted; newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only with this peer.
    pub peer: Option<NodeName>,
    /// Only of this case.
    pub case: Option<CaseId>,
    /// Only of the kind with this number.
    pub kind: Option<u32>,
    /// Not recorded before.
    pub from: Option<Millis>,
    /// Recorded before.
    pub to: Option<Millis>,
    /// At most this many (0: [`MAX_LISTED`]).
    pub limit: usize,
    /// Only what nobody acknowledged, refused or withdrew yet.
    pub unacknowledged: bool,
    /// Without acknowledgements, which are messages of their own.
    pub without_acknowledgements: bool,
    /// Only messages of records before this one: the next page.
    pub before_record: Option<u64>,
}

/// Which entries are wanted; newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// Only with this peer.
    pub peer: Option<NodeName>,
    /// Only of this case.
    pub case: Option<CaseId>,
    /// Only of the kind with this number.
    pub kind: Option<u32>,
    /// Not before, by the author's clock.
    pub from: Option<Millis>,
    /// Before, by the author's clock.
    pub to: Option<Millis>,
    /// At most this many (0: [`MAX_LISTED`]).
    pub limit: usize,
    /// Also entries of machine kinds.
    pub machine: bool,
    /// Only entries of records before this one: the next page.
    pub before_record: Option<u64>,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// The volume.
    pub log: LogId,
    /// The index in it.
    pub index: u64,
    /// Its id; `None` where its header, or its record, cannot be read.
    pub id: Option<EntryId>,
    /// The number of its kind; 0 where it cannot be read.
    pub kind: u32,
    /// The author's time.
    pub time: Millis,
    /// The case.
    pub case: Option<CaseId>,
    /// Bytes of the body.
    pub body_len: u64,
    /// Whether a receipt covers it.
    pub receipted: bool,
    /// Its record in the journal.
    pub record: u64,
}

/// Entries, and whether the search came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryRows {
    /// The entries, newest first.
    pub rows: Vec<EntryRow>,
    /// Where to go on, if the limit or [`MAX_SCANNED_ENTRIES`] ended the search.
    pub before_record: Option<u64>,
}

fn limit_of(limit: usize) -> usize {
    if limit == 0 { MAX_LISTED } else { limit.min(MAX_LISTED) }
}

fn in_span(time: Millis, from: Option<Millis>, to: Option<Millis>) -> bool {
    from.is_none_or(|from| time >= from) && to.is_none_or(|to| time < to)
}

impl MessageFilter {
    fn takes(&self, row: &Row) -> bool {
        let done = [Flag::Acknowledged, Flag::Refused, Flag::Withdrawn].iter().any(|flag| row.has(*flag));
        let is_acknowledgement = row.kind == Kind::Acknowledgement.number();
        self.before_record.is_none_or(|before| row.record < before)
            && self.kind.is_none_or(|kind| row.kind == kind)
            && self.case.is_none_or(|case| row.has(Flag::HasCase) && row.case == case.0)
            && in_span(Millis(row.recorded), self.from, self.to)
            && !(self.unacknowledged && (done || is_acknowledgement))
            && !(self.without_acknowledgements && is_acknowledgement)
    }
}

impl Store {
    /// Messages received, newest first; only those that a receipt of this node covers.
    ///
    /// # Errors
    /// Damage.
    pub fn inbox(&self, filter: &MessageFilter) -> Result<Vec<Message>, StoreError> {
        self.query(|inner, tree| list(inner, tree, false, filter))
    }

    /// Messages sent or waiting, newest first.
    ///
    /// # Errors
    /// Damage.
    pub fn outbox(&self, filter: &MessageFilter) -> Result<Vec<Message>, StoreError> {
        self.query(|inner, tree| list(inner, tree, true, filter))
    }

    /// How many messages were received that nobody acknowledged, refused or withdrew yet; counts up to `limit`.
    ///
    /// # Errors
    /// Damage.
    pub fn unacknowledged(&self, limit: usize) -> Result<usize, StoreError> {
        let filter = MessageFilter { unacknowledged: true, ..MessageFilter::default() };
        self.query(|_, tree| {
            let mut shelf = Shelf::new(tree);
            let mut count = 0;
            for_each_newest(tree, false, &filter, |folder, row| {
                count += usize::from(shelf.message(folder, &row)?.is_some());
                Ok(count < limit)
            })?;
            Ok(count)
        })
    }

    /// The message with an id, sent or received: the first one, where the id was used again.
    ///
    /// # Errors
    /// Damage.
    pub fn message(&self, id: &EntryId) -> Result<Option<Message>, StoreError> {
        self.query(|inner, tree| Ok(named(inner, tree, Name::Id, &id.0)?.into_iter().next()))
    }

    /// The messages that answer or acknowledge an entry, oldest first.
    ///
    /// # Errors
    /// Damage.
    pub fn replies(&self, id: &EntryId) -> Result<Vec<Message>, StoreError> {
        self.query(|inner, tree| named(inner, tree, Name::Answers, &id.0))
    }

    /// All messages of a case, sent and received, oldest first.
    ///
    /// # Errors
    /// Damage.
    pub fn case(&self, case: &CaseId) -> Result<Vec<Message>, StoreError> {
        self.query(|inner, tree| named(inner, tree, Name::Case, &case.0))
    }

    /// Entries of every kind, newest first; their headers are read from the journal.
    ///
    /// # Errors
    /// Damage of the store. An entry whose record cannot be read is listed without id.
    pub fn log_rows(&self, filter: &EntryFilter, journal: &Reader) -> Result<EntryRows, StoreError> {
        self.query(|_, tree| entries(tree, filter, journal))
    }
}

/// What is read once for all rows of a list.
struct Shelf<'a> {
    tree: &'a sled::Tree,
    logs: BTreeMap<LogId, LogState>,
}

impl<'a> Shelf<'a> {
    fn new(tree: &'a sled::Tree) -> Self {
        Self { tree, logs: BTreeMap::new() }
    }

    fn receipted(&mut self, log: &LogId) -> Result<u64, StoreError> {
        if let Some(state) = self.logs.get(log) {
            return Ok(state.receipted);
        }
        let state = LogState::load(self.tree, log)?.unwrap_or_default();
        self.logs.insert(*log, state);
        Ok(state.receipted)
    }

    /// The message of a row; `None` for a received one that this node has not receipted yet (D8).
    fn message(&mut self, folder: Folder, row: &Row) -> Result<Option<Message>, StoreError> {
        let log = row.log(folder);
        let covered = row.is_placed() && self.receipted(&log)? > row.index;
        if !covered && !folder.outgoing {
            return Ok(None);
        }
        let receipt = if covered { receipt_of(self.tree, &log, row.index)? } else { None };
        Ok(Some(Message::new(folder, row, receipt)))
    }
}

fn list(inner: &Inner, tree: &sled::Tree, outgoing: bool, filter: &MessageFilter) -> Result<Vec<Message>, StoreError> {
    let limit = limit_of(filter.limit);
    let mut shelf = Shelf::new(tree);
    let mut found = Vec::new();
    let mut take = |folder, row: Row| {
        found.extend(shelf.message(folder, &row)?);
        Ok(found.len() < limit)
    };
    match filter.case {
        None => for_each_newest(tree, outgoing, filter, take)?,
        Some(case) => {
            let rows = rows_named(inner, tree, Name::Case, &case.0)?;
            let wanted = |(folder, row): &(Folder, Row)| {
                folder.outgoing == outgoing && filter.peer.is_none_or(|peer| folder.peer == peer) && filter.takes(row)
            };
            for (folder, row) in rows.into_iter().rev().filter(wanted) {
                if !take(folder, row)? {
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// The values of one folder from the newest on, row by row.
struct Newest {
    folder: Folder,
    values: std::iter::Rev<sled::Iter>,
    rows: Vec<Row>,
}

impl Newest {
    /// The next row that the filter takes, left in place.
    fn peek(&mut self, filter: &MessageFilter) -> Result<Option<u64>, StoreError> {
        loop {
            while let Some(row) = self.rows.last() {
                if filter.takes(row) {
                    return Ok(Some(row.record));
                }
                self.rows.pop();
            }
            let Some(item) = self.values.next() else { return Ok(None) };
            let (key, value) = item?;
            let rows = sealed::open(&key, &value)?.chunks(ROW_BYTES).map(Row::decode);
            self.rows = rows.collect::<Result<_, _>>()?;
        }
    }
}

/// Walks the rows of all folders of one direction from the newest on, until `take` says false.
fn for_each_newest(
    tree: &sled::Tree,
    outgoing: bool,
    filter: &MessageFilter,
    mut take: impl FnMut(Folder, Row) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut heap = std::collections::BinaryHeap::new();
    let mut open = Vec::new();
    for folder in folders(tree, outgoing, filter.peer)? {
        let before = filter.before_record.unwrap_or(u64::MAX);
        let values = tree.range(key::rows(folder, 0)..=key::rows(folder, before)).rev();
        let mut newest = Newest { folder, values, rows: Vec::new() };
        if let Some(record) = newest.peek(filter)? {
            heap.push((record, open.len()));
            open.push(newest);
        }
    }
    while let Some((_, at)) = heap.pop() {
        let newest: &mut Newest = &mut open[at];
        let Some(row) = newest.rows.pop() else { continue };
        if !take(newest.folder, row)? {
            break;
        }
        if let Some(record) = newest.peek(filter)? {
            heap.push((record, at));
        }
    }
    Ok(())
}

/// The folders of one direction that have rows.
fn folders(tree: &sled::Tree, outgoing: bool, peer: Option<NodeName>) -> Result<Vec<Folder>, StoreError> {
    if let Some(peer) = peer {
        return Ok(vec![Folder { peer, outgoing }]);
    }
    let mut found = Vec::new();
    let mut from = key::all_rows();
    let end = key::all_rows().iter().map(|family| family + 1).collect::<Vec<u8>>();
    while let Some(item) = tree.range(from.clone()..end.clone()).next() {
        let (key, _) = item?;
        let Some((folder, _)) = key::rows_at(&key) else { break };
        if folder.outgoing == outgoing {
            found.push(folder);
        }
        // Behind everything that this folder can have.
        from = key::rows(folder, u64::MAX);
        from.push(0);
    }
    Ok(found)
}

fn rows_named(
    inner: &Inner,
    tree: &sled::Tree,
    name: Name,
    bytes: &[u8; 16],
) -> Result<Vec<(Folder, Row)>, StoreError> {
    let mut found: Vec<Posting> = inner.batch.runs().find(tree, key_of(name, bytes))?;
    found.sort_unstable_by_key(|posting| posting.record);
    let mut rows = Vec::new();
    for posting in found {
        let Some(folder) = Folder::from_bytes(&posting.folder) else { continue };
        let row = row(tree, folder, posting.record)?;
        let same = match name {
            Name::Id => row.id == *bytes,
            Name::Case => row.case == *bytes,
            Name::Answers => row.in_reply_to == *bytes,
        };
        if same {
            rows.push((folder, row));
        }
    }
    Ok(rows)
}

fn named(inner: &Inner, tree: &sled::Tree, name: Name, bytes: &[u8; 16]) -> Result<Vec<Message>, StoreError> {
    let mut shelf = Shelf::new(tree);
    let rows = rows_named(inner, tree, name, bytes)?;
    let messages = rows.iter().map(|(folder, row)| shelf.message(*folder, row));
    messages.filter_map(Result::transpose).take(MAX_LISTED).collect()
}

/// The row of a record that is known to have one.
fn row(tree: &sled::Tree, folder: Folder, record: u64) -> Result<Row, StoreError> {
    let missing = || StoreError::Damaged(format!("the row of the message in record {record} is missing"));
    let (key, value) =
        tree.range(key::rows(folder, 0)..=key::rows(folder, record)).next_back().transpose()?.ok_or_else(missing)?;
    let rows = sealed::open(&key, &value)?;
    let at = super::batch::find(rows, record).ok_or_else(missing)?;
    debug_assert_eq!(record_of(&rows[at..]), record);
    Row::decode(&rows[at..at + ROW_BYTES])
}

fn entries(tree: &sled::Tree, filter: &EntryFilter, journal: &Reader) -> Result<EntryRows, StoreError> {
    let mut heap = std::collections::BinaryHeap::new();
    let mut states = BTreeMap::new();
    for item in tree.scan_prefix(key::logs(filter.peer)) {
        let (key, value) = item?;
        let Some(log) = key::log_of(&key) else { continue };
        let state = LogState::from_value(&key, &value)?;
        states.insert(log, state);
        push_newest(tree, &mut heap, log, state.size, filter.before_record)?;
    }
    let limit = limit_of(filter.limit);
    let mut found = EntryRows::default();
    let mut scanned = 0;
    while let Some((record, log, index)) = heap.pop() {
        if found.rows.len() >= limit || scanned >= MAX_SCANNED_ENTRIES {
            found.before_record = Some(record + 1);
            break;
        }
        scanned += 1;
        let receipted = states.get(&log).is_some_and(|state: &LogState| index < state.receipted);
        let row = entry(journal, log, index, record, receipted);
        if filter.takes(&row) {
            found.rows.push(row);
        }
        push_newest(tree, &mut heap, log, index, filter.before_record)?;
    }
    Ok(found)
}

/// Puts the newest entry below `index` on the heap, by its record.
fn push_newest(
    tree: &sled::Tree,
    heap: &mut std::collections::BinaryHeap<(u64, LogId, u64)>,
    log: LogId,
    index: u64,
    before: Option<u64>,
) -> Result<(), StoreError> {
    let before = before.unwrap_or(u64::MAX);
    for index in (0..index).rev() {
        if let Some(location) = super::proof::location(tree, &log, index)?.filter(|location| location.record < before) {
            heap.push((location.record, log, index));
            break;
        }
    }
    Ok(())
}

impl EntryFilter {
    fn takes(&self, row: &EntryRow) -> bool {
        let is_machine = row.kind >= crate::name::FIRST_MACHINE_KIND;
        self.kind.map_or(self.machine || !is_machine, |kind| row.kind == kind)
            && self.case.is_none_or(|case| row.case == Some(case))
            && in_span(row.time, self.from, self.to)
    }
}

fn entry(journal: &Reader, log: LogId, index: u64, record: u64, receipted: bool) -> EntryRow {
    let leaf = journal.read(record).ok().and_then(|record| leaf_of(Record::decode(&record.bytes)));
    let header = leaf.as_ref().and_then(|leaf| leaf.header().ok());
    EntryRow {
        log,
        index,
        id: header.as_ref().map(|header| header.id),
        kind: header.as_ref().map_or(0, |header| header.kind),
        time: header.as_ref().map_or(Millis(0), |header| header.time),
        case: header.as_ref().and_then(|header| header.case),
        body_len: leaf.map_or(0, |leaf| leaf.body_len() as u64),
        receipted,
        record,
    }
}

fn leaf_of(record: Record) -> Option<Leaf> {
    match record.act {
        Act::VolumeOpened { leaf, .. }
        | Act::Appended { leaf, .. }
        | Act::Stored { leaf, .. }
        | Act::Fetched { leaf, .. } => Some(leaf),
        _ => None,
    }
}
