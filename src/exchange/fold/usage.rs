//! How much of this node's disk a peer has used on one day: counted from the records themselves, so that a restart
//! neither forgets nor doubles it.

use serde::{Deserialize, Serialize};

use crate::name::Millis;
use crate::wire::Leaf;

/// Milliseconds of a UTC day.
pub const DAY_MS: u64 = 86_400_000;

/// What an entry costs beside its leaf and body: the frame of its record, its rows in the index, and a share of the
/// HELD or REFUSED that may answer it. An empty entry is not free.
pub const ENTRY_COST: u64 = 512;

/// What a head costs beside its lines.
pub const HEAD_COST: u64 = 512;

/// Bytes that a peer has had stored here on the newest day on which it had any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    day: u64,
    bytes: u64,
}

impl Usage {
    /// Bytes charged on the UTC day of `now` by the own clock.
    pub fn on(&self, now: Millis) -> u64 {
        if self.day == now.0 / DAY_MS { self.bytes } else { 0 }
    }

    /// Charges bytes. Any other day begins anew, an earlier one too: a clock that was wrong for an hour must not close
    /// the channel until that hour comes.
    pub(super) fn charge(&mut self, at: Millis, bytes: u64) {
        *self = Self { day: at.0 / DAY_MS, bytes: self.on(at).saturating_add(bytes) };
    }
}

/// What an entry costs; `body`: whether its body is there.
pub(in crate::exchange) fn entry_cost(leaf: &Leaf, body: bool) -> u64 {
    let body = if body { leaf.body_len() } else { 0 };
    (leaf.bytes().len() + body) as u64 + ENTRY_COST
}

/// What a head with these lines costs.
pub(super) fn head_cost(author_lines: &[String], lines: &[String]) -> u64 {
    author_lines.iter().chain(lines).map(|line| line.len() as u64).sum::<u64>() + HEAD_COST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_nothing_whichever_way_the_clock_went() {
        let mut usage = Usage::default();
        let noon = Millis(20_000 * DAY_MS + DAY_MS / 2);
        usage.charge(noon, 7);
        usage.charge(Millis(noon.0 + 1), 8);
        assert_eq!((usage.on(noon), usage.on(Millis(noon.0 + DAY_MS))), (15, 0));
        usage.charge(Millis(noon.0 + 90 * DAY_MS), 1);
        usage.charge(noon, 2);
        assert_eq!(usage.on(noon), 2);
        usage.charge(noon, u64::MAX);
        assert_eq!(usage.on(noon), u64::MAX);
    }
}
