//! What the shell hears.

use std::net::SocketAddr;

use tokio::sync::OwnedSemaphorePermit;

use super::enclosure::EnclosureReply;
use super::fetch::FetchReply;
use super::layer::{Ended, Layer};
use crate::exchange::{ConnId, Dialler, Pushed};
use crate::identity::PeerIdentity;
use crate::name::{EntryId, NodeName, Origin};
use crate::wire::Frame;

/// What happened on the network. Between `Connected` and `Closed` of a connection come all its other events.
#[derive(Debug)]
pub enum NetEvent {
    /// A connection with a peer whose certificate was judged. On dialling, the peer's own judgement is still to come.
    Connected {
        /// Its name; never used twice.
        conn: ConnId,
        /// Who it is, and whether the session is restricted.
        peer: PeerIdentity,
        /// Who dialled.
        dialler: Dialler,
        /// Where the peer is.
        remote: SocketAddr,
    },
    /// No address of a peer could be reached.
    DialFailed {
        /// Whom.
        peer: NodeName,
        /// The layer that stopped the attempt that came furthest.
        layer: Layer,
        /// In words, with the address.
        why: String,
    },
    /// A connection ended, whoever ended it. The last event of its connection.
    Closed {
        /// Which.
        conn: ConnId,
        /// How.
        why: Ended,
    },
    /// The other side owes an answer for longer than repetitions take, or has answered after all. A connection that stays
    /// silent ends soon after.
    Silent {
        /// Which.
        conn: ConnId,
        /// Whether an answer is overdue.
        silent: bool,
    },
    /// A frame on the control stream: HELLO (always the first), TRUST, PROBE, PROBE_REPLY, NOT_NOW or BYE.
    Frame {
        /// Over which connection.
        conn: ConnId,
        /// The frame.
        frame: Frame,
    },
    /// A batch on the peer's push stream.
    Pushed {
        /// Over which connection.
        conn: ConnId,
        /// What came, as it came: indices and proofs are for the core to judge.
        pushed: Pushed,
        /// The part of the window that the batch takes; dropped when the batch is dealt with.
        room: Room,
    },
    /// COSIGNED, SHOWS or FAULT on the back of this node's push stream. After FAULT the stream is reset, and pushes
    /// that waited are dropped.
    Back {
        /// Over which connection.
        conn: ConnId,
        /// The frame.
        frame: Frame,
    },
    /// The peer asks for entries.
    FetchRequest {
        /// Over which connection.
        conn: ConnId,
        /// Of which volume.
        origin: Origin,
        /// First index.
        from: u64,
        /// First index that is not wanted.
        to: u64,
        /// Answers it.
        reply: FetchReply,
    },
    /// The peer asks for a file, from `offset` on.
    EnclosureRequest {
        /// Over which connection.
        conn: ConnId,
        /// The message.
        entry: EntryId,
        /// Which file.
        ordinal: u32,
        /// From which byte on.
        offset: u64,
        /// Answers it.
        reply: EnclosureReply,
    },
}

/// Bytes of the window that a batch takes up. While too many are held, the peer's push stream is not read.
#[derive(Debug)]
pub struct Room(pub(super) Option<OwnedSemaphorePermit>);

impl Room {
    /// Bytes taken.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}
