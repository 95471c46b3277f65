//! Ping: first a probe (does the path carry, how far apart are the clocks), then an entry that travels the whole real
//! path. Green means that messages arrive; otherwise the first layer that stopped it is named.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Inner;
use crate::api::{Caller, Failure, PingView, ProbeView, Reply};
use crate::exchange::Drop;
use crate::exchange::{Answer, Command, ConnectionState, Denied, NewItem, PeerReport, Wait};
use crate::name::{EntryId, Kind, Millis, NodeName, Pap, Precedence, Tlp};
use crate::wire::{NotNowReason, PROTOCOL_VERSION};

use super::super::clock::days_left;
use super::super::obstacle::{Layer, Obstacle, explain};
use super::peers::certificate_until;

/// The longest that a ping waits.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// How often a connection that is being made is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const DOING: &str = "pinging a peer";

/// Where a ping stopped.
type Stopped = Obstacle;

/// What ended the wait for a receipt.
enum Came {
    Answer(Answer),
    /// The time is up, or no receipt will come in it.
    Nothing,
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
            (view.stopped_at, view.why, view.todo) = (stopped.layer.word().to_owned(), stopped.why, stopped.todo);
        }
        Ok(Reply::Ping(Box::new(view)))
    }

    /// Waits for a connection over which both Hellos are compared, and probes it. Ends early where an attempt that was
    /// made meanwhile has failed: the next one would wait for the same.
    async fn probe_path(&self, peer: NodeName, deadline: Instant) -> Result<Result<ProbeView, Stopped>, Failure> {
        let attempts = self.attempts(peer);
        self.node.command_and_go_on(Command::Retry { peer });
        let (heard, versions) = loop {
            let report = self.report(peer).await?;
            let conn = report.as_ref().and_then(|report| report.conn);
            let over = Instant::now() >= deadline || self.attempts(peer) != attempts && conn.is_none();
            if over || report.as_ref().is_none_or(is_hopeless) {
                return Ok(Err(self.obstacle(peer, report.as_ref())));
            }
            let Some(conn) = conn else {
                tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_AGAIN)).await;
                continue;
            };
            let probe = self.node.probe(conn).map_err(super::stopping)?;
            // A probe ends without an answer when its connection ends; then a new one is waited for.
            if let Ok(Ok(heard)) = timeout_at(deadline, probe).await {
                break (heard, report.and_then(|report| report.versions));
            }
        };
        let now = self.node.clock.now();
        let until = certificate_until(&self.node.anchors.load(), peer).unwrap_or_default();
        Ok(Ok(ProbeView {
            round_trip_us: u64::try_from(heard.round_trip.as_micros()).unwrap_or(u64::MAX),
            clock_offset_ms: heard.clock_offset_ms,
            versions: versions.unwrap_or((PROTOCOL_VERSION, PROTOCOL_VERSION)),
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
        let stopped = match self.wait_for_receipt(peer, deadline, answer).await? {
            Came::Answer(Answer::Delivered { .. }) => return Ok(Ok(started.elapsed())),
            Came::Answer(Answer::Denied(Denied::DiskFull)) => {
                let why = "this node's disk is full; nothing new is taken";
                let todo = "free space on the file system of this node's folder; it goes on by itself".to_owned();
                Obstacle { todo, ..Obstacle::new(self.node.clock.now(), peer, Layer::Disk, why) }
            }
            Came::Answer(Answer::Denied(denied)) => {
                Obstacle::new(self.node.clock.now(), peer, Layer::Policy, denied.to_string())
            }
            Came::Answer(Answer::Done | Answer::Queued { .. } | Answer::Ended { .. }) | Came::Nothing => {
                let report = self.report(peer).await?;
                self.obstacle(peer, report.as_ref())
            }
        };
        // Nobody waits for it any more; where it is in the log already, nothing happens.
        self.node.command_and_go_on(Command::Drop { peer, id, why: Drop::Cancelled, officer });
        Ok(Err(stopped))
    }

    /// Waits for the receipt of a PING, and no longer than it can come.
    async fn wait_for_receipt(
        &self,
        peer: NodeName,
        deadline: Instant,
        mut answer: oneshot::Receiver<Answer>,
    ) -> Result<Came, Failure> {
        let (attempts, not_now) = (self.attempts(peer), self.not_now(peer));
        loop {
            match timeout_at(deadline.min(Instant::now() + LOOK_AGAIN), &mut answer).await {
                Ok(answer) => return answer.map(Came::Answer).map_err(|_| super::stopping(super::Stopped)),
                Err(_) if Instant::now() >= deadline => return Ok(Came::Nothing),
                Err(_) => {}
            }
            let report = self.report(peer).await?;
            let lost = self.attempts(peer) != attempts && report.as_ref().is_some_and(|report| report.conn.is_none());
            // Busy and behind pass by themselves, in less time than a ping has.
            let told = self.not_now(peer).filter(|told| Some(*told) != not_now).is_some_and(|(_, reason)| {
                !matches!(reason, NotNowReason::Busy | NotNowReason::Behind | NotNowReason::SecondInstance)
            });
            if lost || told || report.as_ref().is_none_or(is_hopeless) {
                return Ok(Came::Nothing);
            }
        }
    }

    async fn report(&self, peer: NodeName) -> Result<Option<PeerReport>, Failure> {
        self.node.ask(move |core| core.report(peer)).await.map_err(super::stopping)
    }

    /// How many attempts to reach a peer have failed so far.
    fn attempts(&self, peer: NodeName) -> u64 {
        self.node.standing().peer(peer).attempts
    }

    fn not_now(&self, peer: NodeName) -> Option<(Millis, NotNowReason)> {
        self.node.standing().peer(peer).not_now
    }

    /// The first layer that is known to stop messages to this peer, now that one was not delivered.
    fn obstacle(&self, peer: NodeName, report: Option<&PeerReport>) -> Obstacle {
        let now = self.node.clock.now();
        let Some(report) = report else {
            return Obstacle::new(now, peer, Layer::Policy, format!("{peer} is not a peer"));
        };
        let standing = self.node.standing().peer(peer).clone();
        explain(now, peer, report, &standing).unwrap_or_else(|| match report.conn {
            Some(_) => {
                let why = format!("{peer} is connected and its node answers, but gave no receipt in time");
                Obstacle::new(now, peer, Layer::Exchange, why)
            }
            None => {
                let why = format!("no connection with {peer} came about in the time given");
                Obstacle::new(now, peer, Layer::Udp, why)
            }
        })
    }
}

/// Whether waiting brings nothing: people have to act first.
fn is_hopeless(report: &PeerReport) -> bool {
    report.status != crate::exchange::PeerStatus::Active
        || report.own_frozen
        || report.connection == ConnectionState::Restricted
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
