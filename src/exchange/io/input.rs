//! What happened: connections, frames, the disk, people.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Command, Token};
use crate::exchange::record::Record;
use crate::merkle::{CompactRange, Growth};
use crate::name::{BootNonce, EntryId, Hash, NodeName, Origin, RefusalCode};
use crate::wire::{Contradiction, EntryFrame, FaultCode, Hello, LogState, NotNowReason};

/// Names a connection; the shell never uses a number twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Which side dialled a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialler {
    /// This node.
    Us,
    /// The peer.
    Them,
}

/// A State's own rules that the core needs. Changed by reload through [`Input::Settings`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Unreceipted bytes taken from one peer at once; announced in HELLO.
    pub window: u64,
    /// Largest enclosure taken, in bytes; announced in HELLO.
    pub enclosure_max: u64,
    /// Largest sum of the enclosures of one message, in bytes; announced in HELLO.
    pub enclosures_total_max: u64,
    /// Longest pause between two attempts to dial a peer.
    pub backoff_max: Duration,
    /// Whether exercise and real States may speak to each other.
    pub mix_exercise: bool,
    /// Pings taken from one peer per UTC day, beyond which they are refused by rule.
    pub pings_per_day: u32,
    /// Bytes that one peer may have stored here per UTC day, entries and files together.
    pub bytes_per_day: u64,
    /// The same for peers for whom another number was set.
    pub bytes_per_day_of: BTreeMap<NodeName, u64>,
    /// A connection on which a push has had no answer for this long is closed and dialled anew.
    pub stall: Duration,
    /// SHA-256 of this node's certificates (TLS and signing); announced in HELLO.
    pub certificate_digests: Vec<Hash>,
    /// Number of the newest CRL of this State, 0 for none; announced in HELLO.
    pub crl_number: u64,
}

impl Settings {
    /// Bytes that this peer may have stored here per UTC day.
    pub fn quota_of(&self, peer: NodeName) -> u64 {
        self.bytes_per_day_of.get(&peer).copied().unwrap_or(self.bytes_per_day)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: 8 << 20,
            enclosure_max: 64 << 20,
            enclosures_total_max: 256 << 20,
            backoff_max: Duration::from_secs(180),
            mix_exercise: false,
            pings_per_day: 1_440,
            bytes_per_day: 4 << 30,
            bytes_per_day_of: BTreeMap::new(),
            stall: Duration::from_secs(120),
            certificate_digests: Vec::new(),
            crl_number: 0,
        }
    }
}

/// Entries and the head over them, as read from a push or fetch stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The entries in the order of their indices; may be empty (a head of the same size with further lines).
    pub entries: Vec<EntryFrame>,
    /// The checkpoint's bytes.
    pub note: Bytes,
}

/// Why a fetch brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFault {
    /// The stream or the connection ended.
    Ended,
    /// What came cannot be read.
    Malformed(String),
}

/// A head of an own log as a record of the journal has it: signed here, or fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHead {
    /// Entries.
    pub size: u64,
    /// The root.
    pub root: Hash,
    /// The lines, those of the holder among them where it was fetched.
    pub lines: Vec<String>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// New rules.
    Settings(Settings),
    /// A command, with the caller to answer.
    Command(Command, Option<Token>),
    /// The group with this number is durable.
    Durable {
        /// As in [`super::Group`].
        group: u64,
    },
    /// The disk is full: the group could not be written and stays to be written (the shell retries it).
    DiskFull,
    /// The disk took the waiting group after all.
    DiskOk,
    /// A connection with a peer whose certificate was judged.
    Connected {
        /// Its name.
        conn: ConnId,
        /// Who it is.
        peer: NodeName,
        /// Who dialled.
        dialler: Dialler,
        /// A certificate or CRL has expired: trust material only.
        restricted: bool,
    },
    /// An attempt to dial ended without a connection.
    DialFailed {
        /// Whom.
        peer: NodeName,
    },
    /// A connection ended, whoever closed it.
    Closed {
        /// Which.
        conn: ConnId,
    },
    /// The other side owes an answer for longer than the network's repetitions take, or has answered after all. Nothing
    /// is appended meanwhile: what is not in the log can still expire and be cancelled.
    Silent {
        /// Over which connection.
        conn: ConnId,
        /// Whether an answer is overdue.
        silent: bool,
    },
    /// A HELLO came.
    Hello {
        /// Over which connection.
        conn: ConnId,
        /// What it says.
        hello: Box<Hello>,
    },
    /// The answer to an [`super::Effect`]-less probe ([`super::Action::Probe`]); `None`: no answer in time.
    Probed {
        /// Over which connection.
        conn: ConnId,
        /// The answering instance.
        boot: Option<BootNonce>,
    },
    /// NOT_NOW came.
    NotNow {
        /// Over which connection.
        conn: ConnId,
        /// Why.
        reason: NotNowReason,
        /// When to try again.
        retry_after: Duration,
    },
    /// A push came.
    Pushed {
        /// Over which connection.
        conn: ConnId,
        /// What.
        pushed: Pushed,
    },
    /// A receipt came.
    Cosigned {
        /// Over which connection.
        conn: ConnId,
        /// Of which volume.
        origin: Origin,
        /// Up to which size.
        size: u64,
        /// The lines.
        lines: Vec<String>,
        /// The holder's window now.
        window: u64,
    },
    /// The holder shows what it has.
    Shows {
        /// Over which connection.
        conn: ConnId,
        /// What.
        state: LogState,
    },
    /// The holder reports a fault.
    Fault {
        /// Over which connection.
        conn: ConnId,
        /// Kind.
        code: FaultCode,
        /// Of which volume.
        origin: Option<Origin>,
        /// Where.
        index: u64,
        /// With a contradiction: what proves it.
        proof: Contradiction,
    },
    /// Own entries came back from their holder.
    Fetched {
        /// Over which connection.
        conn: ConnId,
        /// Of which volume.
        origin: Origin,
        /// From which index.
        from: u64,
        /// What, or why not. The note is the holder's newest for that volume.
        result: Result<Pushed, FetchFault>,
    },
    /// The answer to [`super::Action::RangeAt`]; `None`: the journal cannot tell (damage).
    Range {
        /// The log that was asked about.
        origin: Origin,
        /// The size.
        size: u64,
        /// The tree over the first `size` leaves.
        range: Option<CompactRange>,
    },
    /// The answer to [`super::Action::PrefixOf`].
    Prefix {
        /// The log that was asked about.
        origin: Origin,
        /// The smaller size.
        size: u64,
        /// The larger one.
        upto: u64,
        /// The tree at the smaller size, watched up to the larger one; `None`: the journal cannot tell (damage).
        growth: Option<Growth>,
    },
    /// The answer to [`super::Action::Load`]: at least one entry, in order, without gaps.
    Loaded {
        /// The log that was asked about.
        origin: Origin,
        /// The first index.
        from: u64,
        /// Leaves with their bodies, or why a body does not travel; empty: the journal cannot tell (damage).
        entries: Vec<EntryFrame>,
        /// Every head that the journal has over these entries (of a size above `from`, up to their end), whatever its
        /// root: a branch that was replaced had its heads too.
        heads: Vec<StoredHead>,
    },
    /// Own damage: the body of an entry of an own log cannot be read any more.
    BodyLost {
        /// Whose log.
        origin: Origin,
        /// Which entry.
        index: u64,
    },
    /// The other answer to [`super::Action::CheckBody`]: leaf and body are as they were signed.
    BodyKept {
        /// Whose log.
        origin: Origin,
        /// Which entry.
        index: u64,
    },
    /// A file of a peer's message is durably here.
    EnclosureHeld {
        /// From whom.
        peer: NodeName,
        /// Which message.
        entry: EntryId,
        /// Which file.
        ordinal: u32,
        /// Its slot.
        slot: u64,
    },
    /// The answer to [`super::Action::Reread`]: a Queued record as it stands in the journal.
    Reread {
        /// The record.
        record: Box<Record>,
    },
    /// A file of a peer's message is not accepted or will not come.
    EnclosureEnded {
        /// From whom.
        peer: NodeName,
        /// Which message.
        entry: EntryId,
        /// Which file.
        ordinal: u32,
        /// Why.
        code: RefusalCode,
    },
}
