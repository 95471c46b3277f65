//! What commands show, as JSON. Times are milliseconds since 1970 (UTC); the command line renders them.

use serde::{Deserialize, Serialize};

use crate::name::{CaseId, Desk, EntryId, Millis, NodeName, Pap, Precedence, Tlp};
use crate::wire::ReplyExpected;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Folder {
    /// Received.
    Inbox,
    /// Sent or waiting to be sent.
    Outbox,
}

/// How far a message has come. Receipt, acknowledgement and answer are three different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    /// Waits here.
    Queued,
    /// In the signed log, not yet receipted.
    Sent,
    /// The peer's machine signed that it has it durably; no view on its content.
    Delivered,
    /// The peer also holds all enclosures.
    Held,
    /// A person at the desk has read it; this does not mean agreement.
    Acknowledged,
    /// An answer in substance came.
    Answered,
    /// Declined.
    Declined,
    /// Stored, but not accepted.
    Refused,
    /// Left the queue unsent: its time had passed.
    Expired,
    /// Left the queue unsent: cancelled by a person.
    Cancelled,
    /// Withdrawn; it may have been read.
    Withdrawn,
    /// Received here.
    Received,
}

/// A message in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageRow {
    /// Its id.
    pub id: EntryId,
    /// Inbox or outbox.
    pub folder: Folder,
    /// The other State's node.
    pub peer: NodeName,
    /// The kind's word, or `kind 4711` where unknown.
    pub kind: String,
    /// The author's time: of queueing while it waits, then of its entry in the log.
    pub time: Millis,
    /// When this node stored or queued it, by its own clock; it never changes.
    pub recorded: Millis,
    /// When its author put it into the log; none while it waits here.
    pub sent: Option<Millis>,
    /// The journal record that holds it: `before` of the next page.
    pub record: u64,
    /// How fast to handle it.
    pub precedence: Precedence,
    /// The handling label.
    pub tlp: Tlp,
    /// Drill traffic.
    pub exercise: bool,
    /// How far it has come.
    pub state: MessageState,
    /// One line; empty where it cannot be opened.
    pub subject: String,
    /// How many files.
    pub enclosures: u32,
    /// The case.
    pub case: Option<CaseId>,
    /// Received before under the same id.
    pub repeat: bool,
    /// An officer opened it here.
    pub read: bool,
    /// Why its files are not taken; empty where they are, or where it has none.
    #[serde(default)]
    pub files_refused: String,
}

/// A text in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextView {
    /// BCP 47 tag.
    pub language: String,
    /// One line.
    pub subject: String,
    /// The text, bytes as written.
    pub text: String,
}

/// How far a file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnclosureState {
    /// Durably here (and, for own messages: offered to the peer).
    Held,
    /// On its way: this node asks for it until it is here.
    Coming,
    /// It will not come: not accepted here, not as listed, or no longer held by its author.
    Missing,
    /// It was here, and is not in the node's folder any more.
    Lost,
}

/// An entry that refers to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its id.
    pub id: EntryId,
    /// Inbox: the other State wrote it; outbox: it was written here.
    pub folder: Folder,
    /// The kind's word: `acknowledgement`, `answer`, `withdrawal`, …
    pub kind: String,
    /// Its author's time.
    pub time: Millis,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclosureView {
    /// Counts from 0.
    pub ordinal: u32,
    /// As the author named it.
    pub name: String,
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// How far it has come.
    pub state: EnclosureState,
}

/// A message in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageView {
    /// As in lists.
    pub row: MessageRow,
    /// The origin of the log it stands in; empty while it waits.
    pub origin: String,
    /// Its index there.
    pub index: Option<u64>,
    /// The desks.
    pub from_desk: Option<Desk>,
    /// The desks.
    pub to_desk: Option<Desk>,
    /// Permissible actions.
    pub pap: Pap,
    /// National marking.
    pub marking: String,
    /// The author's reference.
    pub own_reference: String,
    /// Why it is urgent.
    pub justification: String,
    /// Whether an answer is expected.
    pub reply_expected: ReplyExpected,
    /// What it answers.
    pub in_reply_to: Option<EntryId>,
    /// The texts.
    pub texts: Vec<TextView>,
    /// Why the body is not shown, where it is not: `erased`, `withdrawn`, `damaged at …`.
    pub absent: String,
    /// The files.
    pub enclosures: Vec<EnclosureView>,
    /// The receipt's time by the holder's clock.
    pub receipt_time: Option<Millis>,
    /// When the desk acknowledged it (the acknowledgement's time). It does not mean agreement.
    pub acknowledged: Option<Millis>,
    /// Entries that refer to this one: acknowledgements, answers, corrections, withdrawals and others, oldest first.
    pub references: Vec<Reference>,
    /// Why it was not accepted.
    pub refused: String,
    /// When it leaves the queue unsent, if it is not in the log by then.
    pub expires: Option<Millis>,
}

/// The queue towards a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueView {
    /// Items not yet in the log.
    pub queued: u64,
    /// Entries in the log without a receipt.
    pub unreceipted: u64,
    /// Age of the oldest of both, milliseconds.
    pub oldest_ms: u64,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its name.
    pub peer: NodeName,
    /// `active`, `suspended`, `removed`.
    pub status: String,
    /// `up`, `down`, `dialling` (nothing has failed yet), `restricted`, `frozen` (one direction waits for people),
    /// `stopped` (the own log to it stands still).
    pub connection: String,
    /// Which direction is frozen: the own log to it; otherwise its log to this node.
    pub own_frozen: bool,
    /// Since when that is so; the start of the node, where nothing has changed since.
    pub since: Millis,
    /// Why messages do not pass, as far as known: the layer, and what is known of it. Empty where they pass.
    pub why: String,
    /// What to do about that.
    pub todo: String,
    /// When it was last heard from.
    pub last_heard: Option<Millis>,
    /// Its clock minus ours, milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its fingerprint, in groups.
    pub fingerprint: String,
    /// Days left on its TLS certificate.
    pub certificate_days: Option<i64>,
    /// The queue towards it.
    pub queue: QueueView,
    /// Origin and size of the own log.
    pub own_log: String,
    /// Entries of the current volume of the own log.
    pub own_size: u64,
    /// … of which the peer has signed a receipt.
    pub own_receipted: u64,
    /// Origin of the peer's log.
    pub peer_log: String,
    /// Entries held of it.
    pub peer_size: u64,
    /// Bytes that it has had stored here today (UTC), files that were announced included.
    pub today_bytes: u64,
    /// … of so many that it may, see `limits.peer_bytes_per_day`.
    pub quota_bytes: u64,
    /// Why this node answers it NOT_NOW: `disk`, `quota`, or empty where it takes what comes.
    pub not_taken: String,
}

/// Something that is wrong or worth knowing, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// `error`, `warning`, or `notice`, which is worth knowing and not wrong.
    pub level: String,
    /// A stable word: `peer-down`, `peer-slow`, `peer-silent`, `not-now`, `fault`, `frozen`, `restricted`, `stopped`,
    /// `suspended`, `left-behind`, `expired`, `second-instance`, `fenced`, `damage`, `files-gone`, `verify`, `disk`,
    /// `index`, `on-message`, `certificate`, `introduction`, `root-key`, `clock`.
    pub code: String,
    /// The peer concerned, where there is one.
    pub peer: Option<NodeName>,
    /// What is wrong.
    pub what: String,
    /// Since when it is known; `None` where that is not known.
    pub since: Option<Millis>,
    /// What is affected.
    pub affects: String,
    /// What to do next.
    pub todo: String,
}

impl Trouble {
    /// Whether something is wrong, and not only worth knowing.
    pub fn is_wrong(&self) -> bool {
        self.level != "notice"
    }
}

/// The node itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub node: NodeName,
    /// Whether its State code is an exercise code.
    pub exercise: bool,
    /// Since when it runs.
    pub started: Millis,
    /// Its addresses.
    pub listen: Vec<String>,
    /// Records in its journal.
    pub records: u64,
    /// Bytes of its folder.
    pub bytes: u64,
    /// Bytes free on its file system.
    pub free_bytes: u64,
    /// Days left on its own TLS certificate.
    pub certificate_days: i64,
    /// Version of the program (never told to peers).
    pub version: String,
}

/// What is up, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The node.
    pub node: NodeView,
    /// Its peers, by name.
    pub peers: Vec<PeerView>,
    /// What is wrong.
    pub troubles: Vec<Trouble>,
    /// Messages in the inbox that nobody acknowledged yet.
    pub unacknowledged: u64,
}

/// The first half of a ping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeView {
    /// Round trip, microseconds.
    pub round_trip_us: u64,
    /// The peer's clock minus ours, milliseconds.
    pub clock_offset_ms: i64,
    /// Protocol versions the peer speaks.
    pub versions: (u32, u32),
    /// Days left on the peer's certificate.
    pub peer_certificate_days: i64,
    /// Days left on our certificate.
    pub own_certificate_days: i64,
}

/// What became of a ping. Green means that messages arrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PingView {
    /// Whom.
    pub peer: NodeName,
    /// The probe; `None` where no connection came about.
    pub probe: Option<ProbeView>,
    /// Whether the PING entry was appended, signed, pushed, stored and cosigned.
    pub delivered: bool,
    /// How long that took, microseconds.
    pub delivery_us: Option<u64>,
    /// The first layer that stopped it: address, UDP, QUIC, TLS, identity, clock, policy, version, disk; empty if none.
    pub stopped_at: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub todo: String,
}

/// A row of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRow {
    /// The origin.
    pub origin: String,
    /// The index.
    pub index: u64,
    /// The entry's id; `None` where the header cannot be decoded.
    pub id: Option<EntryId>,
    /// The kind's word.
    pub kind: String,
    /// The author's time.
    pub time: Millis,
    /// The case.
    pub case: Option<CaseId>,
    /// Bytes of the body.
    pub body_len: u64,
    /// Whether a receipt covers it.
    pub receipted: bool,
    /// Record number in the journal.
    pub record: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyView {
    /// Whether everything holds.
    pub good: bool,
    /// Groups read.
    pub groups: u64,
    /// Records read.
    pub records: u64,
    /// Entries in all logs.
    pub entries: u64,
    /// Heads whose author's lines were checked.
    pub heads: u64,
    /// Receipts whose lines were checked.
    pub receipts: u64,
    /// Bodies opened and checked against their commitment.
    pub bodies: u64,
    /// Enclosures whose hash was checked.
    pub enclosures: u64,
    /// Rows of sled checked against the journal; `None` where sled was not looked at.
    pub rows: Option<u64>,
    /// What is wrong, each with its place.
    pub faults: Vec<String>,
    /// What is worth knowing and no fault.
    pub remarks: Vec<String>,
}
