//! What people and the node's own machinery order, and what they are answered.

use bytes::Bytes;

use crate::exchange::record::{Change, Drop, Place};
use crate::name::{CaseId, Desk, EntryId, Kind, Millis, NodeName, Pap, Precedence, Tlp};
use crate::note::PublicKeys;
use crate::wire::Target;

/// Names a waiting caller (a command of the local interface).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// How far a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until the item is durably queued.
    Queued,
    /// Until the peer's receipt is durable here.
    Receipt,
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

/// Why a command is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody of that name was accepted here.
    #[error("{0} is not a peer of this node; add it with `verbale peer add`")]
    UnknownPeer(NodeName),
    /// The peer is suspended or removed.
    #[error("{0} is not active: resume it with `verbale peer resume {0}`, or add it again if it was removed")]
    PeerInactive(NodeName),
    /// The id was used for other bytes.
    #[error("the id {0} was used before for another message")]
    OtherBytes(EntryId),
    /// Already in the log: it cannot be taken back, only withdrawn.
    #[error("{0} is already in the log; send a withdrawal instead")]
    InTheLog(EntryId),
    /// The node does not know yet what it has sent.
    #[error("this node was restored and does not know yet what it has sent to {0}; try again once {0} is up")]
    InDoubt(NodeName),
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
