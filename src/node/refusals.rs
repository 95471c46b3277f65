//! Connections that were refused for their certificate, in the journal and counted: with the reason, which the peer never
//! hears, and not more often than a stranger may fill a journal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::clock::Clock;
use super::order::Order;
use crate::exchange::Command;
use crate::identity::{Direction, IdentityRefusal, RefusalLog};
use crate::name::{Millis, NodeName};

/// Refusals that are journalled in one [`SPAN`]; the rest is counted and named with the next one.
pub const MAX_PER_SPAN: u32 = 20;

/// 20 records of some 200 bytes an hour are 100 KiB a day at the worst.
pub const SPAN: Duration = Duration::from_secs(3600);

/// Hears of refusals from the TLS library.
pub(super) struct Refusals {
    orders: UnboundedSender<Order>,
    clock: Clock,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    since: Millis,
    written: u32,
    passed_over: u64,
}

impl Kept {
    /// Whether a refusal at `now` is journalled; then also how many were not since the last one that was.
    fn take(&mut self, now: Millis) -> Option<u64> {
        // A clock that was set back begins a new span too.
        if now < self.since || now.since(self.since) >= SPAN {
            (self.since, self.written) = (now, 0);
        }
        if self.written == MAX_PER_SPAN {
            self.passed_over += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.passed_over))
    }
}

impl Refusals {
    pub(super) fn new(orders: UnboundedSender<Order>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { orders, clock, kept: Mutex::default() })
    }
}

impl RefusalLog for Refusals {
    fn refused(&self, direction: Direction, claimed: Option<NodeName>, reason: &IdentityRefusal) {
        let passed_over = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take(self.clock.now());
        let Some(passed_over) = passed_over else { return };
        let who = claimed.map_or_else(|| "nobody".to_owned(), |name| name.to_string());
        let mut text = format!("{direction}; the certificate claims {who}: {reason}");
        if passed_over > 0 {
            text.push_str(&format!(" (and {passed_over} more since the last such record)"));
        }
        tracing::debug!(%direction, who, %reason, "a connection was refused");
        // The claim is not proven, so the record is filed under no peer.
        let note = Command::Note { subject: "refused-connection".into(), peer: None, text, officer: 0 };
        let _ = self.orders.send(Order::Command(Box::new(note), None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_at_the_limit_are_journalled_and_one_over_is_counted_with_the_next() {
        let mut kept = Kept::default();
        let now = Millis(10_000_000);
        for _ in 0..MAX_PER_SPAN {
            assert_eq!(kept.take(now), Some(0));
        }
        assert_eq!(kept.take(now), None);
        assert_eq!(kept.take(now), None);
        assert_eq!(kept.take(now.after(SPAN)), Some(2));
        assert_eq!(kept.take(Millis(1)), Some(0), "a clock that was set back");
    }
}
