//! What the shell may know of the core's state, for `status` and for serving a peer.

use super::Core;
use super::contradiction::excluded;
use super::session::{Session, Step};
use crate::exchange::fold::{Author, PeerStatus};
use crate::exchange::io::ConnId;
use crate::name::{Millis, NodeName, Origin};
use crate::note::Exclusion;
use crate::wire::NotNowReason;

/// How a peer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// No connection.
    Down,
    /// Being dialled, or Hellos are not compared yet.
    Dialling,
    /// Messages pass.
    Up,
    /// Own entries are being fetched from it, or sent to it again.
    CatchingUp,
    /// A certificate has expired: trust material only.
    Restricted,
    /// Waits for people, or for a repair.
    Stopped,
}

/// A peer as the core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// Whether it is a correspondent.
    pub status: PeerStatus,
    /// How it is connected.
    pub connection: ConnectionState,
    /// The connection, once both Hellos over it are compared.
    pub conn: Option<ConnId>,
    /// Whether the own log to the peer waits for people: two histories of it.
    pub own_frozen: bool,
    /// Whether the peer's log to this node does.
    pub peer_frozen: bool,
    /// Which two heads exclude each other, where that is why: of the own log, and of the peer's.
    pub excluded: (Option<Exclusion>, Option<Exclusion>),
    /// Items not in the log yet.
    pub queued: u64,
    /// Entries without a receipt.
    pub unreceipted: u64,
    /// When the oldest of both was queued.
    pub oldest: Option<Millis>,
    /// The volume of the own log.
    pub own_origin: Option<Origin>,
    /// Its entries.
    pub own_size: u64,
    /// … with a receipt.
    pub own_receipted: u64,
    /// The volume of the peer's log.
    pub peer_origin: Option<Origin>,
    /// Entries held of it.
    pub peer_size: u64,
    /// Bytes that it has had stored here today (UTC).
    pub stored_today: u64,
    /// … of so many that it may.
    pub quota: u64,
    /// What this node last said to it was not possible, as far as it has not taken anything since.
    pub said_not_now: Option<NotNowReason>,
    /// When the peer was last heard from.
    pub last_heard: Option<Millis>,
    /// Its clock minus ours, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// The next attempt to dial.
    pub next_dial: Option<Millis>,
    /// Attempts that failed in a row.
    pub failures: u32,
    /// What the peer's HELLO says it takes: one file, and all files of one message, in bytes.
    pub enclosure_limits: Option<(u64, u64)>,
    /// Protocol versions that the peer speaks.
    pub versions: Option<(u32, u32)>,
}

impl Core {
    /// A peer as the core sees it; `None` for one that was never added.
    pub fn report(&self, name: NodeName) -> Option<PeerReport> {
        let peer = self.peer(name)?;
        let session = self.sessions.get(&name);
        let (own, theirs) = (&peer.own, &peer.theirs);
        let waiting = own.queue.values().map(|item| item.header.time);
        let open = own.unreceipted.iter().filter_map(|(_, item)| item.as_ref()).map(|item| item.header.time);
        let hello = session.and_then(|session| session.conns.get(&session.chosen?)?.hello.as_ref());
        Some(PeerReport {
            status: peer.status,
            connection: session.map_or(ConnectionState::Down, connection),
            conn: session.and_then(Session::up),
            own_frozen: own.frozen.is_some(),
            peer_frozen: theirs.frozen.is_some(),
            excluded: (own.frozen.as_ref().and_then(excluded), theirs.frozen.as_ref().and_then(excluded)),
            queued: own.queue.len() as u64,
            unreceipted: own.unreceipted.len() as u64,
            oldest: waiting.chain(open).min(),
            own_origin: own.current.map(|volume| Author::origin(self.me, name, volume)),
            own_size: own.volume().map_or(0, |(_, own)| own.size()),
            own_receipted: own.volume().map_or(0, |(_, own)| own.receipted),
            peer_origin: theirs.current.map(|volume| Origin { from: name, to: self.me, volume }),
            peer_size: theirs.volume().map_or(0, |(_, held)| held.size()),
            stored_today: theirs.usage.on(self.newest),
            quota: self.settings.quota_of(name),
            said_not_now: self.said_not_now(name),
            last_heard: session.and_then(|session| session.last_heard),
            clock_offset_ms: session.and_then(|session| session.clock_offset_ms),
            next_dial: session.and_then(|session| session.dial_at),
            failures: session.map_or(0, |session| session.failures),
            enclosure_limits: hello.map(|hello| (hello.enclosure_max, hello.enclosures_total_max)),
            versions: hello.map(|hello| (hello.version_min, hello.version_max)),
        })
    }

    /// The peer whose fetches and enclosure requests over this connection may be served.
    pub fn may_serve(&self, conn: ConnId) -> Option<NodeName> {
        let name = self.conns.get(&conn)?;
        self.sessions.get(name).and_then(Session::up).filter(|up| *up == conn).map(|_| *name)
    }

    /// Whether an IMMEDIATE or FLASH entry for this peer has no receipt yet: enclosures pause.
    pub fn is_urgent(&self, name: NodeName) -> bool {
        let Some(own) = self.peer(name).map(|peer| &peer.own) else { return false };
        let urgent = |precedence| precedence >= crate::name::Precedence::Immediate;
        own.queue.values().next().is_some_and(|item| urgent(item.header.precedence))
            || own.unreceipted.iter().flat_map(|(_, item)| item).any(|item| urgent(item.header.precedence))
    }
}

fn connection(session: &Session) -> ConnectionState {
    match &session.step {
        Step::Ready => ConnectionState::Up,
        Step::AwaitPrefix { .. } | Step::Refill(_) | Step::Fetch(_) => ConnectionState::CatchingUp,
        Step::Stopped => ConnectionState::Stopped,
        Step::Down if session.conns.values().any(|conn| conn.restricted && conn.hello.is_some()) => {
            ConnectionState::Restricted
        }
        Step::Down if session.dialling || !session.conns.is_empty() => ConnectionState::Dialling,
        Step::Down => ConnectionState::Down,
    }
}
