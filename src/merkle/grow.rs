//! A consistency proof that is gathered while a tree grows.

use super::{CompactRange, ProveError, consistency_proof, node_hash};
use crate::name::Hash;

/// A tree that is watched from one size on, so that it can be proved later what it was at that size.
///
/// Memory: at most 63 hashes of the tree as it was, and twice as many of what has come since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    before: CompactRange,
    size: u64,
    /// The complete subtrees over the leaves since then, each as large as its place allows: level, index, hash.
    since: Vec<(u32, u64, Hash)>,
}

impl Growth {
    /// Begins with the tree as it is.
    pub fn of(before: CompactRange) -> Self {
        Self { size: before.size(), before, since: Vec::new() }
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf_hash: Hash) {
        let (mut level, mut index, mut hash) = (0, self.size, leaf_hash);
        self.size += 1;
        while let Some((_, _, left)) =
            self.since.pop_if(|(of, at, _)| *of == level && index % 2 == 1 && *at + 1 == index)
        {
            hash = node_hash(&left, &hash);
            (level, index) = (level + 1, index / 2);
        }
        self.since.push((level, index, hash));
    }

    /// How many leaves the tree has now.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many leaves the tree had at first.
    pub fn size_before(&self) -> u64 {
        self.before.size()
    }

    /// The root of the tree as it was at first.
    pub fn root_before(&self) -> Hash {
        self.before.root()
    }

    /// The proof that the tree as it was is a prefix of the tree as it is (RFC 9162 §2.1.4.1).
    ///
    /// # Errors
    /// None for a tree within [`super::MAX_SIZE`].
    pub fn proof(&self) -> Result<Vec<Hash>, ProveError> {
        consistency_proof(self.before.size(), self.size, |level, index| self.subtree(level, index))
    }

    fn subtree(&self, level: u32, index: u64) -> Option<Hash> {
        let since = self.since.iter().find(|(of, at, _)| (*of, *at) == (level, index));
        since.map(|(_, _, hash)| *hash).or_else(|| {
            let above = self.before.size() >> level;
            let place = (above >> 1).count_ones() as usize;
            self.before.peaks().get(place).copied().filter(|_| above % 2 == 1 && index + 1 == above)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{leaf_hash, over_leaves, verify_consistency};

    #[test]
    fn what_is_gathered_is_the_proof_over_all_leaves() {
        let leaves: Vec<Hash> = (0..40_u8).map(|number| leaf_hash(&[number])).collect();
        for size in 0..=leaves.len() {
            let mut range = CompactRange::default();
            leaves[..size].iter().for_each(|leaf| range.push(*leaf));
            let (mut growth, mut whole) = (Growth::of(range.clone()), range.clone());
            for upto in size..=leaves.len() {
                let expected = consistency_proof(size as u64, upto as u64, over_leaves(&leaves)).unwrap();
                assert_eq!(growth.proof().unwrap(), expected, "{size} {upto}");
                let (root, proof) = (whole.root(), growth.proof().unwrap());
                assert_eq!(verify_consistency(size as u64, &growth.root_before(), upto as u64, &root, &proof), Ok(()));
                if let Some(leaf) = leaves.get(upto) {
                    growth.push(*leaf);
                    whole.push(*leaf);
                }
            }
            assert_eq!(growth.size(), leaves.len() as u64);
            assert!(growth.since.len() < 14);
        }
    }
}
