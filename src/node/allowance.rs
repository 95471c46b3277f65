//! How many records of one sort others may bring about in this node's journal: so many in a span, the rest is counted and
//! named with the next one, or when the span is over. Knows no clock and no journal.

use std::time::Duration;

use crate::name::Millis;

/// So many records in a span; what is beyond is counted.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    max: u32,
    span: Duration,
    since: Millis,
    written: u32,
    passed_over: u64,
}

impl Allowance {
    /// `max` records in each `span`.
    pub(super) fn new(max: u32, span: Duration) -> Self {
        Self { max, span, since: Millis(0), written: 0, passed_over: 0 }
    }

    /// Whether the span of the last record is over; a clock that was set back ends it too.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        now < self.since || now.since(self.since) >= self.span
    }

    /// Whether one more may be written at `now`; then also how many were passed over since the last one that was.
    pub(super) fn take(&mut self, now: Millis) -> Option<u64> {
        if self.is_over(now) {
            (self.since, self.written) = (now, 0);
        }
        if self.written == self.max {
            self.pass_over();
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.passed_over))
    }

    /// One that is not written.
    pub(super) fn pass_over(&mut self) {
        self.passed_over = self.passed_over.saturating_add(1);
    }

    /// How many were passed over in a span that is over, once; `None` where there is nothing to say.
    pub(super) fn overdue(&mut self, now: Millis) -> Option<u64> {
        (self.passed_over > 0 && self.is_over(now)).then(|| std::mem::take(&mut self.passed_over))
    }
}

/// What a record says of those that were passed over before it.
pub(super) fn and_more(text: String, passed_over: u64) -> String {
    if passed_over == 0 {
        text
    } else {
        format!("{text} (and {passed_over} more of the same since the last such record)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_at_the_limit_are_written_and_one_over_is_counted_with_the_next() {
        let (span, now) = (Duration::from_secs(60), Millis(10_000_000));
        let mut allowance = Allowance::new(3, span);
        for _ in 0..3 {
            assert_eq!(allowance.take(now), Some(0));
        }
        assert_eq!((allowance.take(now), allowance.take(now)), (None, None));
        assert_eq!(allowance.overdue(now), None, "the span is not over");
        assert_eq!(allowance.take(now.after(span)), Some(2));
        assert_eq!(allowance.take(Millis(1)), Some(0), "a clock that was set back");
    }

    #[test]
    fn what_was_passed_over_is_told_once_when_the_span_is_over() {
        let (span, now) = (Duration::from_secs(60), Millis(10_000_000));
        let mut allowance = Allowance::new(1, span);
        assert_eq!((allowance.take(now), allowance.take(now)), (Some(0), None));
        assert_eq!(allowance.overdue(now.after(span)), Some(1));
        assert_eq!(allowance.overdue(now.after(span)), None);
        assert_eq!(and_more("so".into(), 0), "so");
        assert!(and_more("so".into(), 2).contains("2 more"));
    }
}
