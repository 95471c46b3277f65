//! How things stand with the disk and with each peer, as far as notices and attempts have told; for `status`, `ping` and
//! the log lines. Nothing of the exchange is decided from it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::exchange::Notice;
use crate::journal::Condition;
use crate::name::{Millis, NodeName};
use crate::wire::NotNowReason;

/// The layers between a command and the peer's disk, first failure first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// No address, or a name that does not resolve.
    Address,
    /// Nothing comes back.
    Udp,
    /// Something answers, but no QUIC that both speak.
    Quic,
    /// The handshake fails.
    Tls,
    /// A certificate is not accepted, here or there.
    Identity,
    /// A clock cannot be right.
    Clock,
    /// A rule of one of the two States.
    Policy,
    /// No common version of the protocol.
    Version,
    /// A disk is full.
    Disk,
}

impl Layer {
    /// The word of `ping` and `doctor`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Udp => "UDP",
            Self::Quic => "QUIC",
            Self::Tls => "TLS",
            Self::Identity => "identity",
            Self::Clock => "clock",
            Self::Policy => "policy",
            Self::Version => "version",
            Self::Disk => "disk",
        }
    }

    /// What a person can do about it.
    pub fn todo(self) -> &'static str {
        match self {
            Self::Address => "compare the address with the peer's; set it under [peers] in verbale.toml and reload",
            Self::Udp => "see that the peer's node runs and that both firewalls let its UDP port through, both ways",
            Self::Quic => "see that the port is the peer's verbale port and that no middlebox changes UDP packets",
            Self::Tls => "compare versions and the `pq` setting with the peer's administrator",
            Self::Identity => {
                "compare fingerprints with the peer by telephone; the peer must also have added this node"
            }
            Self::Clock => "set this machine's clock by a time server, and ask the peer to look at theirs",
            Self::Policy => "ask the peer's administrator by telephone whether this node is suspended there",
            Self::Version => "one of the two nodes must be brought up to date",
            Self::Disk => "free space in the node's folder, or ask the peer's administrator to",
        }
    }
}

/// How long a NOT_NOW is shown: the longest pause that a peer's word can bring about.
pub const NOT_NOW_HOLDS: Duration = Duration::from_secs(300);

/// Why an attempt or a message stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// When it was met.
    pub at: Millis,
    /// Where.
    pub layer: Layer,
    /// Why, in words.
    pub why: String,
}

/// How things stand with one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStanding {
    /// Both Hellos are compared: messages can pass.
    pub up: bool,
    /// Since when that is so, or not.
    pub since: Millis,
    /// The last thing that stood in the way; forgotten when the peer is up.
    pub obstacle: Option<Obstacle>,
    /// When the peer last seemed to run twice.
    pub second_instance: Option<Millis>,
    /// When the peer last said that this node seems to run twice. Being up does not end it: the peer says it after that.
    pub said_second_instance: Option<Millis>,
    /// What the peer said was not possible now, and when.
    pub not_now: Option<(Millis, NotNowReason)>,
    /// The newest fault in words, and when.
    pub fault: Option<(Millis, String)>,
    /// Its clock minus ours, milliseconds, as of the last HELLO.
    pub clock_offset_ms: Option<i64>,
}

/// How things stand.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What the journal says of the disk; `None`: nothing since the start.
    pub disk: Option<Condition>,
    /// Per peer.
    pub peers: BTreeMap<NodeName, PeerStanding>,
    /// Peers whose introduction was left out, with the reason.
    pub left_out: Vec<String>,
    /// Bodies that cannot be opened any more, since the start.
    pub bodies_lost: u64,
    /// Damage in the journal that was found at the start, in words.
    pub damages: Vec<String>,
    /// What the last verification found, in words; a later one that finds nothing ends it.
    pub found: Vec<String>,
}

impl PeerStanding {
    /// What the peer last said was not possible now, while that can still be so.
    pub fn not_now_still(&self, now: Millis) -> Option<NotNowReason> {
        self.not_now.filter(|(at, _)| is_fresh(now, *at)).map(|(_, reason)| reason)
    }
}

/// Whether what was said at a time can still be so.
pub fn is_fresh(now: Millis, at: Millis) -> bool {
    now.since(at) <= NOT_NOW_HOLDS
}

impl Standing {
    /// How things stand with `peer`.
    pub fn peer(&mut self, peer: NodeName) -> &mut PeerStanding {
        self.peers.entry(peer).or_default()
    }

    /// An attempt to reach a peer did not succeed.
    pub fn obstacle(&mut self, now: Millis, peer: NodeName, layer: Layer, why: String) {
        self.peer(peer).obstacle = Some(Obstacle { at: now, layer, why });
    }

    /// Takes in a notice of the core.
    pub fn note(&mut self, now: Millis, notice: &Notice) {
        match notice {
            Notice::Up { peer, clock_offset_ms } => {
                let peer = self.peer(*peer);
                (peer.up, peer.since, peer.obstacle, peer.not_now) = (true, now, None, None);
                peer.clock_offset_ms = Some(*clock_offset_ms);
            }
            Notice::Down { peer } => {
                let peer = self.peer(*peer);
                (peer.up, peer.since) = (false, now);
            }
            Notice::SecondInstance { peer } => self.peer(*peer).second_instance = Some(now),
            Notice::NotNow { peer, reason } => {
                self.peer(*peer).not_now = Some((now, *reason));
                if *reason == NotNowReason::SecondInstance {
                    self.peer(*peer).said_second_instance = Some(now);
                }
                if let Some(layer) = layer_of(*reason) {
                    let why = format!("{peer} says: not now ({})", words(*reason));
                    self.obstacle(now, *peer, layer, why);
                }
            }
            Notice::Fault { peer, found_here, code, index } => {
                let side = if *found_here { "in what came from it" } else { "in what this node sent" };
                self.peer(*peer).fault = Some((now, format!("{code:?} {side}, at entry {index}")));
            }
            Notice::OwnDamage { origin } => {
                let what =
                    format!("what this node has written into {origin} cannot be read any more; that log stands still");
                if !self.damages.contains(&what) {
                    self.damages.push(what);
                }
            }
            // The core's own report tells of these.
            Notice::Fenced { .. }
            | Notice::Frozen { .. }
            | Notice::VolumeOpened { .. }
            | Notice::Behind { .. }
            | Notice::RefusedByPeer { .. }
            | Notice::RefusedHere { .. }
            | Notice::HeldByPeer { .. } => {}
        }
    }
}

/// The layer at which a NOT_NOW stops a message; `None` where it passes by itself.
fn layer_of(reason: NotNowReason) -> Option<Layer> {
    match reason {
        NotNowReason::Disk => Some(Layer::Disk),
        NotNowReason::Clock => Some(Layer::Clock),
        NotNowReason::Restricted => Some(Layer::Identity),
        NotNowReason::Quota | NotNowReason::Frozen | NotNowReason::SecondInstance => Some(Layer::Policy),
        NotNowReason::Busy | NotNowReason::Behind | NotNowReason::Unknown => None,
    }
}

/// A NOT_NOW in words.
pub fn words(reason: NotNowReason) -> &'static str {
    match reason {
        NotNowReason::Disk => "its disk is full",
        NotNowReason::Quota => "a quota there is used up",
        NotNowReason::Busy => "it is busy",
        NotNowReason::Behind => "it is fetching its own history",
        NotNowReason::Restricted => "a certificate or revocation list has expired",
        NotNowReason::Frozen => "there are two histories; people on both sides must agree to go on",
        NotNowReason::SecondInstance => "two instances of one node are alive",
        NotNowReason::Clock => "the clocks differ too much",
        NotNowReason::Unknown => "for a reason that this version does not know",
    }
}

/// Writes the log line of a notice, at the level that an operator should see it.
pub fn log(notice: &Notice) {
    match notice {
        Notice::Up { peer, clock_offset_ms } => tracing::info!(%peer, clock_offset_ms, "up: messages can pass"),
        Notice::Down { peer } => tracing::info!(%peer, "down: no connection"),
        Notice::Fenced { peer } => tracing::error!(%peer, "fenced: another instance has spoken under this node's keys"),
        Notice::SecondInstance { peer } => tracing::warn!(%peer, "the peer seems to run twice"),
        Notice::Frozen { peer, own_log } => {
            tracing::warn!(%peer, own_log, "two histories; the usual cause is a restored backup; people must agree");
        }
        Notice::OwnDamage { origin } => tracing::error!(%origin, "own damage: the journal cannot give back this log"),
        Notice::VolumeOpened { origin } => tracing::info!(%origin, "a new volume was opened"),
        Notice::Behind { origin } => tracing::warn!(%origin, "the peer holds more than this node remembers; fetching"),
        Notice::NotNow { peer, reason } => tracing::info!(%peer, reason = words(*reason), "the peer says: not now"),
        Notice::Fault { peer, found_here, code, index } => {
            tracing::warn!(%peer, found_here, ?code, index, "a push was not taken");
        }
        Notice::RefusedByPeer { peer, target, code } => {
            tracing::info!(%peer, volume = target.volume, index = target.index, code, "the peer did not accept an entry");
        }
        Notice::RefusedHere { place, code } => {
            tracing::info!(peer = %place.peer, index = place.index, %code, "an entry was not accepted here");
        }
        Notice::HeldByPeer { peer, target } => {
            tracing::debug!(%peer, volume = target.volume, index = target.index, "the peer holds all enclosures");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_in_the_way_is_forgotten_when_the_peer_is_up() {
        let peer = "XB".parse().unwrap();
        let mut standing = Standing::default();
        standing.obstacle(Millis(1), peer, Layer::Udp, "nothing came back".into());
        standing.note(Millis(2), &Notice::NotNow { peer, reason: NotNowReason::Disk });
        assert_eq!(standing.peer(peer).obstacle.as_ref().map(|obstacle| obstacle.layer), Some(Layer::Disk));
        standing.note(Millis(3), &Notice::Up { peer, clock_offset_ms: -7 });
        let now = standing.peer(peer);
        assert_eq!((now.up, now.since, now.clock_offset_ms), (true, Millis(3), Some(-7)));
        assert!(now.obstacle.is_none() && now.not_now.is_none());
        standing.note(Millis(4), &Notice::Down { peer });
        assert!(!standing.peer(peer).up);
    }

    #[test]
    fn a_busy_peer_is_no_obstacle() {
        let peer = "XB".parse().unwrap();
        let mut standing = Standing::default();
        standing.note(Millis(1), &Notice::NotNow { peer, reason: NotNowReason::Busy });
        assert!(standing.peer(peer).obstacle.is_none());
    }
}
