//! Whether two heads of one log exclude each other: two histories. Whose lines hold is judged before.

use super::Head;
use crate::merkle::verify_consistency;
use crate::name::Hash;

/// How two heads exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Two roots of one size.
    OneSize(u64),
    /// The larger tree was another one when it had the size of the smaller head.
    TwoSizes {
        /// Leaves under the smaller head.
        smaller: u64,
        /// Leaves under the larger head.
        larger: u64,
    },
}

impl Exclusion {
    /// Judges two heads, in either order; `None` where nothing is proved.
    ///
    /// For two sizes, `hashes` begins with the root that the larger tree had at the smaller size; behind it stands the
    /// consistency proof (RFC 9162 §2.1.4.1) from that root to the larger one. For one size nothing is needed.
    pub fn of(one: &Head, other: &Head, hashes: &[Hash]) -> Option<Self> {
        let (small, large) = if one.size <= other.size { (one, other) } else { (other, one) };
        if small.origin != large.origin {
            return None;
        }
        if small.size == large.size {
            return (small.root != large.root).then_some(Self::OneSize(small.size));
        }
        let (prefix, proof) = hashes.split_first()?;
        let folds = verify_consistency(small.size, prefix, large.size, &large.root, proof).is_ok();
        (folds && *prefix != small.root).then_some(Self::TwoSizes { smaller: small.size, larger: large.size })
    }
}

impl std::fmt::Display for Exclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OneSize(size) => write!(f, "two heads of size {size}"),
            Self::TwoSizes { smaller, larger } => {
                write!(f, "a head of size {smaller} and one of size {larger} that does not continue it")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{CompactRange, Growth, leaf_hash};

    fn head(size: u64, root: Hash) -> Head {
        Head { origin: "verbale/XA/XB/1.5f0c9a3e7b2d4410".parse().unwrap(), size, root }
    }

    /// A tree of `size` leaves, with the hashes that prove what it was at `at`.
    fn tree(at: u64, size: u64) -> (Hash, Vec<Hash>) {
        let mut range = CompactRange::default();
        (0..at).for_each(|n| range.push(leaf_hash(&n.to_be_bytes())));
        let mut growth = Growth::of(range.clone());
        for n in at..size {
            range.push(leaf_hash(&n.to_be_bytes()));
            growth.push(leaf_hash(&n.to_be_bytes()));
        }
        (range.root(), [vec![growth.root_before()], growth.proof().unwrap()].concat())
    }

    #[test]
    fn two_roots_of_one_size_exclude_each_other() {
        let (one, other) = (head(3, Hash([1; 32])), head(3, Hash([2; 32])));
        assert_eq!(Exclusion::of(&one, &other, &[]), Some(Exclusion::OneSize(3)));
        assert_eq!(Exclusion::of(&one, &one, &[]), None);
    }

    #[test]
    fn two_sizes_exclude_each_other_with_the_hashes_only() {
        for (small, large) in [(1, 2), (4, 7), (5, 8), (6, 13)] {
            let (root, hashes) = tree(small, large);
            let (other, whole) = (head(small, Hash([9; 32])), head(large, root));
            let expected = Exclusion::TwoSizes { smaller: small, larger: large };
            assert_eq!(Exclusion::of(&other, &whole, &hashes), Some(expected));
            assert_eq!(Exclusion::of(&whole, &other, &hashes), Some(expected));
            assert_eq!(Exclusion::of(&other, &whole, &[]), None);
            assert_eq!(Exclusion::of(&other, &whole, &hashes[1..]), None);
            // A head that the larger one continues.
            assert_eq!(Exclusion::of(&head(small, hashes[0]), &whole, &hashes), None);
            // Hashes that do not lead to the larger root prove nothing.
            let mut wrong = hashes.clone();
            wrong[0] = Hash([7; 32]);
            assert_eq!(Exclusion::of(&other, &whole, &wrong), None);
        }
    }

    #[test]
    fn heads_of_two_logs_say_nothing_of_each_other() {
        let other: Head =
            Head { origin: "verbale/XA/XB/2.5f0c9a3e7b2d4411".parse().unwrap(), ..head(3, Hash([2; 32])) };
        assert_eq!(Exclusion::of(&head(3, Hash([1; 32])), &other, &[]), None);
    }
}
