//! The row of one message: everything that lists need without opening a body, in a fixed number of bytes so that one row
//! of many can be changed in place.

use crate::name::{CaseId, Desk, EntryId, Millis, NodeName, Pap, Precedence, Tlp, Volume};
use crate::wire::Header;

use super::StoreError;
use super::key::{Folder, LogId};

/// Bytes of a row, its checksum included.
pub(super) const ROW_BYTES: usize = 176;

/// Rows in one value of sled: 11 KiB, so that changing one row stays cheap.
pub(super) const ROWS_PER_VALUE: usize = 64;

/// No record.
const NONE: u64 = u64::MAX;

const CHECKED: usize = ROW_BYTES - 4;

/// What is true or not of a message. The numbers are those of the stored bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Flag {
    /// The header could be read.
    Readable = 1,
    Exercise = 1 << 1,
    Repeat = 1 << 2,
    Held = 1 << 3,
    Acknowledged = 1 << 4,
    Answered = 1 << 5,
    Declined = 1 << 6,
    Refused = 1 << 7,
    Expired = 1 << 8,
    Cancelled = 1 << 9,
    Withdrawn = 1 << 10,
    Read = 1 << 11,
    HasCase = 1 << 12,
    HasReply = 1 << 13,
    /// Some of the files are not taken; `refused` has the code, unless the text is refused, too.
    FilesRefused = 1 << 14,
}

/// A row as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub record: u64,
    pub flags: u32,
    pub kind: u32,
    pub id: [u8; 16],
    pub case: [u8; 16],
    pub in_reply_to: [u8; 16],
    pub time: u64,
    pub recorded: u64,
    pub expires: u64,
    /// Number 0: in no log yet.
    pub volume: Volume,
    pub index: u64,
    pub placed: u64,
    pub acknowledged_time: u64,
    pub acknowledged_record: u64,
    pub enclosures_held: u64,
    pub enclosures_ended: u64,
    pub body_len: u32,
    pub refused: u32,
    pub codes: [u8; 5],
    pub enclosures: u8,
}

impl Row {
    /// The row of an item or entry that was just recorded; it stands in no log yet.
    pub(super) fn new(record: u64, recorded: Millis, header: Option<&Header>, body_len: usize, files: u32) -> Self {
        let mut row = Self {
            record,
            flags: 0,
            kind: 0,
            id: [0; 16],
            case: [0; 16],
            in_reply_to: [0; 16],
            time: recorded.0,
            recorded: recorded.0,
            expires: 0,
            volume: Volume { number: 0, random: [0; 8] },
            index: 0,
            placed: NONE,
            acknowledged_time: 0,
            acknowledged_record: NONE,
            enclosures_held: 0,
            enclosures_ended: 0,
            body_len: u32::try_from(body_len).unwrap_or(u32::MAX),
            refused: 0,
            codes: [0; 5],
            enclosures: u8::try_from(files).unwrap_or(u8::MAX),
        };
        if let Some(header) = header {
            row.take(header);
        }
        row
    }

    fn take(&mut self, header: &Header) {
        self.set(Flag::Readable, true);
        self.set(Flag::Exercise, header.exercise);
        self.set(Flag::HasCase, header.case.is_some());
        self.set(Flag::HasReply, header.in_reply_to.is_some());
        self.kind = header.kind;
        self.id = header.id.0;
        self.case = header.case.unwrap_or_default().0;
        self.in_reply_to = header.in_reply_to.unwrap_or_default().0;
        self.time = header.time.0;
        self.expires = header.expires.map_or(0, |time| time.0);
        let desk = |desk: Option<Desk>| desk.map_or(0, Desk::number);
        let codes = [
            header.precedence.number(),
            header.tlp.number(),
            header.pap.number(),
            desk(header.from_desk),
            desk(header.to_desk),
        ];
        self.codes = codes.map(|code| code as u8);
    }

    pub(super) fn has(&self, flag: Flag) -> bool {
        self.flags & flag as u32 != 0
    }

    pub(super) fn set(&mut self, flag: Flag, on: bool) {
        if on {
            self.flags |= flag as u32;
        } else {
            self.flags &= !(flag as u32);
        }
    }

    /// Notes where the message stands in a log, and the time that its leaf fixed.
    pub(super) fn place(&mut self, volume: Volume, index: u64, placed: u64, time: Option<Millis>) {
        self.volume = volume;
        self.index = index;
        self.placed = placed;
        if let Some(time) = time {
            self.time = time.0;
        }
    }

    pub(super) fn is_placed(&self) -> bool {
        self.volume.number != 0
    }

    pub(super) fn log(&self, folder: Folder) -> LogId {
        LogId { peer: folder.peer, own: folder.outgoing, volume: self.volume }
    }

    /// Writes the row with its checksum.
    pub(super) fn encode(&self) -> [u8; ROW_BYTES] {
        let mut out = [0; ROW_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&self.record.to_be_bytes());
        put(&self.flags.to_be_bytes());
        put(&self.kind.to_be_bytes());
        for bytes in [&self.id, &self.case, &self.in_reply_to] {
            put(bytes);
        }
        for number in [self.time, self.recorded, self.expires] {
            put(&number.to_be_bytes());
        }
        put(&self.volume.number.to_be_bytes());
        put(&self.volume.random);
        for number in [
            self.index,
            self.placed,
            self.acknowledged_time,
            self.acknowledged_record,
            self.enclosures_held,
            self.enclosures_ended,
        ] {
            put(&number.to_be_bytes());
        }
        put(&self.body_len.to_be_bytes());
        put(&self.refused.to_be_bytes());
        put(&self.codes);
        put(&[self.enclosures]);
        let check = crc32c::crc32c(&out[..CHECKED]);
        out[CHECKED..].copy_from_slice(&check.to_be_bytes());
        out
    }

    /// Reads a row.
    ///
    /// # Errors
    /// A row that does not match its checksum.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = || StoreError::Damaged("a message's row does not match its checksum".to_owned());
        let bytes: &[u8; ROW_BYTES] = bytes.try_into().map_err(|_| damaged())?;
        if crc32c::crc32c(&bytes[..CHECKED]).to_be_bytes() != bytes[CHECKED..] {
            return Err(damaged());
        }
        let mut rest = Fields(bytes);
        Ok(Self {
            record: rest.u64(),
            flags: rest.u32(),
            kind: rest.u32(),
            id: rest.take(),
            case: rest.take(),
            in_reply_to: rest.take(),
            time: rest.u64(),
            recorded: rest.u64(),
            expires: rest.u64(),
            volume: Volume { number: rest.u32(), random: rest.take() },
            index: rest.u64(),
            placed: rest.u64(),
            acknowledged_time: rest.u64(),
            acknowledged_record: rest.u64(),
            enclosures_held: rest.u64(),
            enclosures_ended: rest.u64(),
            body_len: rest.u32(),
            refused: rest.u32(),
            codes: rest.take(),
            enclosures: rest.take::<1>()[0],
        })
    }
}

/// The record number of an encoded row, without a look at its checksum: to find one among many.
pub(super) fn record_of(row: &[u8]) -> u64 {
    Fields(row).u64()
}

/// Takes fields of fixed length from the front; past the end they read as zeros.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => [0; N],
        }
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }
}

/// When a peer's machine, or this one, signed that an entry is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipted {
    /// The receipt's time by the holder's clock, in seconds since 1970; `None` where no line of it states one.
    pub time_seconds: Option<u64>,
    /// The size that the receipt covers.
    pub size: u64,
    /// The record with the receipt.
    pub record: u64,
}

/// When a message was acknowledged. It does not mean agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The acknowledgement's time by its author's clock.
    pub time: Millis,
    /// The record of the acknowledgement: Queued for one's own, Stored for a peer's.
    pub record: u64,
}

/// Where an entry stands in a log and in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The volume.
    pub log: LogId,
    /// The index in it.
    pub index: u64,
    /// The record that put it there: Appended, Stored, Fetched.
    pub record: u64,
}

/// How far a message has come. Receipt, acknowledgement and answer are three different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words are those of the local interface, which documents each")]
pub enum Stage {
    Queued,
    Sent,
    Delivered,
    Held,
    Acknowledged,
    Answered,
    Declined,
    Refused,
    Expired,
    Cancelled,
    Withdrawn,
    Received,
}

/// A message as lists need it. Its subject and text lie in the body, which the journal has at `record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The record that holds the payload: Queued for one's own, Stored or Fetched otherwise.
    pub record: u64,
    /// The other State's node.
    pub peer: NodeName,
    /// Sent or to be sent from here (true), or received.
    pub outgoing: bool,
    /// Its id; `None` where its header cannot be read.
    pub id: Option<EntryId>,
    /// The number of its kind.
    pub kind: u32,
    /// The author's time: of queueing, then of the append.
    pub time: Millis,
    /// When this node queued or stored it.
    pub recorded: Millis,
    /// The case.
    pub case: Option<CaseId>,
    /// The entry that it answers.
    pub in_reply_to: Option<EntryId>,
    /// How fast to handle it.
    pub precedence: Precedence,
    /// The handling label.
    pub tlp: Tlp,
    /// The permissible actions.
    pub pap: Pap,
    /// Drill traffic.
    pub exercise: bool,
    /// The desk that wrote.
    pub from_desk: Option<Desk>,
    /// The desk written to.
    pub to_desk: Option<Desk>,
    /// When it leaves the queue unsent.
    pub expires: Option<Millis>,
    /// Bytes of the body.
    pub body_len: u32,
    /// How many files.
    pub enclosures: u32,
    /// One bit per ordinal: the file is durably here (received messages).
    pub enclosures_held: u64,
    /// One bit per ordinal: the file will not come (received messages).
    pub enclosures_ended: u64,
    /// Where it stands in a log; `None` while it waits.
    pub place: Option<Placed>,
    /// The receipt that covers it.
    pub receipt: Option<Receipted>,
    /// The acknowledgement.
    pub acknowledged: Option<Acknowledged>,
    /// The code with which it was not accepted.
    pub refused: Option<u32>,
    /// The code with which some of the files are not taken; the text is not touched by it.
    pub files_refused: Option<u32>,
    /// The holder has all files.
    pub held: bool,
    /// An answer in substance came, or was given.
    pub answered: bool,
    /// Declined.
    pub declined: bool,
    /// Left the queue unsent: its time had passed.
    pub expired: bool,
    /// Left the queue unsent: cancelled by a person.
    pub cancelled: bool,
    /// Withdrawn by its author; it may have been read.
    pub withdrawn: bool,
    /// Received before under the same id.
    pub repeat: bool,
    /// An officer opened it here.
    pub read: bool,
}

impl Message {
    pub(super) fn new(folder: Folder, row: &Row, receipt: Option<Receipted>) -> Self {
        let readable = row.has(Flag::Readable);
        let [precedence, tlp, pap, from_desk, to_desk] = row.codes.map(u32::from);
        let place = Placed { log: row.log(folder), index: row.index, record: row.placed };
        let acknowledged = Acknowledged { time: Millis(row.acknowledged_time), record: row.acknowledged_record };
        Self {
            record: row.record,
            peer: folder.peer,
            outgoing: folder.outgoing,
            id: readable.then_some(EntryId(row.id)),
            kind: row.kind,
            time: Millis(row.time),
            recorded: Millis(row.recorded),
            case: row.has(Flag::HasCase).then_some(CaseId(row.case)),
            in_reply_to: row.has(Flag::HasReply).then_some(EntryId(row.in_reply_to)),
            precedence: Precedence::from_number(precedence).unwrap_or(Precedence::Routine),
            tlp: if readable { Tlp::from_number(tlp).unwrap_or(Tlp::Red) } else { Tlp::Red },
            pap: if readable { Pap::from_number(pap).unwrap_or(Pap::Red) } else { Pap::Red },
            exercise: row.has(Flag::Exercise),
            from_desk: Desk::from_number(from_desk),
            to_desk: Desk::from_number(to_desk),
            expires: (row.expires != 0).then_some(Millis(row.expires)),
            body_len: row.body_len,
            enclosures: row.enclosures.into(),
            enclosures_held: row.enclosures_held,
            enclosures_ended: row.enclosures_ended,
            place: row.is_placed().then_some(place),
            receipt,
            acknowledged: row.has(Flag::Acknowledged).then_some(acknowledged),
            refused: row.has(Flag::Refused).then_some(row.refused),
            files_refused: (row.has(Flag::FilesRefused) && !row.has(Flag::Refused)).then_some(row.refused),
            held: row.has(Flag::Held),
            answered: row.has(Flag::Answered),
            declined: row.has(Flag::Declined),
            expired: row.has(Flag::Expired),
            cancelled: row.has(Flag::Cancelled),
            withdrawn: row.has(Flag::Withdrawn),
            repeat: row.has(Flag::Repeat),
            read: row.has(Flag::Read),
        }
    }

    /// The one word for how far it has come: the farthest that is known.
    pub fn stage(&self) -> Stage {
        let stages = [
            (self.expired, Stage::Expired),
            (self.cancelled, Stage::Cancelled),
            (self.refused.is_some(), Stage::Refused),
            (self.withdrawn, Stage::Withdrawn),
            (self.declined, Stage::Declined),
            (self.answered, Stage::Answered),
            (self.acknowledged.is_some(), Stage::Acknowledged),
            (!self.outgoing, Stage::Received),
            (self.held, Stage::Held),
            (self.receipt.is_some(), Stage::Delivered),
            (self.place.is_some(), Stage::Sent),
        ];
        stages.iter().find(|(holds, _)| *holds).map_or(Stage::Queued, |(_, stage)| *stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let header = Header {
            id: EntryId([1; 16]),
            kind: 1,
            time: Millis(5),
            case: Some(CaseId([2; 16])),
            in_reply_to: None,
            precedence: Precedence::Flash,
            tlp: Tlp::Clear,
            pap: Pap::Green,
            exercise: true,
            from_desk: Some(Desk::Diplomatic),
            to_desk: None,
            expires: Some(Millis(9)),
            seen_volume: 0,
            seen: 0,
            target: None,
            code: 0,
        };
        let mut row = Row::new(7, Millis(6), Some(&header), 1024, 2);
        row.place("3.5f0c9a3e7b2d4410".parse().unwrap(), 11, 8, Some(Millis(10)));
        row.enclosures_held = 3;
        row.enclosures_ended = u64::MAX;
        row.refused = 12;
        row
    }

    #[test]
    fn a_row_reads_back_and_no_flipped_bit_goes_unnoticed() {
        let row = row();
        let bytes = row.encode();
        assert_eq!(Row::decode(&bytes).unwrap(), row);
        assert_eq!(record_of(&bytes), 7);
        for at in 0..ROW_BYTES {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert!(Row::decode(&changed).is_err(), "{at}");
        }
        assert!(Row::decode(&bytes[1..]).is_err());
    }

    #[test]
    fn the_stage_is_the_farthest_that_is_known() {
        let folder = Folder { peer: "XB".parse().unwrap(), outgoing: true };
        let mut row = row();
        let receipt = Receipted { time_seconds: Some(1), size: 12, record: 9 };
        assert_eq!(Message::new(folder, &row, None).stage(), Stage::Sent);
        assert_eq!(Message::new(folder, &row, Some(receipt)).stage(), Stage::Delivered);
        row.set(Flag::Held, true);
        assert_eq!(Message::new(folder, &row, Some(receipt)).stage(), Stage::Held);
        row.set(Flag::Acknowledged, true);
        assert_eq!(Message::new(folder, &row, Some(receipt)).stage(), Stage::Acknowledged);
        row.set(Flag::Acknowledged, false);
        assert_eq!(Message::new(Folder { outgoing: false, ..folder }, &row, None).stage(), Stage::Received);
    }

    #[test]
    fn a_message_whose_header_cannot_be_read_is_handled_as_red() {
        let row = Row::new(7, Millis(6), None, 10, 0);
        let message = Message::new(Folder { peer: "XB".parse().unwrap(), outgoing: false }, &row, None);
        assert_eq!((message.id, message.tlp, message.pap), (None, Tlp::Red, Pap::Red));
    }
}
