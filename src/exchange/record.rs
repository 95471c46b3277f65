//! Records of the journal as domain types. How they are written stands in `proto/verbale/journal/v1/record.proto`.

mod decode;
mod encode;
mod proto;

use bytes::Bytes;

use crate::name::{BootNonce, EntryId, Hash, JournalId, Millis, NodeName, Origin, Volume};
use crate::note::PublicKeys;
use crate::wire::{Absent, Contradiction, Header, Leaf, Span, VolumeReason};

/// Salt and body of an entry as they lie in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stowed {
    /// Machine kinds: in clear, so that an auditor without keys reads them.
    Clear {
        /// Opens the commitment together with the body.
        salt: [u8; 32],
        /// The body.
        body: Bytes,
    },
    /// Encrypted under a slot of the key file.
    Sealed {
        /// The slot's number.
        slot: u64,
        /// Nonce, ciphertext and tag.
        bytes: Bytes,
    },
    /// Not there.
    Absent(Absent),
}

/// Where an entry stands: which log, which volume, which index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The other State's node.
    pub peer: NodeName,
    /// The volume.
    pub volume: Volume,
    /// The index in the volume; for heads: the size.
    pub index: u64,
}

/// Why a node doubts its own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Doubt {
    /// The sentinel file does not match: the folder was copied or restored.
    Sentinel = 1,
    /// A restore was run.
    Restored = 2,
    /// A person ordered the recovery from peers.
    Person = 3,
    /// A peer holds more of an own log than this node wrote.
    Behind = 4,
}

/// What happened to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Change {
    /// No connection, no entry, until resumed.
    Suspended = 1,
    /// Suspension ended.
    Resumed = 2,
    /// No longer a correspondent; its logs are kept.
    Removed = 3,
}

/// Why an item left the queue before it was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Drop {
    /// A person cancelled it.
    Cancelled = 1,
    /// Its time had passed.
    Expired = 2,
}

/// One act of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, by the own clock.
    pub time: Millis,
    /// What.
    pub act: Act,
}

/// What a record says. Officers are numbers; 0 is the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of record.proto, which documents each")]
pub enum Act {
    /// The first record of a journal.
    Opened { journal: JournalId, node: NodeName },
    /// The node started.
    Started { boot: BootNonce, doubt: Option<Doubt>, version: String },
    /// A peer was accepted, with its ceremony.
    PeerAdded {
        peer: NodeName,
        introduction: Bytes,
        fingerprint: String,
        keys: Vec<PublicKeys>,
        ceremony: Stowed,
        officer: u32,
    },
    /// A peer was suspended, resumed, removed.
    PeerChanged { peer: NodeName, change: Change, officer: u32 },
    /// An item to be sent.
    Queued {
        peer: NodeName,
        header: Header,
        commitment: Hash,
        body_len: u32,
        payload: Stowed,
        enclosures: u32,
        officer: u32,
    },
    /// An item left the queue before it was appended.
    Dropped { peer: NodeName, id: EntryId, why: Drop, officer: u32 },
    /// Entry 0 of a new volume of an own log (`place.index` is 0).
    VolumeOpened { place: Place, leaf: Leaf, salt: [u8; 32], body: Bytes },
    /// An entry of an own log; `queued` is the record number of its item.
    Appended { place: Place, leaf: Leaf, queued: u64 },
    /// A head of an own log (`place.index` is its size).
    Signed { place: Place, root: Hash, lines: Vec<String> },
    /// A peer's receipt for an own log.
    Receipt { place: Place, lines: Vec<String> },
    /// An entry of a peer's log.
    Stored { place: Place, leaf: Leaf, payload: Stowed, enclosures: u32, file_bytes: u64, repeat: bool },
    /// A head of a peer's log and the own receipt for it (none in a refill over missing bodies).
    Cosigned { place: Place, root: Hash, author_lines: Vec<String>, lines: Vec<String> },
    /// An entry of an own log, got back from its holder.
    Fetched { place: Place, leaf: Leaf, payload: Stowed },
    /// The head over fetched entries.
    FetchedHead { place: Place, root: Hash, lines: Vec<String> },
    /// Bodies of a volume of an own log that this node could not read for a refill.
    BodiesLost { peer: NodeName, volume: Volume, spans: Vec<Span> },
    /// A volume under the own key that this node did not open, or a second instance.
    Fenced { peer: NodeName, origin: Option<Origin> },
    /// A person ordered the recovery from peers.
    Recovering { officer: u32 },
    /// One direction of one pair waits for people.
    Frozen { peer: NodeName, own_log: bool, proof: Contradiction, reason: VolumeReason },
    /// A person agreed to go on with this peer after a freeze.
    ReopenAgreed { peer: NodeName, officer: u32 },
    /// A file of a peer's message is durably here.
    EnclosureHeld { peer: NodeName, entry: EntryId, ordinal: u32, slot: u64 },
    /// A file of a peer's message will not come.
    EnclosureEnded { peer: NodeName, entry: EntryId, ordinal: u32, code: u32 },
    /// An officer opened a message.
    Read { place: Place, officer: u32 },
    /// Any other act.
    Noted { subject: String, peer: Option<NodeName>, text: String, officer: u32 },
    /// A record that this version does not understand; kept, never a reason to stop.
    Unknown(Bytes),
}

/// The subject of the note in which a node says with which keys it signs from there on, for who verifies later.
pub const KEYS_SUBJECT: &str = "signing-keys";

/// The text of that note: both public keys in base64.
pub fn keys_note(keys: &PublicKeys) -> String {
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    format!("{} {}", base64(&keys.ed25519), base64(&keys.ml_dsa_44))
}

/// Reads the text of that note; `None` where it is of another form.
pub fn read_keys_note(text: &str) -> Option<PublicKeys> {
    let bytes = |part: &str| data_encoding::BASE64.decode(part.as_bytes()).ok();
    let (ed25519, ml_dsa_44) = text.split_once(' ')?;
    PublicKeys::from_parts(&bytes(ed25519)?, &bytes(ml_dsa_44)?).ok()
}
