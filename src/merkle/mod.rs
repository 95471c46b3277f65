//! Merkle trees of RFC 6962 §2.1 (the same trees as RFC 9162 §2.1) over SHA-256: hashes, the compact range, proofs of
//! inclusion and of consistency. Knows nothing of what a leaf means, who signs a root, or where hashes are kept.
//!
//! Subtrees are named as tiles name them: `(level, index)` is the complete subtree over the leaves
//! `index · 2^level .. (index + 1) · 2^level`. Whoever asks for a proof hands in a closure that gives the hash of such
//! a subtree from wherever it lies.

mod grow;
mod hash;
mod prove;
mod range;
mod verify;

pub use grow::Growth;
pub use hash::{empty_root, leaf_hash, leaf_hash_parts, node_hash};
pub use prove::{MissingSubtree, ProveError, consistency_proof, inclusion_proof, over_leaves, root_of};
pub use range::CompactRange;
pub use verify::{ProofError, verify_consistency, verify_inclusion};

/// The largest number of leaves of a tree: 2^63 − 1, because C2SP timestamps and sizes stay within a signed integer and
/// other tools (Go's `tlog`) count leaves in one.
pub const MAX_SIZE: u64 = (1 << 63) - 1;

/// The most hashes that a proof within [`MAX_SIZE`] can hold: 63 for inclusion, one more for consistency.
pub const MAX_PROOF_HASHES: usize = 64;
