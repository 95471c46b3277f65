//! What programs that never heard of verbale say about its heads, receipts and proofs: Go's `sumdb/note` and
//! `sumdb/tlog` (Debian: `golang-go`, `golang-golang-x-mod-dev`) and the Python package `cryptography` (tried: 48).
//!
//! Each test says so and passes where its judge is not installed; with `VERBALE_OUTSIDE_JUDGES=require` it fails there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use verbale::merkle::{consistency_proof, inclusion_proof, leaf_hash, over_leaves, root_of};
use verbale::name::{Hash, NodeName};
use verbale::note::{
    Algorithm, Checkpoint, Head, KeyAlgorithm, Seeds, SigningKeys, VerifierKey, sign_log_line, sign_receipt_line,
};

const ORIGIN: &str = "verbale/XA/XB/1.5f0c9a3e7b2d4410";
const HOLDER: &str = "verbale/XB";
const SIZE: u64 = 11;
const INDEX: u64 = 6;
const OLD_SIZE: u64 = 7;

/// Where Debian puts the sources of Go packages.
const GO_PACKAGES: &str = "/usr/share/gocode";

fn keys(seed: u8) -> SigningKeys {
    SigningKeys::from_seeds(&Seeds::from_bytes(&[seed; 64])).unwrap()
}

fn leaf(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn leaves() -> Vec<Hash> {
    (0..SIZE).map(|index| leaf_hash(&leaf(index))).collect()
}

/// A head with both lines of both sides.
fn note() -> Checkpoint {
    let root = root_of(SIZE, over_leaves(&leaves())).unwrap();
    let head = Head { origin: ORIGIN.parse().unwrap(), size: SIZE, root };
    let (author, holder, xb) = (keys(1), keys(2), "XB".parse::<NodeName>().unwrap());
    let lines = KeyAlgorithm::ALL.into_iter().flat_map(|algorithm| {
        let receipt = sign_receipt_line(&head, xb, algorithm, 1_772_366_400, &holder);
        [sign_log_line(&head, algorithm, &author), receipt]
    });
    Checkpoint::new(head.clone(), lines.collect()).unwrap()
}

/// Says that a judge is missing, or fails where it was required.
fn skip(why: &str) {
    let required = std::env::var_os("VERBALE_OUTSIDE_JUDGES").is_some_and(|value| value == "require");
    assert!(!required, "an outside judge is required, but {why}");
    println!("skipped: {why}");
}

/// What a judge said and with which exit status it ended.
struct Verdict {
    status: Option<i32>,
    said: String,
}

impl Verdict {
    fn is_accepted(&self) -> bool {
        assert!(matches!(self.status, Some(0 | 1)), "no verdict: {:?} {}", self.status, self.said);
        let expected = if self.status == Some(0) { "accepted" } else { "refused" };
        assert!(self.said.starts_with(expected), "{}", self.said);
        self.status == Some(0)
    }
}

fn ask(command: &mut Command, question: &Value) -> Verdict {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the judge starts");
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).expect("the judge reads");
    let output = child.wait_with_output().expect("the judge ends");
    Verdict { status: output.status.code(), said: String::from_utf8_lossy(&output.stdout).into_owned() }
}

fn flip(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

/// Builds the judge of `tests/outside/go` without network; `None` where Go or its package is missing.
fn go_judge() -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        skip("there is no `go`");
        return None;
    }
    if !Path::new(GO_PACKAGES).join("src/golang.org/x/mod/sumdb/note").is_dir() {
        skip("there is no golang-golang-x-mod-dev");
        return None;
    }
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let judge = scratch.join("go-judge");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&judge)
        .arg("main.go")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", GO_PACKAGES)
        .env("GOCACHE", scratch.join("go-cache"))
        .env("CGO_ENABLED", "0")
        .output()
        .expect("go runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(judge)
}

fn go_question() -> Value {
    let key = |name, kind, keys: &SigningKeys| {
        VerifierKey::new(name, kind, keys.public_keys().get(KeyAlgorithm::Ed25519)).unwrap().to_string()
    };
    let encoded = |proof: Vec<Hash>| proof.iter().map(|hash| BASE64.encode(hash.as_bytes())).collect::<Vec<_>>();
    let (leaves, old_root) = (leaves(), root_of(OLD_SIZE, over_leaves(&leaves())).unwrap());
    json!({
        "note": note().to_string(),
        "log_key": key(ORIGIN, Algorithm::Ed25519, &keys(1)),
        "receipt_key": key(HOLDER, Algorithm::CosignatureV1, &keys(2)),
        "leaf": BASE64.encode(&leaf(INDEX)),
        "index": INDEX,
        "inclusion": encoded(inclusion_proof(INDEX, SIZE, over_leaves(&leaves)).unwrap()),
        "old_size": OLD_SIZE,
        "old_root": BASE64.encode(old_root.as_bytes()),
        "prefix": encoded(consistency_proof(OLD_SIZE, SIZE, over_leaves(&leaves)).unwrap()),
    })
}

#[test]
fn go_accepts_a_head_a_receipt_and_proofs_and_refuses_each_with_a_byte_changed() {
    let Some(judge) = go_judge() else { return };
    let verdict = |question: &Value| ask(&mut Command::new(&judge), question);
    let question = go_question();
    let good = verdict(&question);
    assert!(good.is_accepted(), "{}", good.said);

    let text = question["note"].as_str().unwrap();
    let root = ORIGIN.len() + "\n11\n".len() + 5;
    let lines: Vec<usize> = text.match_indices('—').map(|(at, _)| at).collect();
    // The classical lines: of the author first, of the holder second; the place lies within signature and time.
    let in_signature = |line: usize, name: &str| lines[line] + "— ".len() + name.len() + 1 + 40;
    let in_time = lines[1] + "— ".len() + HOLDER.len() + 1 + 8;
    for at in [root, ORIGIN.len() + 1, in_signature(0, ORIGIN), in_signature(1, HOLDER), in_time] {
        let mut wrong = question.clone();
        wrong["note"] = flip(text, at).into();
        assert!(!verdict(&wrong).is_accepted(), "byte {at}");
    }
    for list in ["inclusion", "prefix"] {
        for i in 0..question[list].as_array().unwrap().len() {
            let mut wrong = question.clone();
            wrong[list][i] = flip(question[list][i].as_str().unwrap(), 4).into();
            assert!(!verdict(&wrong).is_accepted(), "{list} {i}");
        }
    }
    for (name, value) in [("leaf", json!(BASE64.encode(&leaf(5)))), ("index", json!(INDEX - 1)), ("old_size", json!(6))]
    {
        let mut wrong = question.clone();
        wrong[name] = value;
        assert!(!verdict(&wrong).is_accepted(), "{name}");
    }
}

#[test]
fn python_accepts_the_post_quantum_lines_and_refuses_them_with_a_byte_changed() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/mldsa.py");
    if Command::new("python3").arg("--version").output().is_err() {
        return skip("there is no `python3`");
    }
    let verdict = |question: &Value| ask(Command::new("python3").arg(&script), question);
    let text = note().to_string();
    let starts: Vec<usize> = text.match_indices('—').map(|(at, _)| at).collect();
    // The post-quantum lines stand third (the author's) and fourth (the holder's).
    for (line, name, keys) in [(2, ORIGIN, keys(1)), (3, HOLDER, keys(2))] {
        let public_key = HEXLOWER.encode(keys.public_keys().get(KeyAlgorithm::MlDsa44));
        let question = |note: &str| json!({ "note": note, "name": name, "public_key": public_key });
        let good = verdict(&question(&text));
        if good.status == Some(3) {
            return skip(good.said.trim());
        }
        assert!(good.is_accepted(), "{name}: {}", good.said);
        let root = ORIGIN.len() + "\n11\n".len() + 5;
        let signature = starts[line] + "— ".len() + name.len() + 1 + 40;
        for at in [root, ORIGIN.len() - 1, signature, signature - 32] {
            assert!(!verdict(&question(&flip(&text, at))).is_accepted(), "{name}: byte {at}");
        }
    }
}
