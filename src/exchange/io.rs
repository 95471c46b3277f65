//! What goes into the core and what comes out.

use std::time::Duration;

use bytes::Bytes;

use super::Stored;
use super::record::{Change, Drop, Place, Record};
use crate::merkle::CompactRange;
use crate::name::{
    BootNonce, CaseId, Desk, EntryId, Hash, Kind, Millis, NodeName, Origin, Pap, Precedence, RefusalCode, Tlp,
};
use crate::note::PublicKeys;
use crate::wire::{EntryFrame, Header, Hello, LogState, NotNowReason, Payload, Target};

/// Names a connection; the shell never uses a number twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Names a waiting caller (a command of the local interface).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

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
    /// A connection on which a push has had no answer for this long is closed and dialled anew.
    pub stall: Duration,
    /// SHA-256 of this node's certificates (TLS and signing); announced in HELLO.
    pub certificate_digests: Vec<Hash>,
    /// Number of the newest CRL of this State, 0 for none; announced in HELLO.
    pub crl_number: u64,
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
            stall: Duration::from_secs(120),
            certificate_digests: Vec::new(),
            crl_number: 0,
        }
    }
}

/// An item that somebody wants to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem {
    /// Chosen by the caller, so that a repeated command is the same command.
    pub id: EntryId,
    /// What it is.
    pub kind: Kind,
    /// The case.
    pub case: Option<CaseId>,
    /// The entry answered or acknowledged.
    pub in_reply_to: Option<EntryId>,
    /// How fast to handle it.
    pub precedence: Precedence,
    /// The handling label.
    pub tlp: Tlp,
    /// The permissible actions.
    pub pap: Pap,
    /// Drill traffic.
    pub exercise: bool,
    /// The desk that writes; `None` for machines.
    pub from_desk: Option<Desk>,
    /// The desk written to; `None` for machines.
    pub to_desk: Option<Desk>,
    /// When it leaves the queue unsent.
    pub expires: Option<Millis>,
    /// HELD, REFUSED, VOID.
    pub target: Option<Target>,
    /// REFUSED: the code.
    pub code: u32,
    /// The encoded body.
    pub body: Bytes,
    /// How many files follow; each is durably here already.
    pub enclosures: u32,
}

/// How far a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until the item is durably queued.
    Queued,
    /// Until the peer's receipt is durable here.
    Receipt,
}

/// What a person or the node's own machinery orders. Officers are numbers; 0 is the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send an item.
    Send {
        /// To whom.
        peer: NodeName,
        /// What.
        item: Box<NewItem>,
        /// Who released it.
        officer: u32,
        /// When to answer.
        wait: Wait,
    },
    /// Take an item out of the queue. What is in the log stays.
    Drop {
        /// For whom it was.
        peer: NodeName,
        /// Which.
        id: EntryId,
        /// Why.
        why: Drop,
        /// Who.
        officer: u32,
    },
    /// Forget the back-off towards a peer and try now.
    Retry {
        /// Which peer.
        peer: NodeName,
    },
    /// Accept a peer after the ceremony (the shell has checked introduction and fingerprint).
    AddPeer {
        /// Its name.
        peer: NodeName,
        /// The introduction as it was handed over.
        introduction: Bytes,
        /// The fingerprint that was read over another channel.
        fingerprint: String,
        /// The peer's signing keys.
        keys: Vec<PublicKeys>,
        /// Who read it to whom and by what means, as JSON; it is sealed.
        ceremony: Bytes,
        /// Who.
        officer: u32,
    },
    /// Suspend, resume or remove a peer.
    ChangePeer {
        /// Which.
        peer: NodeName,
        /// How.
        change: Change,
        /// Who.
        officer: u32,
    },
    /// Agree to go on after a freeze.
    Reopen {
        /// With which peer.
        peer: NodeName,
        /// Who.
        officer: u32,
    },
    /// Doubt the own memory: fetch everything from the peers and open new volumes. Ends a fence.
    Recover {
        /// Who.
        officer: u32,
    },
    /// Journal that an officer opened a message.
    MarkRead {
        /// Which.
        place: Place,
        /// Who.
        officer: u32,
    },
    /// Journal another act.
    Note {
        /// What it is about, as a word.
        subject: String,
        /// With which peer.
        peer: Option<NodeName>,
        /// In words.
        text: String,
        /// Who.
        officer: u32,
    },
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

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// New rules.
    Settings(Settings),
    /// A command, with the caller to answer.
    Command(Command, Option<Token>),
    /// The group with this number is durable.
    Durable {
        /// As in [`Group`].
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
    /// A HELLO came.
    Hello {
        /// Over which connection.
        conn: ConnId,
        /// What it says.
        hello: Box<Hello>,
    },
    /// The answer to an [`Effect`]-less probe ([`Action::Probe`]); `None`: no answer in time.
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
        code: crate::wire::FaultCode,
        /// Of which volume.
        origin: Option<Origin>,
        /// Where.
        index: u64,
        /// With a contradiction: the note that proves it.
        proof: Bytes,
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
    /// The answer to [`Action::RangeAt`]; `None`: the journal cannot tell (damage).
    Range {
        /// The log that was asked about.
        origin: Origin,
        /// The size.
        size: u64,
        /// The tree over the first `size` leaves.
        range: Option<CompactRange>,
    },
    /// The answer to [`Action::Load`]: at least one entry, in order, without gaps.
    Loaded {
        /// The log that was asked about.
        origin: Origin,
        /// The first index.
        from: u64,
        /// Leaves with their bodies, or why a body does not travel; empty: the journal cannot tell (damage).
        entries: Vec<EntryFrame>,
    },
    /// Own damage: the body of an entry of an own log cannot be read any more.
    BodyLost {
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
    /// The answer to [`Action::Reread`]: a Queued record as it stands in the journal.
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
    pub leaf: Option<crate::wire::Leaf>,
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

/// Why a command is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody of that name was accepted here.
    #[error("{0} is not a peer of this node; add it with `verbale peer add`")]
    UnknownPeer(NodeName),
    /// The peer is suspended or removed.
    #[error("{0} is suspended or removed; resume it with `verbale peer resume {0}`")]
    PeerInactive(NodeName),
    /// The id was used for other bytes.
    #[error("the id {0} was used before for another message")]
    OtherBytes(EntryId),
    /// Already in the log: it cannot be taken back, only withdrawn.
    #[error("{0} is already in the log; send a withdrawal instead")]
    InTheLog(EntryId),
    /// No such item.
    #[error("no item {0} waits for this peer")]
    NoSuchItem(EntryId),
    /// The body or header is over the protocol's limits.
    #[error("{0}")]
    TooLarge(String),
    /// The disk is full.
    #[error("the disk is full; nothing was queued. Free space in the node's folder and try again")]
    DiskFull,
    /// The node is fenced.
    #[error("this node is fenced: another instance has spoken under its keys; see `verbale status`")]
    Fenced,
    /// Known under another name, or a key that is known for another node.
    #[error("{0}")]
    PeerConflict(String),
    /// Nothing waits for a person here.
    #[error("nothing is frozen with {0}")]
    NothingFrozen(NodeName),
    /// Real and exercise traffic do not mix here.
    #[error("exercise States and real States do not speak to each other here unless `mix_exercise = true`")]
    Exercise,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Carried out, durably.
    Done,
    /// Durably queued.
    Queued {
        /// The item.
        id: EntryId,
    },
    /// The peer's receipt is durable here.
    Delivered {
        /// The item.
        id: EntryId,
        /// Where it stands.
        place: Place,
        /// The receipt's time by the peer's clock, POSIX seconds.
        receipt_time: u64,
    },
    /// Not delivered and never will be.
    Ended {
        /// The item.
        id: EntryId,
        /// Cancelled or expired.
        why: Drop,
    },
    /// Not carried out.
    Denied(Denied),
}

/// What an operator should know. Neutral words; the shell renders them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Both Hellos are compared: messages can pass.
    Up {
        /// With whom.
        peer: NodeName,
        /// The peer's clock minus ours, in milliseconds, when its HELLO was read.
        clock_offset_ms: i64,
    },
    /// No connection any more.
    Down {
        /// With whom.
        peer: NodeName,
    },
    /// This node met a volume under its own keys that it did not open, or a second instance of itself.
    Fenced {
        /// With whom.
        peer: NodeName,
    },
    /// A peer seems to run twice.
    SecondInstance {
        /// Which.
        peer: NodeName,
    },
    /// Two histories; waits for people.
    Frozen {
        /// With whom.
        peer: NodeName,
        /// The own log or the peer's.
        own_log: bool,
    },
    /// A new volume was opened.
    VolumeOpened {
        /// Which.
        origin: Origin,
    },
    /// The peer holds more than this node remembers; the rest is being fetched.
    Behind {
        /// Which log.
        origin: Origin,
    },
    /// The peer says that something is not possible now.
    NotNow {
        /// Who.
        peer: NodeName,
        /// Why.
        reason: NotNowReason,
    },
    /// Own damage: the journal cannot give back what an own log needs; this direction stands still.
    OwnDamage {
        /// Which log.
        origin: Origin,
    },
    /// A push was not taken.
    Fault {
        /// With whom.
        peer: NodeName,
        /// Whether this node found it (in the peer's push) or the peer (in ours).
        found_here: bool,
        /// What.
        code: crate::wire::FaultCode,
        /// Where.
        index: u64,
    },
    /// An entry of this node was not accepted by the peer.
    RefusedByPeer {
        /// Who.
        peer: NodeName,
        /// Which entry of ours.
        target: Target,
        /// The code's number.
        code: u32,
    },
    /// An entry of the peer was not accepted here.
    RefusedHere {
        /// Which.
        place: Place,
        /// Why.
        code: RefusalCode,
    },
    /// All files of an own message are held by the peer.
    HeldByPeer {
        /// Who.
        peer: NodeName,
        /// Which entry of ours.
        target: Target,
    },
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
        code: crate::wire::FaultCode,
        /// Of which volume.
        origin: Option<Origin>,
        /// Where.
        index: u64,
        /// With a contradiction: the note that proves it.
        proof: Bytes,
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
    /// Write the group; report [`Input::Durable`].
    Write(Group),
    /// Perform what a durable group allows.
    Release(Stored<Effect>),
    /// Dial the peer; report [`Input::Connected`] or [`Input::DialFailed`].
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
    /// Send PROBE; report [`Input::Probed`] within a few seconds.
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
    /// Fetch own entries from the holder; report [`Input::Fetched`].
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
    /// Compute the tree of an own log at a size from the journal; report [`Input::Range`].
    RangeAt {
        /// Of which volume.
        origin: Origin,
        /// At which size.
        size: u64,
    },
    /// Read entries of an own log from the journal for a refill; report [`Input::Loaded`].
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
    /// Read these Queued records from the journal once more, for items that must be queued again; report
    /// [`Input::Reread`] for each.
    Reread {
        /// Record numbers.
        records: Vec<u64>,
    },
    /// Tell the operator.
    Notice(Notice),
}
