//! A log's tree as an audit needs it: the root at any recent size, with flat memory.

use std::collections::VecDeque;

use crate::merkle::CompactRange;
use crate::name::Hash;

/// Leaves that are kept behind the newest head. A head may lag behind the entries, but not farther than a window;
/// 65,536 entries are 2 MiB of hashes.
const MAX_TAIL: usize = 65_536;

/// Heads that are remembered without a receipt; more would mean a peer that has been away for very long.
const MAX_HEADS: usize = 4_096;

/// The entries of one copy of a volume.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// The tree up to the newest head, or to where the tail begins.
    base: CompactRange,
    tail: VecDeque<Hash>,
}

impl Tree {
    pub(super) fn size(&self) -> u64 {
        self.base.size() + self.tail.len() as u64
    }

    pub(super) fn push(&mut self, leaf_hash: Hash) {
        self.tail.push_back(leaf_hash);
        if self.tail.len() > MAX_TAIL {
            self.advance(self.base.size() + (MAX_TAIL / 2) as u64);
        }
    }

    /// Folds everything below `size` together; smaller sizes have no root any more.
    pub(super) fn advance(&mut self, size: u64) {
        while self.base.size() < size {
            let Some(hash) = self.tail.pop_front() else { return };
            self.base.push(hash);
        }
    }

    /// The root at a size, where it can still be told.
    pub(super) fn root_at(&self, size: u64) -> Option<Hash> {
        let more = usize::try_from(size.checked_sub(self.base.size())?).ok()?;
        if more > self.tail.len() {
            return None;
        }
        let mut range = self.base.clone();
        self.tail.iter().take(more).for_each(|hash| range.push(*hash));
        Some(range.root())
    }
}

/// A line that was seen under a head, as far as one must know to see whether it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeenLine {
    /// The hash of the name of its key.
    pub name: u64,
    pub key_id: [u8; 4],
    pub digest: u64,
}

/// A head that was signed.
#[derive(Clone, Debug)]
pub(super) struct SeenHead {
    pub size: u64,
    pub root: Hash,
    pub lines: Vec<SeenLine>,
    /// The keys whose lines of both algorithms are there.
    pub author: Signed,
    pub holder: Signed,
}

/// One bit for each of a side's keys (in their order) and algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signed(u64);

impl Signed {
    /// How many keys are told apart; more are never listed ([`crate::wire::MAX_KEYS`] of each side and rotation).
    const KEYS: usize = 32;

    pub(super) fn note(&mut self, key: usize, post_quantum: bool) {
        if key < Self::KEYS {
            self.0 |= 1 << (2 * key + usize::from(post_quantum));
        }
    }

    /// Whether both lines of a key are there.
    pub(super) fn is_full(self, key: usize) -> bool {
        key < Self::KEYS && self.0 >> (2 * key) & 3 == 3
    }
}

/// The heads of one volume: the newest one with a receipt, and all later ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads {
    heads: VecDeque<SeenHead>,
}

impl Heads {
    pub(super) fn at(&mut self, size: u64) -> Option<&mut SeenHead> {
        let at = self.heads.binary_search_by_key(&size, |head| head.size).ok()?;
        self.heads.get_mut(at)
    }

    pub(super) fn root_at(&self, size: u64) -> Option<Hash> {
        let at = self.heads.binary_search_by_key(&size, |head| head.size).ok()?;
        self.heads.get(at).map(|head| head.root)
    }

    pub(super) fn newest(&self) -> Option<&SeenHead> {
        self.heads.back()
    }

    /// The head of a size, remembered from now on if it is new.
    pub(super) fn note(&mut self, size: u64, root: Hash) -> &mut SeenHead {
        let at = match self.heads.binary_search_by_key(&size, |head| head.size) {
            Ok(at) => at,
            Err(at) => {
                let (author, holder) = Default::default();
                self.heads.insert(at, SeenHead { size, root, lines: Vec::new(), author, holder });
                if self.heads.len() > MAX_HEADS {
                    self.heads.pop_front();
                }
                at.min(self.heads.len() - 1)
            }
        };
        &mut self.heads[at]
    }

    /// Forgets the heads below a receipt.
    pub(super) fn forget_below(&mut self, size: u64) {
        while self.heads.front().is_some_and(|head| head.size < size) {
            self.heads.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{leaf_hash, over_leaves, root_of};

    #[test]
    fn roots_of_recent_sizes_are_those_of_the_tree() {
        let leaves: Vec<Hash> = (0..300_u32).map(|number| leaf_hash(&number.to_be_bytes())).collect();
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree.advance(100);
        for size in [100, 101, 128, 255, 256, 299, 300] {
            assert_eq!(tree.root_at(size), root_of(size, over_leaves(&leaves)).ok(), "{size}");
        }
        assert_eq!((tree.root_at(99), tree.root_at(301)), (None, None));
    }

    #[test]
    fn the_tail_is_bounded_and_the_tree_goes_on() {
        let mut tree = Tree::default();
        for number in 0..=MAX_TAIL as u32 {
            tree.push(leaf_hash(&number.to_be_bytes()));
        }
        assert_eq!(tree.size(), MAX_TAIL as u64 + 1);
        assert!(tree.tail.len() <= MAX_TAIL);
        assert_eq!(tree.root_at(1), None);
        assert!(tree.root_at(tree.size()).is_some());
    }

    #[test]
    fn heads_are_kept_in_order_from_the_newest_receipt_on() {
        let mut heads = Heads::default();
        for size in [5, 9, 7] {
            heads.note(size, Hash([size as u8; 32]));
        }
        assert_eq!(heads.newest().map(|head| head.size), Some(9));
        heads.forget_below(7);
        assert_eq!((heads.root_at(5), heads.root_at(7)), (None, Some(Hash([7; 32]))));
        heads.note(9, Hash([1; 32]));
        assert_eq!(heads.root_at(9), Some(Hash([9; 32])));
    }

    #[test]
    fn a_key_is_full_with_the_lines_of_both_algorithms() {
        let mut signed = Signed::default();
        signed.note(3, false);
        assert!(!signed.is_full(3));
        signed.note(3, true);
        assert!(signed.is_full(3) && !signed.is_full(2));
        signed.note(Signed::KEYS, true);
        assert!(!signed.is_full(Signed::KEYS));
    }
}
