//! Times as the field writes them: milliseconds since the Unix epoch, RFC 3339 in UTC for people.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since 1970-01-01T00:00:00Z by somebody's own clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// Text that is not a time in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time; write it like 2026-03-01T12:00:00Z")]
pub struct TimeError(String);

impl Millis {
    /// Whole seconds since the epoch, as notes carry them (POSIX time).
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This moment and `later` more; stays at the largest moment rather than wrap.
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero where it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(time) => write!(f, "{time:.3}"),
            None => write!(f, "{} ms after 1970", self.0),
        }
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Millis {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError(text.chars().take(64).collect());
        let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        u64::try_from(time.as_millisecond()).map(Self).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_and_strange_ones_are_shown_not_lost() {
        let time = Millis(1_772_366_400_123);
        assert_eq!(time.to_string(), "2026-03-01T12:00:00.123Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(Millis(u64::MAX).to_string(), format!("{} ms after 1970", u64::MAX));
        assert!("yesterday".parse::<Millis>().is_err());
        assert!("1969-12-31T23:59:59Z".parse::<Millis>().is_err());
    }
}
