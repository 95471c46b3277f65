//! Ping: first a probe (does the path carry, how far apart are the clocks), then an entry that travels the whole real
//! path. Green means that messages arrive; otherwise the first layer that stopped it is named.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::Inner;
use crate::api::{Caller, Failure, PingView, ProbeView, Reply};
use crate::exchange::{Answer, Command, ConnectionState, Denied, NewItem, PeerReport, Wait};
use crate::name::{EntryId, Kind, Millis, NodeName, Pap, Precedence, Tlp};
use crate::wire::PROTOCOL_VERSION;

use super::super::clock::days_left;
use super::super::standing::{Layer, words};
use super::peers::certificate_until;

/// The longest that a ping waits.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// How often a connection that is being made is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const DOING: &str = "pinging a peer";

/// Where a ping stopped.
struct Stopped {
    at: &'static str,
    why: String,
    todo: String,
}

impl Stopped {
    fn at(layer: Layer, why: String) -> Self {
        Self { at: layer.word(), why, todo: layer.todo().to_owned() }
    }
}

impl Inner {
    pub(super) async fn ping(
        &self,
        caller: Caller,
        peer: NodeName,
        id: EntryId,
        timeout_ms: u64,
    ) -> Result<Reply, Failure> {
        if self.node.with_roster(|roster| roster.peer(peer).is_none()) {
            return Err(super::unknown_peer(DOING, peer));
        }
        let officer = self.officer(caller).await?;
        let deadline = Instant::now() + Duration::from_millis(timeout_ms).min(MAX_TIMEOUT);
        let mut view = PingView {
            peer,
            probe: None,
            delivered: false,
            delivery_us: None,
            stopped_at: String::new(),
            why: String::new(),
            todo: String::new(),
        };
        let stopped = match self.probe_path(peer, deadline).await? {
            Ok(probe) => {
                view.probe = Some(probe);
                match self.send_ping(peer, id, officer, deadline).await? {
                    Ok(took) => {
                        view.delivered = true;
                        view.delivery_us = Some(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                        None
                    }
                    Err(stopped) => Some(stopped),
                }
            }
            Err(stopped) => Some(stopped),
        };
        if let Some(stopped) = stopped {
            (view.stopped_at, view.why, view.todo) = (stopped.at.to_owned(), stopped.why, stopped.todo);
        }
        Ok(Reply::Ping(Box::new(view)))
    }

    /// Waits for a connection over which both Hellos are compared, and probes it.
    async fn probe_path(&self, peer: NodeName, deadline: Instant) -> Result<Result<ProbeView, Stopped>, Failure> {
        self.node.command_and_go_on(Command::Retry { peer });
        let report = loop {
            let report = self.node.ask(move |core| core.report(peer)).await.map_err(super::stopping)?;
            match report {
                Some(report) if report.conn.is_some() => break report,
                _ if Instant::now() >= deadline => return Ok(Err(self.obstacle(peer, report.as_ref()))),
                _ => tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_AGAIN)).await,
            }
        };
        let Some(conn) = report.conn else { return Ok(Err(self.obstacle(peer, Some(&report)))) };
        let probe = self.node.probe(conn).map_err(super::stopping)?;
        let Ok(Ok(heard)) = timeout_at(deadline, probe).await else {
            let why = format!("the connection with {peer} stands, but a probe was not answered in time");
            return Ok(Err(Stopped::at(Layer::Quic, why)));
        };
        let now = self.node.clock.now();
        let until = certificate_until(&self.node.anchors.load(), peer).unwrap_or_default();
        Ok(Ok(ProbeView {
            round_trip_us: u64::try_from(heard.round_trip.as_micros()).unwrap_or(u64::MAX),
            clock_offset_ms: heard.clock_offset_ms,
            // Both Hellos were compared, so both sides speak it; other versions do not exist yet.
            versions: (PROTOCOL_VERSION, PROTOCOL_VERSION),
            peer_certificate_days: days_left(now, until),
            own_certificate_days: days_left(now, self.node.own_certificate_until()),
        }))
    }

    async fn send_ping(
        &self,
        peer: NodeName,
        id: EntryId,
        officer: u32,
        deadline: Instant,
    ) -> Result<Result<Duration, Stopped>, Failure> {
        let started = Instant::now();
        let left = deadline.saturating_duration_since(started);
        let item = NewItem {
            id,
            kind: Kind::Ping,
            case: None,
            in_reply_to: None,
            precedence: Precedence::Routine,
            tlp: Tlp::AmberStrict,
            pap: Pap::None,
            exercise: self.node.me.state().is_exercise(),
            from_desk: None,
            to_desk: None,
            // A ping that nobody waits for any more must not travel days later.
            expires: Some(self.node.clock.now().after(left)),
            target: None,
            code: 0,
            body: Bytes::new(),
            enclosures: 0,
        };
        let command = Command::Send { peer, item: Box::new(item), officer, wait: Wait::Receipt };
        let answer = self.node.order(command).map_err(super::stopping)?;
        let answer = match timeout_at(deadline, answer).await {
            Ok(answer) => answer.map_err(|_| super::stopping(super::Stopped))?,
            Err(_) => {
                let report = self.node.ask(move |core| core.report(peer)).await.map_err(super::stopping)?;
                return Ok(Err(self.obstacle(peer, report.as_ref())));
            }
        };
        Ok(match answer {
            Answer::Delivered { .. } => Ok(started.elapsed()),
            Answer::Denied(Denied::DiskFull) => Err(Stopped::at(Layer::Disk, "this node's disk is full".to_owned())),
            Answer::Denied(denied) => Err(Stopped::at(Layer::Policy, denied.to_string())),
            Answer::Done | Answer::Queued { .. } | Answer::Ended { .. } => {
                let report = self.node.ask(move |core| core.report(peer)).await.map_err(super::stopping)?;
                Err(self.obstacle(peer, report.as_ref()))
            }
        })
    }

    /// The first layer that is known to stop messages to this peer.
    fn obstacle(&self, peer: NodeName, report: Option<&PeerReport>) -> Stopped {
        let Some(report) = report else { return Stopped::at(Layer::Policy, format!("{peer} is not a peer")) };
        if report.frozen {
            let why = "there are two histories between the two nodes; people on both sides must agree to go on";
            let todo = "speak with the peer by telephone, then run `verbale peer reopen` on both sides";
            return Stopped { at: Layer::Policy.word(), why: why.into(), todo: todo.into() };
        }
        if report.status != crate::exchange::PeerStatus::Active {
            let todo = format!("resume it with `verbale peer resume {peer}`");
            return Stopped { at: Layer::Policy.word(), why: format!("{peer} is not active here"), todo };
        }
        // There is a connection, so whatever stood in its way before is over.
        if report.connection == ConnectionState::Restricted {
            return Stopped::at(Layer::Identity, "a certificate or a revocation list has expired".to_owned());
        }
        let standing = self.node.standing().peers.get(&peer).cloned().unwrap_or_default();
        if let Some(obstacle) = standing.obstacle {
            return Stopped::at(obstacle.layer, obstacle.why);
        }
        if let Some((at, reason)) = standing.not_now {
            return Stopped::at(Layer::Policy, format!("{peer} said at {at}: not now; {}", words(reason)));
        }
        match report.connection {
            ConnectionState::Down | ConnectionState::Dialling | ConnectionState::Restricted => {
                Stopped::at(Layer::Udp, format!("no connection with {peer} came about in time"))
            }
            ConnectionState::Up | ConnectionState::CatchingUp | ConnectionState::Stopped => {
                Stopped::at(Layer::Quic, format!("{peer} is connected, but gave no receipt in time"))
            }
        }
    }
}

/// What a probe has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) struct Heard {
    /// From the probe to its answer.
    pub(in crate::node) round_trip: Duration,
    /// The peer's clock minus ours at half of that, in milliseconds.
    pub(in crate::node) clock_offset_ms: i64,
}

/// Reads an answer: the peer's clock was read about half a round trip ago.
pub(in crate::node) fn heard(now: Millis, round_trip: Duration, clock: Millis) -> Heard {
    let half = i128::try_from(round_trip.as_millis() / 2).unwrap_or(0);
    let offset = i128::from(clock.0) - (i128::from(now.0) - half);
    Heard { round_trip, clock_offset_ms: i64::try_from(offset).unwrap_or(i64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_taken_at_half_of_the_round_trip() {
        let heard = heard(Millis(10_000), Duration::from_millis(600), Millis(9_800));
        assert_eq!(heard.clock_offset_ms, 100);
        let far = super::heard(Millis(0), Duration::ZERO, Millis(u64::MAX));
        assert_eq!(far.clock_offset_ms, i64::MAX);
    }
}
