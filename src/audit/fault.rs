//! What an audit finds: faults with their place, remarks, and counts.

use std::fmt;

use crate::journal::{Damage, Position, Record as Raw};
use crate::name::{Hash, JournalId, NodeName};

/// How many faults are named; the rest is counted.
pub const MAX_FAULTS: usize = 10_000;

/// How many remarks are kept.
pub const MAX_REMARKS: usize = 1_000;

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Bytes of the journal cannot be read, or do not belong where they are.
    Journal,
    /// The journal does not begin as it must, or begins twice.
    Beginning,
    /// The indices of a log have a gap or go back.
    Index,
    /// An entry was appended that differs from its queued item, or has none.
    Item,
    /// A body does not open its commitment.
    Commitment,
    /// A body that should be there cannot be read.
    Body,
    /// A file cannot be read or is not the one that its message lists.
    Enclosure,
    /// A head's root is not the root of the entries.
    Root,
    /// A head has no line of a known key, or one that does not hold.
    AuthorLine,
    /// A receipt has no line of a known key, or one that does not hold.
    ReceiptLine,
    /// A receipt is for a size at which no head was signed.
    ReceiptSize,
    /// A receipt covers entries whose bodies are not here and that nobody withdrew.
    ReceiptStatement,
    /// A line of a head that was stored before says something else now.
    ChangedLine,
    /// Two heads of one volume that exclude each other, or one that shrinks.
    Contradiction,
    /// Entry 0 of a volume is none, or does not continue the volume before.
    Volume,
    /// An id was shown twice.
    DuplicateId,
    /// A seal does not open to this journal.
    Seal,
}

impl FaultKind {
    /// A stable word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Beginning => "beginning",
            Self::Index => "index",
            Self::Item => "item",
            Self::Commitment => "commitment",
            Self::Body => "body",
            Self::Enclosure => "enclosure",
            Self::Root => "root",
            Self::AuthorLine => "author-line",
            Self::ReceiptLine => "receipt-line",
            Self::ReceiptSize => "receipt-size",
            Self::ReceiptStatement => "receipt-statement",
            Self::ChangedLine => "changed-line",
            Self::Contradiction => "contradiction",
            Self::Volume => "volume",
            Self::DuplicateId => "duplicate-id",
            Self::Seal => "seal",
        }
    }
}

/// Something that does not hold, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub kind: FaultKind,
    /// The record in which it shows.
    pub record: u64,
    /// The name of the journal's file.
    pub file: String,
    /// The byte in that file at which the record begins.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// What is affected: a log and its entries, a message.
    pub affected: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} ({} at byte {}): {}", self.record, self.file, self.offset, self.what)?;
        if self.affected.is_empty() { Ok(()) } else { write!(f, "; affected: {}", self.affected) }
    }
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The node whose journal it is.
    pub node: Option<NodeName>,
    /// The journal.
    pub journal: Option<JournalId>,
    /// The root of the journal's tree over all its records; meaningless where records could not be read.
    pub journal_root: Option<Hash>,
    /// Groups read.
    pub groups: u64,
    /// Records read.
    pub records: u64,
    /// Records that this version does not understand; they are kept.
    pub unknown_records: u64,
    /// Entries in all logs.
    pub entries: u64,
    /// Heads whose author's lines were checked.
    pub heads: u64,
    /// Receipts whose lines were checked.
    pub receipts: u64,
    /// Bodies opened and checked against their commitment.
    pub bodies: u64,
    /// Bodies that are present and were not opened, because no keys were given.
    pub bodies_not_opened: u64,
    /// Bodies that were erased.
    pub bodies_erased: u64,
    /// Bodies that were never here: withdrawn, or not available in a refill.
    pub bodies_absent: u64,
    /// Files whose hash was checked.
    pub enclosures: u64,
    /// Seals that open to this journal.
    pub seals: u64,
    /// What does not hold, in the order of the journal, at most [`MAX_FAULTS`].
    pub faults: Vec<Fault>,
    /// Faults beyond those.
    pub more_faults: u64,
    /// What is worth knowing and no fault.
    pub remarks: Vec<String>,
}

impl VerifyReport {
    /// Whether everything holds.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn fault(&mut self, kind: FaultKind, at: At, what: impl Into<String>, affected: impl Into<String>) {
        if self.faults.len() >= MAX_FAULTS {
            self.more_faults += 1;
            return;
        }
        let file = file_name(at.position);
        let (record, offset) = (at.record, at.position.offset);
        self.faults.push(Fault { kind, record, file, offset, what: what.into(), affected: affected.into() });
    }

    pub(super) fn damage(&mut self, damage: &Damage) {
        if self.faults.len() >= MAX_FAULTS {
            self.more_faults += 1;
            return;
        }
        let affected = match damage.next_record {
            Some(next) if next <= damage.first_record => String::new(),
            Some(next) if next == damage.first_record + 1 => format!("record {}", damage.first_record),
            Some(next) => format!("records {} to {}", damage.first_record, next - 1),
            None => format!("all records from {} on", damage.first_record),
        };
        let file = damage.file.file_name().unwrap_or(damage.file.as_os_str()).to_string_lossy().into_owned();
        self.faults.push(Fault {
            kind: FaultKind::Journal,
            record: damage.first_record,
            file,
            offset: damage.offset,
            what: format!("{} ({} bytes)", damage.fault, damage.length),
            affected,
        });
    }

    pub(super) fn remark(&mut self, remark: impl Into<String>) {
        if self.remarks.len() < MAX_REMARKS {
            self.remarks.push(remark.into());
        }
    }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub record: u64,
    pub position: Position,
}

impl At {
    pub(super) fn of(raw: &Raw) -> Self {
        Self { record: raw.number, position: raw.position }
    }
}

/// The name of the file in which a position lies.
pub(super) fn file_name(position: Position) -> String {
    let shown = position.to_string();
    shown.split_once(':').map_or(shown.clone(), |(file, _)| file.to_owned())
}
