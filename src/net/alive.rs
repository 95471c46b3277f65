//! Whether the other side of a connection is still there: a packet that has to be answered was sent, and for some round
//! trips nothing at all came back.
//!
//! QUIC's own idle timeout must be long enough for the worst path; this one follows the round trip of each path. It costs
//! no packet of its own: what asks is what is sent anyway (pushes, probes, QUIC's signs of life and its repetitions).

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::endpoint::Net;
use super::event::NetEvent;
use super::layer::{Ended, EndedBy, Layer};

/// How often connections are looked at while all are idle or answered. One look at 200 of them takes a millisecond.
const LOOK: Duration = Duration::from_secs(1);

/// … while one of them waits for an answer.
const LOOK_CLOSELY: Duration = Duration::from_millis(250);

/// After this silence nothing new is appended: what is not in the log can still be cancelled and can still expire.
const QUIET: Duration = Duration::from_secs(1);

/// The same in round trips: QUIC repeats a lost packet after little more than one.
const QUIET_ROUND_TRIPS: u32 = 3;

/// After this silence the other side is gone: QUIC has repeated itself seven times on a path of 100 ms.
const GONE: Duration = Duration::from_secs(4);

/// The same in round trips: QUIC has sent seven packets by then, and at 5 % loss each way one connection in ten million
/// is given up wrongly.
const GONE_ROUND_TRIPS: u32 = 9;

/// However long a round trip seems to take, nobody waits longer; QUIC's idle timeout lies above it.
pub(super) const GONE_AT_MOST: Duration = Duration::from_secs(20);

/// What QUIC has counted on a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Datagrams received.
    received: u64,
    /// Frames sent that the other side has to answer with a packet.
    asked: u64,
    /// The round trip, smoothed.
    round_trip: Duration,
}

impl Seen {
    fn of(quic: &quinn::Connection) -> Self {
        let stats = quic.stats();
        let sent = &stats.frame_tx;
        // QUIC repeats itself with IMMEDIATE_ACK alone where all that it sent was answered but for the last words.
        let asked =
            sent.ping + sent.immediate_ack + sent.stream + sent.reset_stream + sent.stop_sending + sent.max_data;
        Self { received: stats.udp_rx.datagrams, asked, round_trip: stats.path.rtt }
    }
}

/// What a silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Silence {
    /// Nothing was asked, or something came.
    None,
    /// An answer is due.
    Short,
    /// An answer is overdue.
    Long,
    /// The other side is gone.
    Gone,
}

/// What is remembered of a connection between two looks.
#[derive(Debug, Default)]
pub(super) struct Watch {
    received: u64,
    asked: u64,
    silent: Duration,
}

impl Watch {
    /// Takes in what was counted since the last look, `passed` ago.
    fn look(&mut self, seen: Seen, passed: Duration) -> Silence {
        if seen.received != self.received {
            // What was sent in the same span may have been answered by it; QUIC repeats what was not.
            (self.received, self.asked, self.silent) = (seen.received, seen.asked, Duration::ZERO);
            return Silence::None;
        }
        if seen.asked == self.asked && self.silent.is_zero() {
            return Silence::None;
        }
        self.asked = seen.asked;
        // A node that was itself stopped for a while has not listened meanwhile.
        self.silent += passed.min(LOOK_CLOSELY * 2);
        let after = |least: Duration, round_trips: u32| least.max(seen.round_trip * round_trips).min(GONE_AT_MOST);
        match self.silent {
            silent if silent >= after(GONE, GONE_ROUND_TRIPS) => Silence::Gone,
            silent if silent >= after(QUIET, QUIET_ROUND_TRIPS) => Silence::Long,
            _ => Silence::Short,
        }
    }
}

/// Looks at every connection until the network ends.
pub(super) async fn watch(net: Weak<Net>) {
    let (mut last, mut pause) = (Instant::now(), LOOK);
    loop {
        tokio::time::sleep(pause).await;
        let Some(net) = net.upgrade() else { return };
        let passed = last.elapsed();
        last = Instant::now();
        let mut longest = Silence::None;
        for conn in net.connections() {
            longest = longest.max(look(&conn, passed).await);
        }
        pause = if longest == Silence::None { LOOK } else { LOOK_CLOSELY };
    }
}

async fn look(conn: &Arc<Connection>, passed: Duration) -> Silence {
    let (silence, silent) = {
        let mut watch = conn.watch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let silence = watch.look(Seen::of(&conn.quic), passed);
        (silence, watch.silent)
    };
    let overdue = silence >= Silence::Long;
    if conn.overdue.swap(overdue, std::sync::atomic::Ordering::Relaxed) != overdue {
        conn.report(NetEvent::Silent { conn: conn.id, silent: overdue }).await;
    }
    if silence == Silence::Gone {
        let why = format!("the other side was asked for {} s and answered nothing", silent.as_secs());
        conn.end(Ended { by: EndedBy::Path, code: None, layer: Layer::Udp, why });
    }
    silence
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every quarter of a second at a connection that asks at the given looks and hears at others; when it was
    /// given up.
    fn gone_after(round_trip: Duration, asks: &[u64], hears: &[u64], looks: u64) -> Option<u64> {
        let (mut watch, mut seen) = (Watch::default(), Seen { round_trip, ..Seen::default() });
        (1..=looks).find(|at| {
            seen.asked += u64::from(asks.contains(at));
            seen.received += u64::from(hears.contains(at));
            watch.look(seen, LOOK_CLOSELY) == Silence::Gone
        })
    }

    #[test]
    fn silence_is_nothing_where_nothing_was_asked() {
        assert_eq!(gone_after(Duration::ZERO, &[], &[1], 10_000), None);
    }

    #[test]
    fn a_question_without_an_answer_ends_after_four_seconds_and_one_look_less_does_not() {
        assert_eq!(gone_after(Duration::from_millis(1), &[2], &[1], 1_000), Some(17));
        assert_eq!(gone_after(Duration::from_millis(1), &[2], &[1, 17], 1_000), None);
    }

    #[test]
    fn a_long_round_trip_is_given_nine_of_itself_and_no_more_than_the_most() {
        let gone = gone_after(Duration::from_millis(1_400), &[2], &[1], 1_000);
        assert_eq!(gone, Some(2 + 50), "12.6 s in looks of 250 ms");
        let gone = gone_after(Duration::from_secs(9), &[2], &[1], 1_000);
        assert_eq!(gone, Some(1 + 80), "20 s");
    }

    #[test]
    fn an_answer_in_the_same_span_as_the_question_counts_and_repetitions_do_not_prolong_the_silence() {
        assert_eq!(gone_after(Duration::ZERO, &[2], &[1, 2], 1_000), None);
        let asks: Vec<u64> = (2..1_000).collect();
        assert_eq!(gone_after(Duration::ZERO, &asks, &[1], 1_000), Some(17));
    }

    #[test]
    fn a_node_that_was_stopped_itself_does_not_blame_the_peer() {
        let mut watch = Watch::default();
        let seen = Seen { received: 0, asked: 1, round_trip: Duration::from_millis(1) };
        assert_eq!(watch.look(seen, Duration::from_secs(3_600)), Silence::Short);
    }

    #[test]
    fn the_longest_silence_lies_below_the_idle_timeout_of_quic() {
        assert!(GONE_AT_MOST < super::super::Limits::default().idle);
    }
}
