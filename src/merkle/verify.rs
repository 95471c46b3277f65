//! Judging proofs that somebody else made: total on any sizes and on proofs of any length.

use super::{empty_root, node_hash};
use crate::name::Hash;

/// Why a proof proves nothing. Whoever gave the proof (or the roots beside it) is the one to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index does not lie within the tree.
    #[error("leaf {index} does not lie within a tree of {size} leaves")]
    OutOfRange {
        /// The index of the leaf.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The first tree is said to be the larger one.
    #[error("a tree of {size1} leaves is no prefix of a tree of {size2}")]
    Shrinks {
        /// The size of the first tree.
        size1: u64,
        /// The size of the second tree.
        size2: u64,
    },
    /// The proof has fewer or more hashes than these sizes need.
    #[error("a proof of {given} hashes does not belong to these sizes")]
    Length {
        /// How many hashes were given.
        given: usize,
    },
    /// The hashes lead to another root than the one that was signed for the (second) tree.
    #[error("the proof leads to another root")]
    Root,
    /// The hashes lead to another root than the one that was signed for the first, smaller tree.
    #[error("the proof leads to another root of the smaller tree")]
    SmallerRoot,
}

/// Checks that the leaf with `leaf_hash` stands at `index` in the tree of `size` leaves under `root`
/// (RFC 9162 §2.1.3.2).
///
/// # Errors
/// Every verdict but "proven".
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange { index, size });
    }
    let wrong_length = ProofError::Length { given: proof.len() };
    let mut place = Place { node: index, last: size - 1 };
    let mut hash = *leaf_hash;
    for sibling in proof {
        hash = match place.climb().ok_or(wrong_length)? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    if place.last != 0 {
        return Err(wrong_length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `size1` leaves under `root1` is a prefix of the tree of `size2` leaves under `root2`
/// (RFC 9162 §2.1.4.2).
///
/// The RFC leaves two cases open, and they are settled here as other implementations do: equal sizes need equal roots
/// and an empty proof; a tree without leaves is a prefix of every tree, with its own root and an empty proof.
///
/// # Errors
/// Every verdict but "proven".
pub fn verify_consistency(
    size1: u64,
    root1: &Hash,
    size2: u64,
    root2: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if size1 > size2 {
        return Err(ProofError::Shrinks { size1, size2 });
    }
    let wrong_length = ProofError::Length { given: proof.len() };
    if size1 == 0 || size1 == size2 {
        return match () {
            () if !proof.is_empty() => Err(wrong_length),
            () if size1 == 0 && *root1 != empty_root() => Err(ProofError::SmallerRoot),
            () if size1 == size2 && root1 != root2 => Err(ProofError::Root),
            () => Ok(()),
        };
    }
    // Where the smaller tree is one complete subtree, its root is the first hash of the path and is not sent.
    let (first, rest) = match proof {
        [] => return Err(wrong_length),
        _ if size1.is_power_of_two() => (root1, proof),
        [first, rest @ ..] => (first, rest),
    };
    let mut place = Place { node: size1 - 1, last: size2 - 1 };
    place.rise(place.node.trailing_ones());
    let (mut smaller, mut larger) = (*first, *first);
    for sibling in rest {
        match place.climb().ok_or(wrong_length)? {
            Side::Left => {
                smaller = node_hash(sibling, &smaller);
                larger = node_hash(sibling, &larger);
            }
            Side::Right => larger = node_hash(&larger, sibling),
        }
    }
    if place.last != 0 {
        return Err(wrong_length);
    }
    if smaller != *root1 {
        return Err(ProofError::SmallerRoot);
    }
    if larger == *root2 { Ok(()) } else { Err(ProofError::Root) }
}

/// On which side of the path the next hash of the proof lies.
enum Side {
    Left,
    Right,
}

/// Where a path stands: `node` and the `last` node of the same level (`fn` and `sn` of the RFC).
struct Place {
    node: u64,
    last: u64,
}

impl Place {
    fn rise(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }

    /// Goes up past the next sibling and says where it lies; `None` at the root.
    fn climb(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        if self.node & 1 == 0 && self.node != self.last {
            self.rise(1);
            return Some(Side::Right);
        }
        // The last node of a level without a sibling moves up unchanged until it has one on its left; `node` is not
        // zero here, for it is odd or equal to `last`.
        self.rise(self.node.trailing_zeros() + 1);
        Some(Side::Left)
    }
}
