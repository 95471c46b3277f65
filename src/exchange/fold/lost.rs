//! Entries of the own log whose bodies this node has no more; it knows nothing of how they were lost.
//!
//! A holder that was put back gets the leaves again, and a VOLUME has to account for each body that cannot come with
//! them. That debt must outlive a restart, and a volume that listed it and died: so it is part of the fold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::Volume;
use crate::wire::{MAX_SPANS, Span};

/// Spans of lost bodies kept for one log. Whoever lost more in so many places has lost a disk, and its log stands
/// still until people look at it.
pub const MAX_LOST_SPANS: usize = 16 * MAX_SPANS;

/// What is lost, and which volume says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostBodies {
    /// By volume number and first index: the index after the last one, and the volume whose entry 0 lists the span.
    spans: BTreeMap<(u32, u64), (u64, Option<Volume>)>,
}

impl LostBodies {
    /// Whether this body is known to be lost.
    pub fn contains(&self, volume: u32, index: u64) -> bool {
        self.spans.range(..=(volume, index)).next_back().is_some_and(|(from, (to, _))| from.0 == volume && index < *to)
    }

    /// Whether no further span has room.
    pub fn is_full(&self) -> bool {
        self.spans.len() >= MAX_LOST_SPANS
    }

    /// Takes in a body that is lost; one that is known, and one beyond [`MAX_LOST_SPANS`], changes nothing.
    pub(super) fn insert(&mut self, volume: u32, index: u64) {
        if self.contains(volume, index) {
            return;
        }
        if let Some((from, (to, None))) = self.spans.range_mut(..(volume, index)).next_back()
            && (from.0, *to) == (volume, index)
        {
            *to += 1;
        } else if !self.is_full() {
            self.spans.insert((volume, index), (index + 1, None));
        }
    }

    /// Takes in that `volume` lists these spans.
    pub(super) fn list(&mut self, volume: Volume, listed: &[Span]) {
        for span in listed {
            if let Some((_, by)) = self.spans.get_mut(&(span.volume, span.from)).filter(|(to, _)| *to == span.to) {
                *by = Some(volume);
            }
        }
    }

    /// What no volume of `chain` lists yet: as many spans as one VOLUME may list; the volume after lists the rest.
    pub fn unlisted(&self, chain: &[(Volume, u64)]) -> Vec<Span> {
        let is_listed = |by: &Option<Volume>| by.is_some_and(|by| chain.iter().any(|(volume, _)| *volume == by));
        let open = self.spans.iter().filter(|(_, (_, by))| !is_listed(by));
        open.map(|(from, (to, _))| Span { volume: from.0, from: from.1, to: *to }).take(MAX_SPANS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(number: u32) -> Volume {
        Volume { number, random: [7; 8] }
    }

    fn span(volume: u32, from: u64, to: u64) -> Span {
        Span { volume, from, to }
    }

    #[test]
    fn neighbours_are_one_span_and_a_known_body_changes_nothing() {
        let mut lost = LostBodies::default();
        for (volume, index) in [(1, 3), (1, 4), (1, 4), (1, 6), (2, 0)] {
            lost.insert(volume, index);
        }
        assert_eq!(lost.unlisted(&[]), [span(1, 3, 5), span(1, 6, 7), span(2, 0, 1)]);
        assert!(lost.contains(1, 4) && !lost.contains(1, 5) && !lost.contains(2, 1));
    }

    #[test]
    fn what_a_dead_volume_listed_is_listed_again() {
        let mut lost = LostBodies::default();
        lost.insert(1, 3);
        lost.list(volume(2), &[span(1, 3, 4)]);
        assert_eq!(lost.unlisted(&[(volume(1), 5), (volume(2), 1)]), []);
        assert_eq!(lost.unlisted(&[(volume(1), 5), (volume(3), 1)]), [span(1, 3, 4)]);
        // What is lost beside a listed span is a span of its own.
        lost.insert(1, 4);
        assert_eq!(lost.unlisted(&[(volume(2), 1)]), [span(1, 4, 5)]);
    }

    #[test]
    fn a_volume_lists_no_more_than_it_may_and_the_next_one_lists_the_rest() {
        let mut lost = LostBodies::default();
        for place in 0..=MAX_SPANS as u64 {
            lost.insert(1, 2 * place);
        }
        let first = lost.unlisted(&[]);
        assert_eq!(first.len(), MAX_SPANS);
        lost.list(volume(2), &first);
        let last = 2 * MAX_SPANS as u64;
        assert_eq!(lost.unlisted(&[(volume(2), 1)]), [span(1, last, last + 1)]);
    }

    #[test]
    fn the_spans_of_a_log_are_bounded() {
        let mut lost = LostBodies::default();
        for place in 0..MAX_LOST_SPANS as u64 {
            assert!(!lost.is_full());
            lost.insert(1, 2 * place);
        }
        assert!(lost.is_full());
        lost.insert(1, 2 * MAX_LOST_SPANS as u64);
        assert!(!lost.contains(1, 2 * MAX_LOST_SPANS as u64));
        // A neighbour of a known span still finds its place.
        lost.insert(1, 1);
        assert!(lost.contains(1, 1));
    }
}
