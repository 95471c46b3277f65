//! The newest ids of one direction, so that a repeat is known as one; memory stays bounded.

use std::collections::{BTreeMap, VecDeque};

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use crate::name::EntryId;

/// How many ids are remembered per peer and direction. An older repeat is shown, marked "repeat".
pub const RECENT_IDS: usize = 65_536;

/// The newest [`RECENT_IDS`] ids with what is known of each.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Written<T>")]
#[serde(bound(deserialize = "T: Copy + Deserialize<'de>"))]
pub struct Recent<T: Copy> {
    order: VecDeque<EntryId>,
    known: BTreeMap<EntryId, T>,
}

/// The form in which it is stored: pairs, oldest first.
#[derive(Deserialize)]
struct Written<T>(Vec<(EntryId, T)>);

impl<T: Copy> From<Written<T>> for Recent<T> {
    fn from(written: Written<T>) -> Self {
        let mut recent = Self::default();
        for (id, value) in written.0 {
            recent.insert(id, value);
        }
        recent
    }
}

// By hand, because the loop waits while a snapshot is taken: serde's `into` would copy both collections first.
impl<T: Copy + Serialize> Serialize for Recent<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(Some(self.known.len()))?;
        for id in &self.order {
            if let Some(value) = self.known.get(id) {
                pairs.serialize_element(&(id, value))?;
            }
        }
        pairs.end()
    }
}

impl<T: Copy> Default for Recent<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), known: BTreeMap::new() }
    }
}

impl<T: Copy> Recent<T> {
    /// What is known of an id.
    pub fn get(&self, id: &EntryId) -> Option<T> {
        self.known.get(id).copied()
    }

    /// Remembers an id; the oldest one is forgotten beyond the bound. An id that is there takes the new value.
    pub fn insert(&mut self, id: EntryId, value: T) {
        if self.known.insert(id, value).is_none() {
            self.order.push_back(id);
            if self.order.len() > RECENT_IDS
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }

    /// Forgets those for which `keep` is false, and returns them in their order.
    pub fn extract(&mut self, keep: impl Fn(&T) -> bool) -> Vec<(EntryId, T)> {
        let mut gone = Vec::new();
        let known = &mut self.known;
        self.order.retain(|id| match known.get(id) {
            Some(value) if keep(value) => true,
            Some(value) => {
                gone.push((*id, *value));
                known.remove(id);
                false
            }
            None => false,
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> EntryId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        EntryId(bytes)
    }

    #[test]
    fn the_oldest_id_is_forgotten_beyond_the_bound() {
        let mut recent = Recent::default();
        for number in 0..RECENT_IDS {
            recent.insert(id(number), number);
        }
        assert_eq!(recent.get(&id(0)), Some(0));
        recent.insert(id(RECENT_IDS), 7);
        assert_eq!(recent.get(&id(0)), None);
        assert_eq!(recent.get(&id(1)), Some(1));
        assert_eq!(recent.known.len(), RECENT_IDS);
    }

    #[test]
    fn what_is_extracted_is_forgotten_and_what_is_kept_reads_back() {
        let mut recent = Recent::default();
        for number in 0..4 {
            recent.insert(id(number), number);
        }
        assert_eq!(recent.extract(|value| value % 2 == 0), vec![(id(1), 1), (id(3), 3)]);
        let bytes = postcard::to_stdvec(&recent).unwrap();
        assert_eq!(postcard::from_bytes::<Recent<usize>>(&bytes).unwrap(), recent);
    }
}
