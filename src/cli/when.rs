//! Times for people: UTC with local time beside it, and how long ago.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::name::Millis;
use crate::settings::Span;

/// This machine's clock.
#[allow(clippy::disallowed_methods, reason = "the commands ask the clock here and nowhere else")]
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `2026-03-01 12:00:00 UTC`, with local time beside it where it differs.
pub fn utc_and_local(time: Millis) -> String {
    rendered(time, &TimeZone::system())
}

/// `2026-03-01 12:00`: UTC to the minute, for columns whose heading says so.
pub fn minute(time: Millis) -> String {
    let stamp = i64::try_from(time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| time.to_string(), |stamp| stamp.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string())
}

/// What stands below a list: in which time its times are, and what the clock on the wall says.
pub fn zone_note() -> String {
    let Ok(now) = i64::try_from(now().0).map_err(drop).and_then(|ms| Timestamp::from_millisecond(ms).map_err(drop))
    else {
        return "Times are UTC.".to_owned();
    };
    let local = now.to_zoned(TimeZone::system());
    if local.offset().is_zero() {
        "Times are UTC.".to_owned()
    } else {
        local.strftime("Times are UTC; local time is %:z.").to_string()
    }
}

fn rendered(time: Millis, zone: &TimeZone) -> String {
    let Some(stamp) = i64::try_from(time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) else {
        return time.to_string();
    };
    let utc = stamp.to_zoned(TimeZone::UTC);
    let local = stamp.to_zoned(zone.clone());
    let text = utc.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    if local.offset() == utc.offset() {
        return text;
    }
    let form = if local.date() == utc.date() { "%H:%M %:z" } else { "%Y-%m-%d %H:%M %:z" };
    format!("{text} ({})", local.strftime(form))
}

/// `4m`, `3h`, `2d`: the largest whole unit.
pub fn roughly(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A moment: RFC 3339 (`2026-03-01T12:00:00Z`), or from now on (`2h`).
///
/// # Errors
/// Says how both are written.
pub fn moment(text: &str) -> Result<Millis, String> {
    if let Ok(Span(span)) = text.parse::<Span>() {
        return Ok(now().after(span));
    }
    let wrong = || format!("`{text}` is not a time; write it like 2026-03-01T12:00:00Z, or from now on: 2h, 3d");
    text.parse().map_err(|_| wrong())
}

/// A moment that lies in the past: RFC 3339, or before now (`2h`).
///
/// # Errors
/// Says how both are written.
pub fn past(text: &str) -> Result<Millis, String> {
    if let Ok(Span(span)) = text.parse::<Span>() {
        let ago = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        return Ok(Millis(now().0.saturating_sub(ago)));
    }
    let wrong = || format!("`{text}` is not a time; write it like 2026-03-01T12:00:00Z, or before now: 2h, 3d");
    text.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_comes_first_and_local_time_only_where_it_differs() {
        let noon = Millis(1_772_366_400_123);
        assert_eq!(rendered(noon, &TimeZone::UTC), "2026-03-01 12:00:00 UTC");
        let east = TimeZone::fixed(jiff::tz::offset(13));
        assert_eq!(rendered(noon, &east), "2026-03-01 12:00:00 UTC (2026-03-02 01:00 +13:00)");
        let near = TimeZone::fixed(jiff::tz::offset(3));
        assert_eq!(rendered(noon, &near), "2026-03-01 12:00:00 UTC (15:00 +03:00)");
        assert!(rendered(Millis(u64::MAX), &near).contains("after 1970"));
        assert_eq!(minute(noon), "2026-03-01 12:00");
    }

    #[test]
    fn moments_are_read_in_both_forms() {
        assert_eq!(moment("2026-03-01T12:00:00Z"), Ok(Millis(1_772_366_400_000)));
        assert!(moment("2h").is_ok_and(|at| at > now()));
        assert!(past("2h").is_ok_and(|at| at < now()));
        assert!(moment("tomorrow").is_err());
    }
}
