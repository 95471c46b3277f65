//! Published vectors of other transparency logs, where they lie beside this folder: in the directory that
//! `VERBALE_DATA` names, or `../shared/data`. Each test says so where it has nothing to read.

use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;
use verbale::merkle::{
    CompactRange, consistency_proof, inclusion_proof, leaf_hash, over_leaves, verify_consistency, verify_inclusion,
};
use verbale::name::Hash;
use verbale::note::{Crypto, ForeignCheckpoint, KeyAlgorithm, Verifier, VerifierKey, judge_with};

fn data(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("VERBALE_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let bytes = std::fs::read(folder.join(name)).ok();
    if bytes.is_none() {
        println!("skipped: no {name} in {}", folder.display());
    }
    bytes
}

fn json(name: &str) -> Option<Value> {
    data(name).map(|bytes| serde_json::from_slice(&bytes).expect("the vectors are JSON"))
}

/// The bytes of a hash of the vectors, which deliberately are not always 32.
fn bytes(value: &Value) -> Vec<u8> {
    BASE64.decode(value.as_str().expect("hashes are text").as_bytes()).expect("hashes are base64")
}

/// Our verdict; `None` where some hash of the case is not 32 bytes, which no caller of ours can hand over.
fn proof_is_accepted(case: &Value) -> Option<bool> {
    let number = |name: &str| case[name].as_u64().expect("sizes and indexes are numbers");
    let hash = |name: &str| Hash::from_slice(&bytes(&case[name]));
    let proof = case["proof"].as_array().into_iter().flatten().map(|hash| Hash::from_slice(&bytes(hash)));
    let proof: Vec<Hash> = proof.collect::<Option<_>>()?;
    Some(if case.get("size1").is_some() {
        let (size1, size2) = (number("size1"), number("size2"));
        verify_consistency(size1, &hash("root1")?, size2, &hash("root2")?, &proof).is_ok()
    } else {
        let (index, size) = (number("leafIdx"), number("treeSize"));
        verify_inclusion(&hash("leafHash")?, index, size, &proof, &hash("root")?).is_ok()
    })
}

/// Whether all hashes of a case are 32 bytes, counted apart from the code that judges.
fn is_representable(case: &Value) -> bool {
    let named = ["root", "root1", "root2", "leafHash"].iter().filter_map(|name| case.get(name));
    named.chain(case["proof"].as_array().into_iter().flatten()).all(|hash| bytes(hash).len() == 32)
}

#[test]
fn published_proofs_get_their_published_verdicts() {
    let Some(cases) = json("tlog/merkle-proofs.json") else { return };
    let (mut accepted, mut refused, mut outside) = (0, 0, 0);
    for case in cases.as_array().unwrap() {
        let wanted = !case["wantErr"].as_bool().unwrap();
        let verdict = proof_is_accepted(case);
        assert_eq!(verdict.is_some(), is_representable(case), "{}", case["file"]);
        assert_eq!(verdict.unwrap_or(false), wanted, "{}", case["file"]);
        match verdict {
            Some(true) => accepted += 1,
            Some(false) => refused += 1,
            None => outside += 1,
        }
    }
    println!("{accepted} accepted, {refused} refused, {outside} with hashes of another length than 32 bytes");
    assert!(accepted > 0 && refused > accepted);
}

/// The entries of a bundle (c2sp.org/tlog-tiles): each behind its length in two bytes.
fn entries(mut bundle: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        all.push(entry);
        bundle = rest;
    }
    all
}

#[test]
fn the_log_of_another_implementation_is_read_judged_and_rebuilt() {
    let Some(key) = data("tlog/tessera-log/VKEY.txt") else { return };
    let key: VerifierKey = String::from_utf8(key).unwrap().trim().parse().unwrap();
    let mut earlier: Vec<ForeignCheckpoint> = Vec::new();
    for size in 1..=15_u64 {
        let read = |name: String| data(&name).expect("the log is whole");
        let bytes = read(format!("tlog/tessera-log/checkpoint.{size}"));
        let checkpoint = ForeignCheckpoint::parse(&bytes).unwrap();
        assert_eq!(checkpoint.to_bytes(), bytes);
        assert!(judge_with(&checkpoint, &key, &Crypto).unwrap().is_some(), "{size}");
        let head = checkpoint.head();
        assert_eq!((head.origin.as_str(), head.size), (key.name(), size));

        let bundle = read(format!("tlog/tessera-log/tile/entries/000.p/{size}"));
        let leaves: Vec<Hash> = entries(&bundle).into_iter().map(leaf_hash).collect();
        let tile: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        assert_eq!(tile, read(format!("tlog/tessera-log/tile/0/000.p/{size}")));
        for (index, leaf) in (0..).zip(&leaves) {
            let proof = inclusion_proof(index, size, over_leaves(&leaves)).unwrap();
            assert_eq!(verify_inclusion(leaf, index, size, &proof, &head.root), Ok(()));
        }
        for old in earlier.iter().map(ForeignCheckpoint::head) {
            let proof = consistency_proof(old.size, size, over_leaves(&leaves)).unwrap();
            assert_eq!(verify_consistency(old.size, &old.root, size, &head.root, &proof), Ok(()));
        }
        let altered = String::from_utf8(bytes).unwrap().replacen(&format!("\n{size}\n"), "\n99\n", 1);
        let altered = ForeignCheckpoint::parse(altered.as_bytes()).unwrap();
        assert!(judge_with(&altered, &key, &Crypto).is_err(), "{size}");
        earlier.push(checkpoint);
    }
}

#[test]
fn published_signatures_get_their_published_verdicts() {
    let Some(vectors) = json("crypto/wycheproof-ed25519_test.json") else { return };
    let hex = |value: &Value| HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
    let (mut good, mut bad) = (0, 0);
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = hex(&group["publicKey"]["pk"]);
        for case in group["tests"].as_array().unwrap() {
            let holds = Crypto.verify(KeyAlgorithm::Ed25519, &key, &hex(&case["msg"]), &hex(&case["sig"]));
            assert_eq!(holds, case["result"] == "valid", "{}: {}", case["tcId"], case["comment"]);
            if holds { good += 1 } else { bad += 1 }
        }
    }
    println!("{good} signatures hold, {bad} do not");
    assert!(good > 0 && bad > 0);
}

#[test]
fn the_published_tree_has_its_published_roots() {
    let Some(tree) = json("tlog/rfc6962-reference-tree.json") else { return };
    let mut range = CompactRange::default();
    let roots = tree["roots_by_size_hex"].as_array().unwrap();
    let leaves = tree["leaf_inputs_hex"].as_array().unwrap();
    assert_eq!(roots.len(), leaves.len() + 1);
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(range.root().to_string(), root.as_str().unwrap(), "{size}");
        if let Some(leaf) = leaves.get(size) {
            range.push(leaf_hash(&HEXLOWER.decode(leaf.as_str().unwrap().as_bytes()).unwrap()));
        }
    }
}
