//! Trees and their proofs against the definition, the published example tree, and another implementation.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use verbale::merkle::{
    CompactRange, MAX_PROOF_HASHES, MAX_SIZE, ProofError, ProveError, consistency_proof, empty_root, inclusion_proof,
    leaf_hash, node_hash, over_leaves, root_of, verify_consistency, verify_inclusion,
};
use verbale::name::Hash;

/// The leaves of the example tree that Certificate Transparency implementations have shared since RFC 6962.
const EXAMPLE_LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// The roots of its first 0 to 8 leaves.
const EXAMPLE_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Sizes up to this one are tried exhaustively.
const ALL_SIZES: u64 = 40;

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// The definition of RFC 6962 §2.1, word for word.
fn defined_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        _ => {
            let mut split = 1;
            while split * 2 < leaves.len() {
                split *= 2;
            }
            node_hash(&defined_root(&leaves[..split]), &defined_root(&leaves[split..]))
        }
    }
}

fn range_of(leaves: &[Hash]) -> CompactRange {
    let mut range = CompactRange::default();
    leaves.iter().for_each(|leaf| range.push(*leaf));
    range
}

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Hash(bytes)
}

/// Each proof that differs from `proof` in one flipped bit, one hash more, one less, or two swapped.
fn mutations(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for i in 0..proof.len() {
        let mut one = proof.to_vec();
        one[i] = flipped(&proof[i], i * 31);
        all.push(one);
        let mut one = proof.to_vec();
        one.remove(i);
        all.push(one);
        if i > 0 {
            let mut one = proof.to_vec();
            one.swap(i, i - 1);
            all.push(one);
        }
    }
    for i in 0..=proof.len() {
        let mut one = proof.to_vec();
        one.insert(i, proof.get(i).copied().unwrap_or(empty_root()));
        all.push(one);
    }
    all
}

#[test]
fn the_example_tree_has_its_published_roots() {
    let mut range = CompactRange::default();
    let mut hashes = Vec::new();
    for (size, root) in EXAMPLE_ROOTS.iter().enumerate() {
        assert_eq!(range.root().to_string(), *root, "{size}");
        assert_eq!(root_of(size as u64, over_leaves(&hashes)), Ok(range.root()));
        if let Some(leaf) = EXAMPLE_LEAVES.get(size) {
            hashes.push(leaf_hash(&data_encoding::HEXLOWER.decode(leaf.as_bytes()).unwrap()));
            range.push(hashes[size]);
        }
    }
}

#[test]
fn every_inclusion_proof_of_a_small_tree_holds_and_no_mutation_of_it() {
    for size in 1..=ALL_SIZES {
        let leaves = leaves(size);
        let root = defined_root(&leaves);
        for index in 0..size {
            let leaf = &leaves[index as usize];
            let proof = inclusion_proof(index, size, over_leaves(&leaves)).unwrap();
            assert_eq!(verify_inclusion(leaf, index, size, &proof, &root), Ok(()), "{index} of {size}");
            for wrong in mutations(&proof) {
                assert!(verify_inclusion(leaf, index, size, &wrong, &root).is_err(), "{index} of {size}: {wrong:?}");
            }
            assert!(verify_inclusion(&flipped(leaf, 9), index, size, &proof, &root).is_err());
            assert_eq!(verify_inclusion(leaf, index, size, &proof, &flipped(&root, 3)), Err(ProofError::Root));
            for other in (0..size + 2).filter(|other| *other != index) {
                assert!(verify_inclusion(leaf, other, size, &proof, &root).is_err(), "{index} as {other} of {size}");
            }
        }
    }
}

#[test]
fn every_consistency_proof_of_a_small_tree_holds_and_no_mutation_of_it() {
    let leaves = leaves(ALL_SIZES);
    let roots: Vec<Hash> = (0..=ALL_SIZES as usize).map(|size| defined_root(&leaves[..size])).collect();
    for size2 in 0..=ALL_SIZES {
        for size1 in 0..=size2 {
            let (root1, root2) = (&roots[size1 as usize], &roots[size2 as usize]);
            let proof = consistency_proof(size1, size2, over_leaves(&leaves[..size2 as usize])).unwrap();
            assert_eq!(verify_consistency(size1, root1, size2, root2, &proof), Ok(()), "{size1} to {size2}");
            for wrong in mutations(&proof) {
                assert!(verify_consistency(size1, root1, size2, root2, &wrong).is_err(), "{size1} to {size2}");
            }
            assert!(verify_consistency(size1, &flipped(root1, 5), size2, root2, &proof).is_err());
            if size1 > 0 {
                assert!(verify_consistency(size1, root1, size2, &flipped(root2, 5), &proof).is_err());
            }
            if size1 < size2 {
                assert!(verify_consistency(size2, root2, size1, root1, &proof).is_err());
                assert!(verify_consistency(size1 + 1, root1, size2, root2, &proof).is_err());
            }
        }
    }
}

#[test]
fn proofs_are_asked_for_within_the_tree_only_and_missing_hashes_are_named() {
    let leaves = leaves(7);
    let subtree = over_leaves(&leaves);
    assert_eq!(inclusion_proof(7, 7, &subtree), Err(ProveError::OutOfRange { asked: 7, size: 7 }));
    assert_eq!(inclusion_proof(0, 0, &subtree), Err(ProveError::OutOfRange { asked: 0, size: 0 }));
    assert_eq!(consistency_proof(8, 7, &subtree), Err(ProveError::OutOfRange { asked: 8, size: 7 }));
    assert!(matches!(inclusion_proof(0, 8, &subtree), Err(ProveError::Missing(hole)) if hole.level == 2));
    let everywhere = |_: u32, _: u64| Some(Hash::default());
    for (size, is_made) in [(MAX_SIZE - 1, true), (MAX_SIZE, true), (MAX_SIZE + 1, false), (u64::MAX, false)] {
        assert_eq!(inclusion_proof(0, size, everywhere).is_ok(), is_made, "{size}");
        assert_eq!(consistency_proof(1, size, everywhere).is_ok(), is_made, "{size}");
    }
}

#[test]
fn a_proof_in_a_tree_of_the_largest_size_is_made_and_judged() {
    let size = MAX_SIZE;
    // A tree in which every subtree of a level has the same hash, as if all leaves were equal.
    let mut levels = vec![leaf_hash(b"same")];
    for level in 1..64 {
        levels.push(node_hash(&levels[level - 1], &levels[level - 1]));
    }
    let subtree = |level: u32, _: u64| levels.get(level as usize).copied();
    let root = root_of(size, subtree).unwrap();
    for index in [0, 1, size / 2, size - 1] {
        let proof = inclusion_proof(index, size, subtree).unwrap();
        assert!(proof.len() <= MAX_PROOF_HASHES);
        assert_eq!(verify_inclusion(&levels[0], index, size, &proof, &root), Ok(()));
        let smaller = root_of(index + 1, subtree).unwrap();
        let proof = consistency_proof(index + 1, size, subtree).unwrap();
        assert!(proof.len() <= MAX_PROOF_HASHES);
        assert_eq!(verify_consistency(index + 1, &smaller, size, &root, &proof), Ok(()));
    }
    let range = CompactRange::from_subtrees(size, subtree).unwrap();
    assert_eq!((range.root(), range.peaks().len()), (root, 63));
}

#[test]
fn a_range_whose_peaks_do_not_belong_to_its_size_does_not_exist() {
    let range = range_of(&leaves(11));
    let peaks = range.peaks().to_vec();
    assert_eq!(CompactRange::from_peaks(11, peaks.clone()), Some(range.clone()));
    assert_eq!(CompactRange::from_peaks(12, peaks.clone()), None);
    assert_eq!(CompactRange::from_peaks(0, peaks.clone()), None);
    assert_eq!(CompactRange::from_peaks(MAX_SIZE + 1, peaks[..1].to_vec()), None);
    assert!(CompactRange::from_peaks(MAX_SIZE, vec![Hash::default(); 63]).is_some());
    let stored = postcard::to_stdvec(&range).unwrap();
    assert_eq!(postcard::from_bytes::<CompactRange>(&stored).unwrap(), range);
    let mut wrong = stored.clone();
    wrong[0] = 12;
    assert!(postcard::from_bytes::<CompactRange>(&wrong).is_err());
}

#[test]
fn another_implementation_makes_the_same_roots_and_accepts_and_gives_the_same_proofs() {
    let bytes_of = |proof: &[Hash]| proof.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>();
    let mut judge = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut ours = Vec::new();
    let mut roots = vec![judge.root()];
    for size in 1..=70_u64 {
        let leaf = format!("entry {size}").into_bytes();
        ours.push(leaf_hash(&leaf));
        judge.push(leaf);
        roots.push(judge.root());
        assert_eq!(judge.root().as_bytes().as_slice(), range_of(&ours).root().as_bytes(), "{size}");
        for index in 0..size {
            let proof = inclusion_proof(index, size, over_leaves(&ours)).unwrap();
            assert_eq!(judge.prove_inclusion(index as usize).as_bytes(), bytes_of(&proof), "{index} of {size}");
        }
        for size1 in 1..size {
            let proof = consistency_proof(size1, size, over_leaves(&ours)).unwrap();
            let theirs = judge.prove_consistency((size - size1) as usize);
            assert_eq!(theirs.as_bytes(), bytes_of(&proof), "{size1} to {size}");
            assert!(judge.root().verify_consistency(&roots[size1 as usize], &theirs).is_ok());
        }
    }
}

fn any_hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

/// Sizes of all magnitudes, and those beside powers of two.
fn any_size() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..70_u64, (0..64_u32, 0..3_u64).prop_map(|(bit, off)| (1 << bit) + off - 1)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compact_range_has_the_root_and_the_peaks_of_the_definition(count in 0..300_u64) {
        let leaves = leaves(count);
        let range = range_of(&leaves);
        prop_assert_eq!(range.size(), count);
        prop_assert_eq!(range.root(), defined_root(&leaves));
        prop_assert_eq!(CompactRange::from_subtrees(count, over_leaves(&leaves)), Ok(range));
    }

    #[test]
    fn proofs_of_larger_trees_hold(size in 41..600_u64, a in any::<prop::sample::Index>()) {
        let leaves = leaves(size);
        let (index, root) = (a.index(size as usize), range_of(&leaves).root());
        let proof = inclusion_proof(index as u64, size, over_leaves(&leaves)).unwrap();
        prop_assert_eq!(verify_inclusion(&leaves[index], index as u64, size, &proof, &root), Ok(()));
        let smaller = range_of(&leaves[..index]).root();
        let proof = consistency_proof(index as u64, size, over_leaves(&leaves)).unwrap();
        prop_assert_eq!(verify_consistency(index as u64, &smaller, size, &root, &proof), Ok(()));
    }

    #[test]
    fn arbitrary_proofs_are_judged_without_panic_and_never_believed(
        sizes in (any_size(), any_size()), hashes in (any_hash(), any_hash(), any_hash()),
        proof in prop::collection::vec(any_hash(), 0..140),
    ) {
        prop_assert!(verify_inclusion(&hashes.0, sizes.0, sizes.1, &proof, &hashes.1).is_err());
        prop_assert!(verify_consistency(sizes.0, &hashes.0, sizes.1, &hashes.1, &proof).is_err());
        prop_assert!(verify_consistency(sizes.0, &hashes.2, sizes.0, &hashes.1, &proof).is_err());
    }
}
