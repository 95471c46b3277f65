//! Says in words why messages to a peer do not pass: the first layer that stops them, what is known of it, and what a
//! person can do. Nothing of the exchange is decided from it.

use super::standing::{NOT_NOW_HOLDS, PeerStanding, words};
use crate::exchange::{CloseCode, ConnectionState, PeerReport, PeerStatus};
use crate::name::{Millis, NodeName};
use crate::wire::NotNowReason;

/// The layers between a command and the peer's disk, in the order in which a message passes them.
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
    /// A rule or a decision of one of the two States.
    Policy,
    /// No common version of the protocol.
    Version,
    /// The two copies of the logs, or what was said about them, do not fit.
    Exchange,
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
            Self::Exchange => "exchange",
            Self::Disk => "disk",
        }
    }

    /// What a person can do about it.
    fn todo(self, peer: NodeName) -> String {
        match self {
            Self::Address => format!(
                "compare the address with {peer}'s introduction or its administrator; it can be set under [peers] in \
                 verbale.toml, then reload (SIGHUP)"
            ),
            Self::Udp => format!(
                "ask {peer}'s administrator by telephone whether its node runs; compare address and port (they can be \
                 set under [peers] in verbale.toml); see that both firewalls let that UDP port through, both ways"
            ),
            Self::Quic => format!(
                "see that the port is {peer}'s verbale port, and that nothing on the way changes UDP packets or drops \
                 those of 1,200 bytes and more"
            ),
            Self::Tls => {
                format!("compare the versions of the program and the setting `pq` with {peer}'s administrator")
            }
            Self::Identity => format!(
                "compare address and fingerprints with {peer} by telephone; it must also have added this node (`verbale peer add` \
                 there) and not have suspended it (`verbale peer list` there)"
            ),
            Self::Clock => format!("set this machine's clock by a time server, and ask {peer} to look at its own"),
            Self::Policy => format!("ask {peer}'s desk by telephone; `verbale peer list` there shows its decision"),
            Self::Version => format!("one of the two nodes must be brought up to date; ask {peer}'s administrator"),
            Self::Exchange => format!("see `verbale status` here, and ask {peer}'s administrator to do the same there"),
            Self::Disk => format!(
                "ask {peer}'s administrator by telephone to free space; messages wait and go by \
                                   themselves"
            ),
        }
    }
}

/// Why an attempt or a message stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Since when it is known.
    pub at: Millis,
    /// Where.
    pub layer: Layer,
    /// Why, in words.
    pub why: String,
    /// What to do.
    pub todo: String,
}

impl Obstacle {
    /// With what is to do at that layer.
    pub fn new(at: Millis, peer: NodeName, layer: Layer, why: impl Into<String>) -> Self {
        Self { at, layer, why: why.into(), todo: layer.todo(peer) }
    }

    fn todo(self, todo: impl Into<String>) -> Self {
        Self { todo: todo.into(), ..self }
    }

    /// Where and why, in one line.
    pub fn line(&self) -> String {
        format!("{}: {}", self.layer.word(), self.why)
    }
}

/// What keeps messages from passing to `peer`; `None` where nothing is known to.
pub fn explain(now: Millis, peer: NodeName, report: &PeerReport, standing: &PeerStanding) -> Option<Obstacle> {
    let found = |at, layer, why: String| Some(Obstacle::new(at, peer, layer, why));
    match report.status {
        PeerStatus::Active => {}
        PeerStatus::Suspended => {
            let todo = format!("`verbale peer resume {peer}` ends it; until then messages wait here");
            return found(now, Layer::Policy, format!("{peer} is suspended here")).map(|it| it.todo(todo));
        }
        PeerStatus::Removed => {
            let todo = "`verbale peer add` with its introduction makes it one again";
            return found(now, Layer::Policy, format!("{peer} is no correspondent any more")).map(|it| it.todo(todo));
        }
    }
    if report.own_frozen {
        let which = report.excluded.0.map(|heads| format!(" ({heads}; both are kept)")).unwrap_or_default();
        let why = format!(
            "there are two histories of what this node said to {peer}{which}; the usual cause is a restored backup"
        );
        let todo = format!("speak with {peer} by telephone, then run `verbale peer reopen` on both sides");
        return found(now, Layer::Policy, why).map(|it| it.todo(todo));
    }
    if report.connection == ConnectionState::Stopped && standing.former_keys {
        let why = format!("{peer} holds earlier entries of this node under keys that are not in this folder");
        let todo = "where this State has lost its disk and has new keys: run `verbale recover --from-peers`";
        return found(now, Layer::Exchange, why).map(|it| it.todo(todo));
    }
    match report.connection {
        ConnectionState::Up | ConnectionState::CatchingUp | ConnectionState::Stopped => {
            of_exchange(now, peer, report.connection, standing)
        }
        ConnectionState::Restricted => Some(restricted(now, peer, report)),
        ConnectionState::Down | ConnectionState::Dialling => of_path(peer, standing),
    }
}

/// The peer is connected.
fn of_exchange(now: Millis, peer: NodeName, state: ConnectionState, standing: &PeerStanding) -> Option<Obstacle> {
    let found = |at, layer, why: String| Some(Obstacle::new(at, peer, layer, why));
    if let Some((at, reason)) = standing.not_now.filter(|(at, _)| now.since(*at) <= NOT_NOW_HOLDS) {
        return found(at, layer_of(reason), format!("{peer}'s node says: not now; {}", words(reason)));
    }
    if let Some((at, fault)) = standing.fault.as_ref().filter(|(at, _)| now.since(*at) <= NOT_NOW_HOLDS) {
        return found(*at, Layer::Exchange, format!("a push was not taken: {fault}"));
    }
    match state {
        ConnectionState::CatchingUp => {
            let why = "the two copies of the logs are being brought together".to_owned();
            found(now, Layer::Exchange, why).map(|it| it.todo("nothing; it ends by itself"))
        }
        ConnectionState::Stopped => {
            let why = "the exchange with this peer waits for a person here".to_owned();
            let todo =
                "run `verbale log verify`; if it is red, `verbale recover --from-peers` after a look at the disk";
            found(now, Layer::Exchange, why).map(|it| it.todo(todo))
        }
        _ => None,
    }
}

/// Nothing but trust material may pass.
fn restricted(now: Millis, peer: NodeName, report: &PeerReport) -> Obstacle {
    const DAY_MS: u64 = 86_400_000;
    match report.clock_offset_ms.map(i64::unsigned_abs).filter(|apart| *apart > DAY_MS) {
        Some(apart) => {
            let days = apart / DAY_MS;
            let why = format!("the two clocks are {days} days apart, and by one of them a certificate has expired");
            Obstacle::new(now, peer, Layer::Clock, why)
        }
        None => {
            let why = "a certificate or a revocation list has expired; messages wait until it is renewed";
            let todo = "`verbale status` says whose; the State concerned renews it and hands over its new introduction";
            Obstacle::new(now, peer, Layer::Identity, why).todo(todo)
        }
    }
}

/// There is no connection.
fn of_path(peer: NodeName, standing: &PeerStanding) -> Option<Obstacle> {
    let last = standing.obstacle.as_ref();
    match standing.said {
        // Silence after a farewell is no matter of the network.
        Some((at, CloseCode::GoingDown)) if last.is_none_or(|last| last.layer <= Layer::Udp) => {
            let why = format!("{peer}'s node said at {at} that it is going down, and has not come back since");
            let todo = format!(
                "nothing here: what waits goes out when it is back. If it lasts, ask {peer}'s administrator by telephone"
            );
            Some(Obstacle::new(at, peer, Layer::Udp, why).todo(todo))
        }
        Some((at, CloseCode::SuspendedOrUnknown)) if last.is_none_or(|last| last.layer >= Layer::Identity) => {
            let why = format!("{peer}'s node said at {at} that this node is suspended or not known there");
            let todo = format!("ask {peer}'s desk by telephone; `verbale peer resume` there ends a suspension");
            Some(Obstacle::new(at, peer, Layer::Policy, why).todo(todo))
        }
        Some((at, CloseCode::Revoked)) if last.is_none_or(|last| last.layer >= Layer::Identity) => {
            let why = format!("{peer}'s node said at {at} that it holds this node's certificate for revoked");
            Some(Obstacle::new(at, peer, Layer::Identity, why))
        }
        _ => last.cloned(),
    }
}

/// The layer at which a NOT_NOW stops a message.
fn layer_of(reason: NotNowReason) -> Layer {
    match reason {
        NotNowReason::Disk => Layer::Disk,
        NotNowReason::Clock => Layer::Clock,
        NotNowReason::Restricted => Layer::Identity,
        NotNowReason::Quota | NotNowReason::Frozen | NotNowReason::SecondInstance => Layer::Policy,
        NotNowReason::Busy | NotNowReason::Behind | NotNowReason::Unknown => Layer::Exchange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_000_000_000);

    fn report(connection: ConnectionState) -> PeerReport {
        PeerReport {
            status: PeerStatus::Active,
            connection,
            conn: None,
            own_frozen: false,
            peer_frozen: false,
            excluded: (None, None),
            stored_today: 0,
            quota: 0,
            said_not_now: None,
            queued: 1,
            unreceipted: 0,
            oldest: None,
            own_origin: None,
            own_size: 0,
            own_receipted: 0,
            peer_origin: None,
            peer_size: 0,
            last_heard: None,
            clock_offset_ms: None,
            next_dial: None,
            failures: 0,
            enclosure_limits: None,
            versions: None,
        }
    }

    fn said(report: &PeerReport, standing: &PeerStanding) -> Option<(Layer, String)> {
        let found = explain(NOW, "XB".parse().unwrap(), report, standing)?;
        assert!(!found.todo.is_empty(), "{found:?}");
        Some((found.layer, found.why))
    }

    #[test]
    fn what_a_peer_says_is_not_possible_now_has_its_layer_while_it_is_fresh() {
        let up = report(ConnectionState::Up);
        for (reason, layer) in [
            (NotNowReason::Disk, Layer::Disk),
            (NotNowReason::Clock, Layer::Clock),
            (NotNowReason::Restricted, Layer::Identity),
            (NotNowReason::Quota, Layer::Policy),
            (NotNowReason::Frozen, Layer::Policy),
            (NotNowReason::SecondInstance, Layer::Policy),
            (NotNowReason::Busy, Layer::Exchange),
            (NotNowReason::Unknown, Layer::Exchange),
        ] {
            let standing = |at| PeerStanding { not_now: Some((at, reason)), ..PeerStanding::default() };
            assert_eq!(said(&up, &standing(NOW)).unwrap().0, layer, "{reason:?}");
            let stale = Millis(NOW.0 - 1 - u64::try_from(NOT_NOW_HOLDS.as_millis()).unwrap());
            assert_eq!(said(&up, &standing(stale)), None, "{reason:?}");
        }
        assert_eq!(said(&up, &PeerStanding::default()), None, "nothing is known to stop messages");
    }

    #[test]
    fn an_expired_certificate_is_a_matter_of_clocks_where_these_are_days_apart() {
        let expired = report(ConnectionState::Restricted);
        assert_eq!(said(&expired, &PeerStanding::default()).unwrap().0, Layer::Identity);
        let apart = PeerReport { clock_offset_ms: Some(-3 * 86_400_000), ..expired };
        let (layer, why) = said(&apart, &PeerStanding::default()).unwrap();
        assert!(layer == Layer::Clock && why.contains("3 days apart"), "{why}");
    }

    #[test]
    fn the_last_word_of_a_peer_explains_the_silence_after_it_and_nothing_else() {
        let down = report(ConnectionState::Dialling);
        let standing = |code, layer| PeerStanding {
            said: Some((Millis(7), code)),
            obstacle: Some(Obstacle::new(Millis(9), "XB".parse().unwrap(), layer, "what was met")),
            ..PeerStanding::default()
        };
        let (layer, why) = said(&down, &standing(CloseCode::GoingDown, Layer::Udp)).unwrap();
        assert!(layer == Layer::Udp && why.contains("going down"), "{why}");
        let (layer, why) = said(&down, &standing(CloseCode::GoingDown, Layer::Identity)).unwrap();
        assert!(layer == Layer::Identity && why == "what was met", "another node answers there now: {why}");
        let (layer, why) = said(&down, &standing(CloseCode::SuspendedOrUnknown, Layer::Identity)).unwrap();
        assert!(layer == Layer::Policy && why.contains("suspended"), "{why}");
        let (layer, _) = said(&down, &standing(CloseCode::SuspendedOrUnknown, Layer::Udp)).unwrap();
        assert_eq!(layer, Layer::Udp, "it does not even answer");
        assert_eq!(said(&down, &PeerStanding::default()), None);
    }

    #[test]
    fn two_histories_stop_the_own_log_and_not_the_other() {
        let own = PeerReport { own_frozen: true, ..report(ConnectionState::Up) };
        assert_eq!(said(&own, &PeerStanding::default()).unwrap().0, Layer::Policy);
        let theirs = PeerReport { peer_frozen: true, ..report(ConnectionState::Up) };
        assert_eq!(said(&theirs, &PeerStanding::default()), None);
    }
}
