//! What an audit remembers of each pair and volume: bounded by what is open, not by history.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::name::{EntryId, Hash, NodeName, Volume};
use crate::note::PublicKeys;
use crate::wire::{HeadRef, Header, SigningKey, Span};

use super::tree::{Heads, Tree};

/// How many ids are remembered per peer and direction, as the exchange has it.
pub(super) const RECENT_IDS: usize = 65_536;

/// How many missing bodies are remembered per log; more were never accounted for one by one.
pub(super) const MAX_MISSING: usize = 65_536;

/// A volume of a log.
#[derive(Debug, Default)]
pub(super) struct VolumeState {
    pub tree: Tree,
    /// The copy that is being got back from the holder.
    pub fetching: Option<Tree>,
    /// Keys whose lines count for this volume.
    pub keys: Vec<PublicKeys>,
    /// Which of them a full head needs now.
    pub due: Vec<usize>,
    pub before: Option<HeadRef>,
    pub heads: Heads,
    /// The size of the newest receipt.
    pub receipted: u64,
    /// The size of the newest head with all lines of all keys of both sides.
    pub full: u64,
    /// The indices have a gap: roots cannot be checked any more.
    pub broken: bool,
    /// Entries without a receipt and their queued records (own logs).
    pub queued: VecDeque<(u64, u64)>,
}

impl VolumeState {
    /// Takes the keys that entry 0 or a KEY entry lists; the earlier ones still count, a full head needs these.
    pub(super) fn take_keys(&mut self, keys: &[PublicKeys]) {
        let place = |known: &mut Vec<PublicKeys>, key: &PublicKeys| {
            known.iter().position(|known| known == key).unwrap_or_else(|| {
                known.push(key.clone());
                known.len() - 1
            })
        };
        self.due = keys.iter().map(|key| place(&mut self.keys, key)).collect();
    }
}

/// All volumes of one direction.
#[derive(Debug, Default)]
pub(super) struct LogState {
    pub volumes: BTreeMap<Volume, VolumeState>,
    pub highest: u32,
    pub ids: RecentIds,
    /// Entries whose bodies are not here and that nothing accounts for: volume number and index.
    pub missing: BTreeSet<(u32, u64)>,
}

impl LogState {
    /// Entries of a span count as withdrawn.
    pub(super) fn excuse(&mut self, span: Span) {
        let gone: Vec<(u32, u64)> =
            self.missing.range((span.volume, span.from)..(span.volume, span.to)).copied().collect();
        for entry in gone {
            self.missing.remove(&entry);
        }
    }
}

/// The newest ids of one direction.
#[derive(Debug, Default)]
pub(super) struct RecentIds {
    known: HashMap<EntryId, SeenId>,
    order: VecDeque<EntryId>,
}

/// Where an id was seen, and over which bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeenId {
    pub volume: Volume,
    pub commitment: u64,
}

impl RecentIds {
    pub(super) fn get(&self, id: &EntryId) -> Option<SeenId> {
        self.known.get(id).copied()
    }

    pub(super) fn insert(&mut self, id: EntryId, seen: SeenId) {
        if self.known.insert(id, seen).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > RECENT_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// An item that waits, or an entry that has no receipt yet.
#[derive(Debug)]
pub(super) struct ItemState {
    pub header: Header,
    pub commitment: Hash,
    pub body_len: u32,
    /// A KEY item: the keys that its body lists.
    pub keys: Vec<PublicKeys>,
}

/// Everything between this node and one peer.
#[derive(Debug, Default)]
pub(super) struct PairState {
    /// Keys that came with an introduction or a volume.
    pub peer_keys: Vec<PublicKeys>,
    pub introduced: Vec<PublicKeys>,
    pub own: LogState,
    pub theirs: LogState,
    pub items: HashMap<u64, ItemState>,
    pub by_id: HashMap<EntryId, u64>,
}

impl PairState {
    pub(super) fn log(&mut self, own: bool) -> &mut LogState {
        if own { &mut self.own } else { &mut self.theirs }
    }

    pub(super) fn know_peer_keys(&mut self, keys: &[PublicKeys]) {
        for key in keys.iter().filter(|key| !self.peer_keys.contains(key)).cloned().collect::<Vec<_>>() {
            self.peer_keys.push(key);
        }
    }
}

/// The pairs of algorithms that a list of signing keys gives.
pub(super) fn keys_of(keys: &[SigningKey]) -> Vec<PublicKeys> {
    let of = |number| keys.iter().filter(move |key| key.algorithm == number);
    let pair = |(classical, quantum): (&SigningKey, &SigningKey)| {
        PublicKeys::from_parts(&classical.public_key, &quantum.public_key).ok()
    };
    of(1).zip(of(6)).filter_map(pair).collect()
}

/// A log for people: who writes it to whom, and which volume.
pub(super) fn log_name(me: Option<NodeName>, peer: NodeName, own: bool, volume: Volume) -> String {
    let me = me.map_or("(this node)".to_owned(), |me| me.to_string());
    if own { format!("log {me} to {peer}, volume {volume}") } else { format!("log {peer} to {me}, volume {volume}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_id_is_forgotten_beyond_the_bound() {
        let id = |number: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            EntryId(bytes)
        };
        let seen = SeenId { volume: Volume { number: 1, random: [0; 8] }, commitment: 7 };
        let mut ids = RecentIds::default();
        (0..RECENT_IDS as u32).for_each(|number| ids.insert(id(number), seen));
        assert_eq!(ids.get(&id(0)), Some(seen));
        ids.insert(id(RECENT_IDS as u32), seen);
        assert_eq!((ids.get(&id(0)), ids.get(&id(1))), (None, Some(seen)));
    }

    #[test]
    fn a_span_accounts_for_the_entries_in_it_and_no_others() {
        let mut log = LogState::default();
        log.missing.extend([(1, 4), (1, 5), (1, 6), (2, 5)]);
        log.excuse(Span { volume: 1, from: 5, to: 6 });
        assert_eq!(log.missing, BTreeSet::from([(1, 4), (1, 6), (2, 5)]));
    }
}
