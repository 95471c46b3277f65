//! The compact range: all that must be remembered of a tree to append to it and to know its root.

use serde::{Deserialize, Serialize};

use super::{MAX_SIZE, MissingSubtree, empty_root, node_hash};
use crate::name::Hash;

/// A tree reduced to the roots of its complete subtrees ("peaks"), largest and leftmost first: one per bit that is set
/// in its size.
///
/// Appending costs one hash on average; memory is at most 63 hashes. Two values are equal where size and peaks are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct CompactRange {
    size: u64,
    peaks: Vec<Hash>,
}

/// The form in which a range is stored; it is checked when it is read.
#[derive(Serialize, Deserialize)]
struct Written {
    size: u64,
    peaks: Vec<Hash>,
}

impl TryFrom<Written> for CompactRange {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        Self::from_peaks(written.size, written.peaks)
            .ok_or("the number of peaks does not belong to the size of the tree")
    }
}

impl From<CompactRange> for Written {
    fn from(range: CompactRange) -> Self {
        Self { size: range.size, peaks: range.peaks }
    }
}

impl CompactRange {
    /// Takes a range from its parts; `None` where the number of peaks does not belong to `size`, or `size` is above
    /// [`MAX_SIZE`].
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let fits = size <= MAX_SIZE && peaks.len() == size.count_ones() as usize;
        fits.then_some(Self { size, peaks })
    }

    /// Takes the range of the first `size` leaves of a tree whose complete subtrees are at hand.
    ///
    /// # Errors
    /// The first subtree that `subtree` does not give.
    pub fn from_subtrees(size: u64, mut subtree: impl FnMut(u32, u64) -> Option<Hash>) -> Result<Self, MissingSubtree> {
        let mut peaks = Vec::with_capacity(size.count_ones() as usize);
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            // Left of this peak lie exactly the larger ones: the bits of `size` above `level`.
            let index = (size >> level) - 1;
            peaks.push(subtree(level, index).ok_or(MissingSubtree { level, index })?);
        }
        Ok(Self { size, peaks })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf_hash: Hash) {
        let mut hash = leaf_hash;
        // One peak is completed for each trailing one of the size, as in adding one to a binary number.
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("one peak per bit that is set in the size");
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root hash of the tree.
    pub fn root(&self) -> Hash {
        let right_to_left = self.peaks.iter().rev().copied();
        right_to_left.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }

    /// The roots of the complete subtrees, largest and leftmost first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }
}
