//! How things stand with the disk and with each peer, as far as notices and attempts have told; for `status`, `ping` and
//! the log lines. Nothing of the exchange is decided from it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::obstacle::{Layer, Obstacle};
use crate::exchange::{CloseCode, Notice};
use crate::journal::Condition;
use crate::name::{Millis, NodeName};
use crate::wire::NotNowReason;

/// How long a NOT_NOW is shown: the longest pause that a peer's word can bring about.
pub const NOT_NOW_HOLDS: Duration = Duration::from_secs(300);

/// After a fault with a peer the next ones within this time are no news: the peer decides how many there are.
pub const FAULT_QUIET: Duration = Duration::from_secs(10);

/// How things stand with one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStanding {
    /// Both Hellos are compared: messages can pass.
    pub up: bool,
    /// Since when that is so, or not.
    pub since: Millis,
    /// The last thing that stood in the way; forgotten when the peer is up.
    pub obstacle: Option<Obstacle>,
    /// The last thing that the peer said when it closed, where that still explains something; forgotten when it is up.
    pub said: Option<(Millis, CloseCode)>,
    /// Attempts to reach it that have ended without success, since the start.
    pub attempts: u64,
    /// When the peer last seemed to run twice.
    pub second_instance: Option<Millis>,
    /// When the peer last said that this node seems to run twice. Being up does not end it: the peer says it after that.
    pub said_second_instance: Option<Millis>,
    /// What the peer said was not possible now, and when.
    pub not_now: Option<(Millis, NotNowReason)>,
    /// The newest fault in words, and when.
    pub fault: Option<(Millis, String)>,
    /// It holds a log of this node under keys that are not here, and a person must say what to do.
    pub former_keys: bool,
    /// Its clock minus ours, milliseconds, as of the last HELLO.
    pub clock_offset_ms: Option<i64>,
}

/// How things stand.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What the journal says of the disk, and since when; `None`: nothing since the start.
    pub disk: Option<(Millis, Condition)>,
    /// Per peer.
    pub peers: BTreeMap<NodeName, PeerStanding>,
    /// Peers whose introduction was left out, with the reason.
    pub left_out: Vec<String>,
    /// Bodies that cannot be opened any more, since the start.
    pub bodies_lost: u64,
    /// Damage in the journal that was found at the start, in words.
    pub damages: Vec<String>,
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

    /// A connection with a peer broke.
    pub fn broke(&mut self, now: Millis, peer: NodeName, layer: Layer, why: String) {
        self.peer(peer).obstacle = Some(Obstacle::new(now, peer, layer, why));
    }

    /// An attempt to reach a peer did not succeed.
    pub fn attempt_failed(&mut self, now: Millis, peer: NodeName, layer: Layer, why: String) {
        self.broke(now, peer, layer, why);
        self.peer(peer).attempts += 1;
    }

    /// The peer said why it closes a connection.
    pub fn said(&mut self, now: Millis, peer: NodeName, code: CloseCode) {
        if matches!(code, CloseCode::GoingDown | CloseCode::SuspendedOrUnknown | CloseCode::Revoked) {
            self.peer(peer).said = Some((now, code));
        }
    }

    /// Whether a notice deserves a line of its own: what a peer can say over and over again is told once in a while.
    pub fn is_news(&self, now: Millis, notice: &Notice) -> bool {
        let known = |peer: &NodeName| self.peers.get(peer);
        match notice {
            Notice::NotNow { peer, reason } => {
                known(peer).and_then(|peer| peer.not_now).filter(|(at, _)| is_fresh(now, *at)).map(|it| it.1)
                    != Some(*reason)
            }
            Notice::Fault { peer, .. } => {
                let last = known(peer).and_then(|peer| peer.fault.as_ref()).map(|(at, _)| *at);
                last.is_none_or(|last| now.since(last) > FAULT_QUIET)
            }
            _ => true,
        }
    }

    /// Takes in a notice of the core.
    pub fn note(&mut self, now: Millis, notice: &Notice) {
        match notice {
            Notice::Up { peer, clock_offset_ms } => {
                let peer = self.peer(*peer);
                if !peer.up {
                    peer.since = now;
                }
                (peer.up, peer.obstacle, peer.said, peer.not_now, peer.fault) = (true, None, None, None, None);
                peer.clock_offset_ms = Some(*clock_offset_ms);
                peer.former_keys = false;
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
            }
            Notice::Fault { peer, found_here, code, index } => {
                let side = if *found_here { "in what came from it" } else { "in what this node sent" };
                self.peer(*peer).fault = Some((now, format!("{code:?} {side}, at entry {index}")));
            }
            Notice::FormerKeys { origin } => {
                self.peer(origin.to).former_keys = true;
            }
            Notice::OwnDamage { origin } => {
                let what =
                    format!("what this node has written into {origin} cannot be read any more; that log stands still");
                if !self.damages.contains(&what) {
                    self.damages.push(what);
                }
            }
            Notice::TakesAgain { peer } => self.peer(*peer).not_now = None,
            // The core's own report tells of these.
            Notice::SaidNotNow { .. }
            | Notice::Fenced { .. }
            | Notice::Frozen { .. }
            | Notice::VolumeOpened { .. }
            | Notice::Behind { .. }
            | Notice::RefusedByPeer { .. }
            | Notice::RefusedHere { .. }
            | Notice::HeldByPeer { .. } => {}
        }
    }
}

/// A NOT_NOW in words.
pub fn words(reason: NotNowReason) -> &'static str {
    match reason {
        NotNowReason::Disk => "its disk is full",
        NotNowReason::Quota => {
            "it has taken as much from this node as it takes in a day (UTC), or waits for its receipts; IMMEDIATE and \
             FLASH still pass"
        }
        NotNowReason::Busy => "it is busy",
        NotNowReason::Behind => "it is fetching its own history",
        NotNowReason::Restricted => "a certificate or revocation list has expired",
        NotNowReason::Frozen => "there are two histories; people on both sides must agree to go on",
        NotNowReason::SecondInstance => "two instances of one node are alive",
        NotNowReason::Clock => "the clocks differ too much",
        NotNowReason::Unknown => "for a reason that this version does not know",
    }
}

/// What this node says to a peer, in words for its own operator.
fn own_words(reason: NotNowReason) -> &'static str {
    match reason {
        NotNowReason::Disk => "this node's disk is full",
        NotNowReason::Quota => "it has sent as much as is taken from it in a day (UTC), or takes no answers",
        NotNowReason::Frozen => "people must agree first, or this node is fenced",
        NotNowReason::Restricted => "it is no correspondent now",
        _ => "it passes by itself",
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
        Notice::FormerKeys { origin } => {
            tracing::warn!(%origin, "the peer holds this log under keys that are not here");
        }
        Notice::TakesAgain { peer } => tracing::info!(%peer, "the peer takes messages again"),
        Notice::SaidNotNow { peer, reason } => {
            tracing::warn!(%peer, reason = own_words(*reason), "the peer is told: not now");
        }
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
        standing.attempt_failed(Millis(1), peer, Layer::Udp, "nothing came back".into());
        standing.said(Millis(1), peer, CloseCode::GoingDown);
        standing.note(Millis(2), &Notice::NotNow { peer, reason: NotNowReason::Disk });
        standing.note(Millis(3), &Notice::Up { peer, clock_offset_ms: -7 });
        let now = standing.peer(peer);
        assert_eq!((now.up, now.since, now.clock_offset_ms), (true, Millis(3), Some(-7)));
        assert!(now.obstacle.is_none() && now.not_now.is_none() && now.said.is_none());
        standing.note(Millis(4), &Notice::Down { peer });
        assert!(!standing.peer(peer).up);
    }

    #[test]
    fn what_a_peer_says_over_and_over_again_is_told_once() {
        let peer = "XB".parse().unwrap();
        let mut standing = Standing::default();
        let says = |reason| Notice::NotNow { peer, reason };
        assert!(standing.is_news(Millis(1), &says(NotNowReason::Quota)));
        standing.note(Millis(1), &says(NotNowReason::Quota));
        assert!(!standing.is_news(Millis(2), &says(NotNowReason::Quota)));
        assert!(standing.is_news(Millis(2), &says(NotNowReason::Disk)));
        standing.note(Millis(3), &Notice::TakesAgain { peer });
        assert!(standing.is_news(Millis(4), &says(NotNowReason::Quota)));
        let fault = Notice::Fault { peer, found_here: true, code: crate::wire::FaultCode::Gap, index: 1 };
        assert!(standing.is_news(Millis(5), &fault));
        standing.note(Millis(5), &fault);
        assert!(!standing.is_news(Millis(5).after(FAULT_QUIET), &fault));
        assert!(standing.is_news(Millis(6).after(FAULT_QUIET), &fault));
    }
}
