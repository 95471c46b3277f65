//! The only place that asks the system what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::name::Millis;

/// The system's clock. The core, the certificates and the views all take their time from here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// The time of day; a clock that stands before 1970 reads as 1970.
    #[allow(clippy::disallowed_methods, reason = "the daemon asks the clock here and nowhere else")]
    pub fn now(self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.now().0)))
    }
}

/// Whole days from `now` until `end`, rounded down; negative once `end` has passed.
pub fn days_left(now: Millis, end: Millis) -> i64 {
    const DAY_MS: i128 = 24 * 60 * 60 * 1000;
    let days = (i128::from(end.0) - i128::from(now.0)).div_euclid(DAY_MS);
    i64::try_from(days).expect("a u64 of milliseconds has fewer days than an i64 holds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_left_are_whole_days_and_go_below_zero_the_moment_the_end_has_passed() {
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(days_left(Millis(0), Millis(day - 1)), 0);
        assert_eq!(days_left(Millis(0), Millis(day)), 1);
        assert_eq!(days_left(Millis(1), Millis(0)), -1);
        assert_eq!(days_left(Millis(u64::MAX), Millis(0)), -((u64::MAX / day) as i64) - 1);
    }
}
