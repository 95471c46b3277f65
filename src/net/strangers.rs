//! Counts handshakes whose certificate is not yet judged, in all and per prefix, so that strangers cannot use this
//! node up.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Refusals are counted and told at most this often: a stranger must not fill the log.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What strangers have been doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StrangerCount {
    /// Handshakes under way whose certificate is not yet judged.
    pub now: usize,
    /// The most there ever were at once.
    pub peak: usize,
    /// Attempts turned away because of a limit.
    pub turned_away: u64,
    /// Handshakes that came to nothing.
    pub failed: u64,
}

/// The counter, shared by all endpoints of a node.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    total: usize,
    per_prefix: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    prefixes: BTreeMap<IpAddr, usize>,
    count: StrangerCount,
    told: Option<Instant>,
}

/// A handshake under way; counted until dropped.
#[derive(Debug)]
pub(super) struct Knock {
    strangers: Arc<Strangers>,
    prefix: IpAddr,
}

impl Strangers {
    pub(super) fn new(total: usize, per_prefix: usize) -> Arc<Self> {
        Arc::new(Self { total, per_prefix, state: Mutex::default() })
    }

    /// Lets one more handshake begin, unless a limit is reached.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Knock> {
        let prefix = prefix(address);
        let mut state = self.lock();
        let from_here = state.prefixes.get(&prefix).copied().unwrap_or(0);
        if state.count.now >= self.total || from_here >= self.per_prefix {
            state.count.turned_away += 1;
            tell(&mut state);
            return None;
        }
        state.prefixes.insert(prefix, from_here + 1);
        state.count.now += 1;
        state.count.peak = state.count.peak.max(state.count.now);
        Some(Knock { strangers: self.clone(), prefix })
    }

    /// Notes that a handshake came to nothing.
    pub(super) fn failed(&self) {
        let mut state = self.lock();
        state.count.failed += 1;
        tell(&mut state);
    }

    pub(super) fn count(&self) -> StrangerCount {
        self.lock().count
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        let mut state = self.strangers.lock();
        state.count.now -= 1;
        match state.prefixes.get_mut(&self.prefix) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                state.prefixes.remove(&self.prefix);
            }
        }
    }
}

fn tell(state: &mut State) {
    if state.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
        state.told = Some(Instant::now());
        let StrangerCount { turned_away, failed, .. } = state.count;
        tracing::debug!(turned_away, failed, "handshakes of strangers came to nothing (totals since the start)");
    }
}

/// The IPv4 /24 or IPv6 /48 of an address.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_is_stopped_at_its_limit_and_others_are_not() {
        let strangers = Strangers::new(10, 2);
        let one = strangers.enter(ip("192.0.2.1")).unwrap();
        let _two = strangers.enter(ip("192.0.2.200")).unwrap();
        assert!(strangers.enter(ip("192.0.2.7")).is_none());
        let _other = strangers.enter(ip("192.0.3.7")).unwrap();
        drop(one);
        let _again = strangers.enter(ip("192.0.2.7")).unwrap();
        assert_eq!(strangers.count(), StrangerCount { now: 3, peak: 3, turned_away: 1, failed: 0 });
    }

    #[test]
    fn all_together_are_stopped_at_the_total() {
        let strangers = Strangers::new(3, 3);
        let knocks: Vec<_> = (1..=3).map(|n| strangers.enter(ip(&format!("2001:db8:{n}::1")))).collect();
        assert!(knocks.iter().all(Option::is_some));
        assert!(strangers.enter(ip("2001:db8:4::1")).is_none());
        drop(knocks);
        assert!(strangers.enter(ip("2001:db8:4::1")).is_some());
        assert_eq!(strangers.count().now, 0, "a dropped knock is counted no more");
        assert!(strangers.lock().prefixes.is_empty(), "no prefix is remembered after its last handshake");
    }

    #[test]
    fn prefixes_are_a_24_and_a_48_and_mapped_addresses_count_as_ipv4() {
        assert_eq!(prefix(ip("198.51.100.77")), ip("198.51.100.0"));
        assert_eq!(prefix(ip("2001:db8:1:2:3::4")), ip("2001:db8:1::"));
        assert_eq!(prefix(ip("::ffff:198.51.100.77")), ip("198.51.100.0"));
    }
}
