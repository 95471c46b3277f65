//! Published vectors of other transparency logs, where they lie beside this folder: in the directory that `VERBALE_DATA`
//! names, or `../shared/data`. Each test says so where it has nothing to read.

use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;
use verbale::merkle::{CompactRange, leaf_hash, verify_consistency, verify_inclusion};
use verbale::name::Hash;

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

/// A hash of the vectors; `None` where it is not 32 bytes, which no caller of ours could hand over.
fn hash(value: &Value) -> Option<Hash> {
    Hash::from_slice(&BASE64.decode(value.as_str().unwrap_or_default().as_bytes()).ok()?)
}

fn proof_is_accepted(case: &Value) -> Option<bool> {
    let number = |name: &str| case[name].as_u64();
    let proof: Vec<Hash> = case["proof"].as_array().into_iter().flatten().map(hash).collect::<Option<_>>()?;
    Some(match number("size1") {
        Some(size1) => {
            verify_consistency(size1, &hash(&case["root1"])?, number("size2")?, &hash(&case["root2"])?, &proof).is_ok()
        }
        None => {
            let (index, size) = (number("leafIdx")?, number("treeSize")?);
            verify_inclusion(&hash(&case["leafHash"])?, index, size, &proof, &hash(&case["root"])?).is_ok()
        }
    })
}

#[test]
fn published_proofs_get_their_published_verdicts() {
    let Some(cases) = json("tlog/merkle-proofs.json") else { return };
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 90, "{}", cases.len());
    let mut judged = 0;
    for case in cases {
        let wanted = !case["wantErr"].as_bool().unwrap();
        let verdict = proof_is_accepted(case);
        judged += usize::from(verdict.is_some());
        assert_eq!(verdict.unwrap_or(false), wanted, "{}", case["file"]);
    }
    assert!(judged >= 80, "only {judged} could be read");
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
