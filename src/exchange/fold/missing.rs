//! Entries of a peer's log whose bodies are not there and that nothing accounts for yet.
//!
//! Kept as spans, so that an author who lost everything costs one number and not a million, and so that a VOLUME's list
//! is taken in with a look-up for each of its spans.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::wire::{MAX_SPANS, Span};

/// Spans of missing bodies that are kept for one peer, over all volumes of its log: as many as one VOLUME can account
/// for. A refill that would leave more is not taken any further (FAULT gap): its author opens the next volume, which
/// lists them.
pub const MISSING_SPANS: usize = MAX_SPANS;

/// The missing bodies of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Volume number and first index → the first index that is not in it. Spans of a volume neither meet nor overlap.
    spans: BTreeMap<(u32, u64), u64>,
}

impl Missing {
    /// Whether every body is there or accounted for.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many spans.
    pub fn spans(&self) -> usize {
        self.spans.len()
    }

    /// The first missing index of a volume from an index on.
    pub fn first_from(&self, volume: u32, from: u64) -> Option<u64> {
        if let Some((_, to)) = self.spans.range(..(volume, from)).next_back().filter(|((at, _), _)| *at == volume)
            && *to > from
        {
            return Some(from);
        }
        self.spans.range((volume, from)..).next().filter(|((at, _), _)| *at == volume).map(|((_, index), _)| *index)
    }

    /// One more body is missing.
    pub fn insert(&mut self, volume: u32, index: u64) {
        let (mut from, mut to) = (index, index.saturating_add(1));
        if let Some(((at, before), end)) =
            self.spans.range(..=(volume, index)).next_back().map(|(key, end)| (*key, *end))
            && at == volume
            && end >= index
        {
            (from, to) = (before, end.max(to));
        }
        if let Some(end) = self.spans.remove(&(volume, to)) {
            to = end;
        }
        self.spans.insert((volume, from), to);
    }

    /// The author accounts for these.
    pub fn excuse(&mut self, span: Span) {
        let Span { volume, from, to } = span;
        if from >= to {
            return;
        }
        // A span that begins before keeps its beginning, and perhaps its end.
        if let Some(((at, before), end)) = self.spans.range(..(volume, from)).next_back().map(|(key, end)| (*key, *end))
            && at == volume
            && end > from
        {
            self.spans.insert((volume, before), from);
            if end > to {
                self.spans.insert((volume, to), end);
            }
        }
        while let Some((key, end)) =
            self.spans.range((volume, from)..(volume, to)).next().map(|(key, end)| (*key, *end))
        {
            self.spans.remove(&key);
            if end > to {
                self.spans.insert((volume, to), end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn span(volume: u32, from: u64, to: u64) -> Span {
        Span { volume, from, to }
    }

    #[test]
    fn neighbours_are_one_span_and_a_hole_makes_two() {
        let mut missing = Missing::default();
        for index in [5, 3, 4, 9] {
            missing.insert(1, index);
        }
        assert_eq!((missing.spans(), missing.first_from(1, 0), missing.first_from(1, 6)), (2, Some(3), Some(9)));
        missing.excuse(span(1, 4, 5));
        assert_eq!((missing.spans(), missing.first_from(1, 4)), (3, Some(5)));
        assert_eq!((missing.first_from(2, 0), missing.first_from(1, 10)), (None, None));
        missing.excuse(span(2, 0, u64::MAX));
        missing.excuse(span(1, 0, u64::MAX));
        assert!(missing.is_empty());
    }

    #[test]
    fn a_million_entries_in_a_row_and_a_full_list_cost_no_more_than_their_spans() {
        let mut missing = Missing::default();
        (0..1_000_000).for_each(|index| missing.insert(1, index));
        assert_eq!(missing.spans(), 1);
        (0..MISSING_SPANS as u64).for_each(|number| missing.excuse(span(1, 2 * number, 2 * number + 1)));
        assert_eq!(missing.spans(), MISSING_SPANS);
        assert_eq!(missing.first_from(1, 0), Some(1));
    }

    proptest! {
        #[test]
        fn spans_say_what_a_list_of_numbers_says(
            acts in proptest::collection::vec((any::<bool>(), 1u32..3, 0u64..40, 0u64..12), 0..60),
        ) {
            let (mut missing, mut model) = (Missing::default(), BTreeSet::new());
            for (insert, volume, index, length) in acts {
                if insert {
                    missing.insert(volume, index);
                    model.insert((volume, index));
                } else {
                    missing.excuse(span(volume, index, index + length));
                    model.retain(|(at, i)| *at != volume || *i < index || *i >= index + length);
                }
                for volume in 1..3 {
                    for from in 0..52 {
                        let expected = model.range((volume, from)..).next().filter(|(at, _)| *at == volume);
                        prop_assert_eq!(missing.first_from(volume, from), expected.map(|(_, index)| *index));
                    }
                }
                let starts = model.iter().filter(|(at, i)| *i == 0 || !model.contains(&(*at, i - 1))).count();
                prop_assert_eq!(missing.spans(), starts);
            }
        }
    }
}
