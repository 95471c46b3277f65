//! What proves two histories of one log to somebody who holds neither copy.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::name::Hash;

/// The most hashes that a proof of two sizes can have: one root, and a consistency proof of 64.
pub const MAX_CONTRADICTION_HASHES: usize = 65;

/// Two notes with lines of the author that exclude each other, and what is needed to see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// The note of whoever shows this, in its own copy where it has one.
    pub ours: Bytes,
    /// The other note.
    pub theirs: Bytes,
    /// For notes of two sizes: the root that the larger tree had at the smaller size, then the consistency proof from
    /// that root to the larger one. Empty for notes of one size.
    pub hashes: Vec<Hash>,
}

impl Contradiction {
    /// Nothing is shown.
    pub fn is_empty(&self) -> bool {
        self.ours.is_empty() && self.theirs.is_empty()
    }

    /// The hashes one after the other.
    pub fn hash_bytes(&self) -> Bytes {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }

    /// Reads what [`Contradiction::hash_bytes`] writes; `None` for more than [`MAX_CONTRADICTION_HASHES`], or a part of
    /// a hash.
    pub fn hashes_from(bytes: &[u8]) -> Option<Vec<Hash>> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        let fits = rest.is_empty() && hashes.len() <= MAX_CONTRADICTION_HASHES;
        fits.then(|| hashes.iter().map(|hash| Hash(*hash)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_back_up_to_the_limit_and_only_whole() {
        for (count, fits) in [
            (0, true),
            (1, true),
            (MAX_CONTRADICTION_HASHES - 1, true),
            (MAX_CONTRADICTION_HASHES, true),
            (MAX_CONTRADICTION_HASHES + 1, false),
        ] {
            let proof = Contradiction { hashes: vec![Hash([3; 32]); count], ..Contradiction::default() };
            assert_eq!(Contradiction::hashes_from(&proof.hash_bytes()), fits.then(|| proof.hashes.clone()), "{count}");
        }
        assert_eq!(Contradiction::hashes_from(&[0; 33]), None);
    }
}
