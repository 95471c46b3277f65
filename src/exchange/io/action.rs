//! What the shell is to do, and what may leave the node once it is durable.

use std::time::Duration;

use bytes::Bytes;

use super::{Answer, ConnId, Notice, Token};
use crate::exchange::gate::Stored;
use crate::exchange::record::{Place, Record};
use crate::name::{EntryId, NodeName, Origin, RefusalCode};
use crate::wire::{Contradiction, FaultCode, Header, Hello, Leaf, LogState, NotNowReason, Payload};

/// Records that become durable together: one write, one sync.
#[derive(Clone, Debug)]
pub struct Group {
    /// Counts from 1 in each run.
    pub number: u64,
    /// The record number of the first record.
    pub first: u64,
    /// In order.
    pub records: Vec<Record>,
}

/// An entry of an own log on its way: the shell finds its payload (in memory, or in the journal at `queued`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRef {
    /// Index in the volume.
    pub index: u64,
    /// Its leaf, where it is still in memory; otherwise the shell reads it by place.
    pub leaf: Option<Leaf>,
    /// The record number of its Queued or VolumeOpened record, where known.
    pub record: Option<u64>,
    /// Salt and body, where they are still in memory; or why they do not travel.
    pub payload: Option<Payload>,
}

/// The QUIC code with which a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words are those of the protocol's page")]
pub enum CloseCode {
    NoHello = 1,
    Version = 2,
    WrongState = 3,
    SuspendedOrUnknown = 4,
    Revoked = 5,
    Flood = 6,
    Frame = 7,
    Replaced = 8,
    GoingDown = 9,
}

/// A peer's entry that may now be shown at the desk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where it stands.
    pub place: Place,
    /// Its header; `None` where it could not be decoded.
    pub header: Option<Header>,
    /// Files that are to follow.
    pub enclosures: u32,
    /// Shown before.
    pub repeat: bool,
    /// Not accepted, and why.
    pub refused: Option<RefusalCode>,
}

/// What may leave the node, or be shown, only after the group that records it is durable.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send HELLO on the control stream.
    Hello {
        /// Over which connection.
        conn: ConnId,
        /// What it says.
        hello: Box<Hello>,
    },
    /// Send NOT_NOW restricted: over this connection nothing but HELLO and TRUST passes.
    Restricted {
        /// Over which connection.
        conn: ConnId,
    },
    /// Push entries and a head.
    Push {
        /// Over which connection.
        conn: ConnId,
        /// Of which volume.
        origin: Origin,
        /// The entries, in order; may be empty.
        entries: Vec<EntryRef>,
        /// The signed note.
        note: Bytes,
    },
    /// Send a receipt.
    Cosigned {
        /// Over which connection.
        conn: ConnId,
        /// Of which volume.
        origin: Origin,
        /// Up to which size.
        size: u64,
        /// The lines.
        lines: Vec<String>,
        /// The window now.
        window: u64,
    },
    /// Show what is held.
    Shows {
        /// Over which connection.
        conn: ConnId,
        /// What.
        state: LogState,
    },
    /// Report a fault, then reset the push stream.
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
    /// Peers' entries may be shown at the desk.
    Show(Vec<Shown>),
    /// Own entries up to this one are delivered.
    Delivered {
        /// The entries' ids with their places.
        entries: Vec<(EntryId, Place)>,
        /// The receipt's time by the peer's clock, POSIX seconds.
        receipt_time: u64,
    },
    /// Answer a caller.
    Answer {
        /// Whom.
        token: Token,
        /// With what.
        answer: Answer,
    },
}

/// What the shell is to do.
#[derive(Debug)]
pub enum Action {
    /// Write the group; report [`super::Input::Durable`].
    Write(Group),
    /// Perform what a durable group allows.
    Release(Stored<Effect>),
    /// Dial the peer; report [`super::Input::Connected`] or [`super::Input::DialFailed`].
    Dial {
        /// Whom.
        peer: NodeName,
    },
    /// Close a connection.
    Close {
        /// Which.
        conn: ConnId,
        /// With which code.
        code: CloseCode,
    },
    /// Send PROBE; report [`super::Input::Probed`] within a few seconds.
    Probe {
        /// Over which connection.
        conn: ConnId,
    },
    /// Send NOT_NOW.
    NotNow {
        /// Over which connection.
        conn: ConnId,
        /// Why.
        reason: NotNowReason,
        /// When the peer may try again.
        retry_after: Duration,
    },
    /// Fetch own entries from the holder; report [`super::Input::Fetched`].
    Fetch {
        /// Over which connection.
        conn: ConnId,
        /// Of which volume.
        origin: Origin,
        /// First index.
        from: u64,
        /// First index that is not wanted.
        to: u64,
    },
    /// Compute the tree of an own log at a size from the journal; report [`super::Input::Range`].
    RangeAt {
        /// Of which volume.
        origin: Origin,
        /// At which size.
        size: u64,
    },
    /// Compute from the journal what the tree of a log, own or held, was at a smaller size, and the proof that it grew
    /// from there; report [`super::Input::Prefix`].
    PrefixOf {
        /// Of which volume.
        origin: Origin,
        /// The smaller size.
        size: u64,
        /// The larger one.
        upto: u64,
    },
    /// Read entries of an own log from the journal for a refill, and the heads that were ever recorded over them; report
    /// [`super::Input::Loaded`].
    Load {
        /// Of which volume.
        origin: Origin,
        /// First index.
        from: u64,
        /// First index that is not wanted.
        to: u64,
        /// Stop before the leaves and bodies exceed this many bytes, but read one at least.
        bytes_max: u64,
    },
    /// Read one entry of an own log again and hold its body against its commitment, because the holder says that it does
    /// not open it; report [`super::Input::BodyLost`] or [`super::Input::BodyKept`].
    CheckBody {
        /// Of which volume.
        origin: Origin,
        /// Which entry.
        index: u64,
    },
    /// Read these Queued records from the journal once more, for items that must be queued again; report
    /// [`super::Input::Reread`] for each.
    Reread {
        /// Record numbers.
        records: Vec<u64>,
    },
    /// Tell the operator.
    Notice(Notice),
}
