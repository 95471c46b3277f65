//! One way of a path: decides what becomes of each datagram, or of each piece of a stream. No socket, no clock.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// Bytes that IPv4 and UDP add to a datagram on the line.
pub const HEADERS: usize = 28;

/// Bytes that IPv4 and TCP add to a segment on the line.
pub const STREAM_HEADERS: usize = 40;

/// How long TCP waits at least before it sends a lost segment again (RFC 6298 says a second, Linux does it after this).
pub const RESEND: Duration = Duration::from_millis(200);

/// How bad one way of a path is. The default is fair weather.
#[derive(Clone, Debug, PartialEq)]
pub struct Weather {
    /// From one end to the other.
    pub delay: Duration,
    /// Up to this much more, so that datagrams overtake each other.
    pub jitter: Duration,
    /// Which part of the datagrams is lost, from 0 to 1.
    pub loss: f64,
    /// Bytes a second on the line, headers included; `None`: no limit.
    pub rate: Option<u64>,
    /// Bytes that wait for a slow line; what comes beyond is lost.
    pub queue: u64,
    /// The largest datagram that passes, without headers; larger ones vanish without a word.
    pub mtu: usize,
    /// Nothing passes; what a stream carries waits.
    pub cut: bool,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            rate: None,
            queue: 64 << 10,
            mtu: usize::MAX,
            cut: false,
        }
    }
}

/// What has passed one way: datagrams, or pieces of streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that came in.
    pub datagrams: u64,
    /// Their bytes on the line, headers included.
    pub bytes: u64,
    /// Datagrams that went no further, for whatever reason; pieces that were sent again.
    pub lost: u64,
}

/// One way of a path.
pub struct Lane {
    pub weather: Weather,
    pub counts: Counts,
    seed: u64,
    line_free: Option<Instant>,
    last_arrival: Option<Instant>,
}

impl Lane {
    pub fn new(seed: u64) -> Self {
        Self { weather: Weather::default(), counts: Counts::default(), seed, line_free: None, last_arrival: None }
    }

    /// When a datagram of `length` bytes arrives at the other end, with its number; `None` where it does not.
    pub fn take(&mut self, now: Instant, length: usize) -> Option<(Instant, u64)> {
        let number = self.counts.datagrams;
        self.counts.datagrams += 1;
        self.counts.bytes += (length + HEADERS) as u64;
        let arrives = self.arrives(now, length, number);
        if arrives.is_none() {
            self.counts.lost += 1;
        }
        arrives.map(|at| (at, number))
    }

    /// When the next piece of a stream arrives at the other end.
    ///
    /// TCP hides what befalls a segment behind time: a lost one is sent again after a pause, and what was written after
    /// it waits for it, so loss and jitter delay and never reorder. A line with a rate takes one piece after the other.
    /// The MTU bounds a piece ([`Weather::mtu`]), the queue what may wait for the line before the sender is held back,
    /// and a cut holds everything until it is healed: those three are the business of who carries the pieces.
    pub fn carry(&mut self, now: Instant, length: usize) -> Instant {
        let number = self.counts.datagrams;
        self.counts.datagrams += 1;
        self.counts.bytes += (length + STREAM_HEADERS) as u64;
        let weather = &self.weather;
        let (lost, late) = fate(self.seed, number);
        let mut leaves = now;
        if let Some(rate) = weather.rate {
            let free = self.line_free.map_or(now, |free| free.max(now));
            leaves = free + Duration::from_secs_f64((length + STREAM_HEADERS) as f64 / rate as f64);
            self.line_free = Some(leaves);
        }
        let mut arrives = leaves + weather.delay + weather.jitter.mul_f64(late);
        if lost < weather.loss {
            self.counts.lost += 1;
            arrives += RESEND.max(weather.delay * 2);
        }
        let arrives = self.last_arrival.map_or(arrives, |last| last.max(arrives));
        self.last_arrival = Some(arrives);
        arrives
    }

    fn arrives(&mut self, now: Instant, length: usize, number: u64) -> Option<Instant> {
        let weather = &self.weather;
        let (lost, late) = fate(self.seed, number);
        if weather.cut || length > weather.mtu || lost < weather.loss {
            return None;
        }
        let mut leaves = now;
        if let Some(rate) = weather.rate {
            let free = self.line_free.map_or(now, |free| free.max(now));
            let waiting = free.duration_since(now).as_secs_f64() * rate as f64;
            if waiting > weather.queue as f64 {
                return None;
            }
            leaves = free + Duration::from_secs_f64((length + HEADERS) as f64 / rate as f64);
            self.line_free = Some(leaves);
        }
        Some(leaves + weather.delay + weather.jitter.mul_f64(late))
    }
}

/// Two numbers from 0 to 1 that belong to the n-th datagram: whether it is lost, and how late it is.
fn fate(seed: u64, number: u64) -> (f64, f64) {
    let first = mix(seed ^ mix(number));
    (unit(first), unit(mix(first)))
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// SplitMix64's output function over a counter.
pub fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Something that happens at a time; the earliest is the greatest, as `BinaryHeap` wants it.
pub struct Later<T> {
    pub at: Instant,
    pub number: u64,
    pub what: T,
}

impl<T> Ord for Later<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<T> PartialOrd for Later<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Later<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Later<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(seed: u64, weather: &Weather) -> Vec<Option<Duration>> {
        let (mut lane, start) = (Lane::new(seed), Instant::now());
        lane.weather = weather.clone();
        (0..1_000).map(|_| lane.take(start, 1_172).map(|(at, _)| at - start)).collect()
    }

    #[test]
    fn the_same_seed_has_the_same_weather_and_another_seed_another() {
        let weather = Weather { loss: 0.05, jitter: Duration::from_millis(100), ..Weather::default() };
        assert_eq!(arrivals(7, &weather), arrivals(7, &weather));
        assert_ne!(arrivals(7, &weather), arrivals(8, &weather));
    }

    #[test]
    fn about_as_many_are_lost_as_was_said_and_none_in_fair_weather() {
        let lost = |loss| arrivals(1, &Weather { loss, ..Weather::default() }).iter().filter(|at| at.is_none()).count();
        assert_eq!(lost(0.0), 0);
        assert!((20..=80).contains(&lost(0.05)), "{}", lost(0.05));
        assert_eq!(lost(1.0), 1_000);
    }

    #[test]
    fn a_slow_line_sends_one_after_the_other_and_its_queue_ends() {
        let weather = Weather { rate: Some(1_200), queue: 12_000, ..Weather::default() };
        let arrived: Vec<Duration> = arrivals(1, &weather).into_iter().flatten().collect();
        assert_eq!(arrived.len(), 11, "one on the line and ten that wait");
        assert_eq!(arrived[..2], [Duration::from_secs(1), Duration::from_secs(2)]);
    }

    #[test]
    fn a_lost_piece_of_a_stream_comes_later_and_holds_up_what_follows() {
        let (mut lane, start) = (Lane::new(5), Instant::now());
        lane.weather = Weather { loss: 0.2, jitter: Duration::from_millis(50), ..Weather::default() };
        let arrived: Vec<Duration> = (0..1_000).map(|_| lane.carry(start, 960) - start).collect();
        assert!(arrived.is_sorted(), "a stream is never reordered");
        assert!((100..=300).contains(&lane.counts.lost), "{}", lane.counts.lost);
        assert!(arrived[999] >= RESEND && arrived[0] < RESEND * 2, "{:?}", (arrived[0], arrived[999]));
    }

    #[test]
    fn a_slow_line_carries_a_stream_at_its_rate_and_loses_nothing_of_it() {
        let (mut lane, start) = (Lane::new(5), Instant::now());
        lane.weather = Weather { rate: Some(1_000), queue: 0, ..Weather::default() };
        let arrived: Vec<Duration> = (0..3).map(|_| lane.carry(start, 960) - start).collect();
        assert_eq!(arrived, [1, 2, 3].map(Duration::from_secs));
        assert_eq!(lane.counts.lost, 0);
    }

    #[test]
    fn the_mtu_lets_its_own_size_pass_and_no_more() {
        let passes = |mtu| arrivals(1, &Weather { mtu, ..Weather::default() })[0].is_some();
        assert!(passes(1_172) && !passes(1_171));
    }
}
