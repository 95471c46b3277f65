//! What an operator should know, in neutral words.

use crate::exchange::record::Place;
use crate::name::{NodeName, Origin, RefusalCode};
use crate::wire::{FaultCode, NotNowReason, Target};

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
    /// The peer holds a log of this node under keys that are not here; waits for a person.
    FormerKeys {
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
    /// The peer takes again what it did not take for a while.
    TakesAgain {
        /// Who.
        peer: NodeName,
    },
    /// This node began to say so to a peer.
    SaidNotNow {
        /// To whom.
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
        code: FaultCode,
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
