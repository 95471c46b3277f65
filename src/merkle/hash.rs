//! The two kinds of hashes of a tree, kept apart by their first byte, and the root of a tree without leaves.

use aws_lc_rs::digest::{Context, SHA256, digest};

use crate::name::Hash;

const LEAF: u8 = 0x00;
const NODE: u8 = 0x01;

/// Leaves up to this size are hashed from the stack in one call; the longest leaf of an entry (1,061 bytes) fits.
const ON_STACK: usize = 1280;

fn finished(digest: aws_lc_rs::digest::Digest) -> Hash {
    Hash::from_slice(digest.as_ref()).expect("SHA-256 gives 32 bytes")
}

/// Hashes a leaf: SHA-256(0x00 ‖ leaf).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    leaf_hash_parts(&[leaf])
}

/// Hashes several slices as one leaf, as if they stood one after the other.
pub fn leaf_hash_parts(parts: &[&[u8]]) -> Hash {
    let mut buffer = [LEAF; ON_STACK];
    let mut end = 1_usize;
    for part in parts {
        match buffer.get_mut(end..end.saturating_add(part.len())) {
            Some(room) => room.copy_from_slice(part),
            None => return long_leaf_hash(parts),
        }
        end += part.len();
    }
    finished(digest(&SHA256, &buffer[..end]))
}

fn long_leaf_hash(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[LEAF]);
    for part in parts {
        context.update(part);
    }
    finished(context.finish())
}

/// Hashes an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut buffer = [NODE; 65];
    buffer[1..33].copy_from_slice(left.as_bytes());
    buffer[33..].copy_from_slice(right.as_bytes());
    finished(digest(&SHA256, &buffer))
}

/// The root of a tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    finished(digest(&SHA256, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_in_parts_hashes_like_the_whole_on_both_sides_of_the_stack_limit() {
        for length in [0, 1, 1061, ON_STACK - 2, ON_STACK - 1, ON_STACK, ON_STACK + 1, 50_000] {
            let leaf: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
            let mut plain = vec![0x00];
            plain.extend_from_slice(&leaf);
            let expected = Hash::from_slice(digest(&SHA256, &plain).as_ref()).unwrap();
            assert_eq!(leaf_hash(&leaf), expected, "{length}");
            let (a, b) = leaf.split_at(length / 3);
            assert_eq!(leaf_hash_parts(&[a, &[], b]), expected, "{length}");
        }
    }

    #[test]
    fn a_leaf_that_looks_like_a_node_has_another_hash() {
        let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
        assert_ne!(leaf_hash_parts(&[a.as_bytes(), b.as_bytes()]), node_hash(&a, &b));
        assert_ne!(node_hash(&a, &b), node_hash(&b, &a));
    }
}
