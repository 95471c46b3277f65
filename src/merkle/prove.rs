//! Building proofs from the hashes of complete subtrees, wherever they are kept.

use super::{MAX_SIZE, empty_root, node_hash};
use crate::name::Hash;

/// A subtree whose hash is needed and was not given: this side's own store is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hash of subtree {index} at level {level} is not at hand")]
pub struct MissingSubtree {
    /// The height of the subtree: it covers 2^level leaves.
    pub level: u32,
    /// How many subtrees of this level lie to the left of it.
    pub index: u64,
}

/// Why no proof can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// What was asked for does not lie within the tree, or the tree is larger than [`MAX_SIZE`].
    #[error("{asked} does not lie within a tree of {size} leaves")]
    OutOfRange {
        /// The index of the leaf, or the size of the smaller tree.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A hash is not at hand.
    #[error(transparent)]
    Missing(#[from] MissingSubtree),
}

/// Builds the inclusion proof of leaf `index` in the tree of the first `size` leaves (RFC 9162 §2.1.3.1), leaf's
/// sibling first.
///
/// `subtree(level, index)` gives the hash of a complete subtree; it is asked for subtrees within `size` only.
///
/// # Errors
/// An index outside the tree, or a hash that is not at hand.
pub fn inclusion_proof(
    index: u64,
    size: u64,
    mut subtree: impl FnMut(u32, u64) -> Option<Hash>,
) -> Result<Vec<Hash>, ProveError> {
    if index >= size || size > MAX_SIZE {
        return Err(ProveError::OutOfRange { asked: index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut downward = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        let sibling = if index < middle { (middle, end) } else { (start, middle) };
        downward.push(span_root(sibling.0, sibling.1, &mut subtree)?);
        (start, end) = if index < middle { (start, middle) } else { (middle, end) };
    }
    downward.reverse();
    Ok(downward)
}

/// Builds the proof that the tree of the first `size1` leaves is a prefix of the tree of the first `size2`
/// (RFC 9162 §2.1.4.1). It is empty where the sizes are equal or `size1` is zero.
///
/// `subtree(level, index)` gives the hash of a complete subtree; it is asked for subtrees within `size2` only.
///
/// # Errors
/// `size1` above `size2`, or a hash that is not at hand.
pub fn consistency_proof(
    size1: u64,
    size2: u64,
    mut subtree: impl FnMut(u32, u64) -> Option<Hash>,
) -> Result<Vec<Hash>, ProveError> {
    if size1 > size2 || size2 > MAX_SIZE {
        return Err(ProveError::OutOfRange { asked: size1, size: size2 });
    }
    if size1 == 0 || size1 == size2 {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, size2);
    let mut downward = Vec::new();
    while end != size1 {
        let middle = start + split(end - start);
        if size1 <= middle {
            downward.push(span_root(middle, end, &mut subtree)?);
            end = middle;
        } else {
            downward.push(span_root(start, middle, &mut subtree)?);
            start = middle;
        }
    }
    // The subtree where the smaller tree ends is known to the verifier only where it is the whole smaller tree.
    if start != 0 {
        downward.push(span_root(start, end, &mut subtree)?);
    }
    downward.reverse();
    Ok(downward)
}

/// The root of the tree of the first `size` leaves.
///
/// # Errors
/// The first subtree that `subtree` does not give.
pub fn root_of(size: u64, mut subtree: impl FnMut(u32, u64) -> Option<Hash>) -> Result<Hash, MissingSubtree> {
    if size == 0 { Ok(empty_root()) } else { span_root(0, size, &mut subtree) }
}

/// Gives the hashes of complete subtrees from a plain list of leaf hashes, for proofs of small trees and for tests.
///
/// Each hash is computed anew.
pub fn over_leaves(leaves: &[Hash]) -> impl Fn(u32, u64) -> Option<Hash> {
    move |level, index| {
        let width = 1_usize.checked_shl(level)?;
        let start = usize::try_from(index).ok()?.checked_mul(width)?;
        Some(complete_root(leaves.get(start..start.checked_add(width)?)?))
    }
}

/// The root of a power of two of leaves.
fn complete_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len() / 2);
            node_hash(&complete_root(left), &complete_root(right))
        }
    }
}

/// The largest power of two below `width`, which is at least 2.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// The root over the leaves `start..end` (not empty), where `start` is a multiple of the power of two that covers them.
fn span_root(start: u64, end: u64, subtree: &mut impl FnMut(u32, u64) -> Option<Hash>) -> Result<Hash, MissingSubtree> {
    let width = end - start;
    let mut root: Option<Hash> = None;
    // From the right: the smallest complete subtree first.
    for level in (0..u64::BITS).filter(|level| width >> level & 1 == 1) {
        let index = (start >> level) + (width >> level) - 1;
        let left = subtree(level, index).ok_or(MissingSubtree { level, index })?;
        root = Some(root.map_or(left, |right| node_hash(&left, &right)));
    }
    Ok(root.expect("a span has at least one leaf"))
}
