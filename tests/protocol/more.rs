//! Vectors beside the first ones: their bytes are put together here from what the page says of them, field by field.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use verbale::merkle::{consistency_proof, inclusion_proof, leaf_hash, node_hash, over_leaves, root_of};
use verbale::name::{Hash, Kind};
use verbale::note::{
    Algorithm, Checkpoint, ForeignOrigin, Head, KeyAlgorithm, Line, Signer, key_id, log_message, sign_log_line,
};
use verbale::wire::{Header, Leaf, Target, commitment};

use super::fields::Fields;
use super::{TIME, classical_lines, entries, head, header, hex, keys, origin, sha256};

/// The checkpoint of the page with the classical lines of both sides.
pub fn checkpoint() -> Vec<u8> {
    let head = head(&entries());
    Checkpoint::new(head.clone(), classical_lines(&head).to_vec()).unwrap().to_bytes()
}

fn log_state(origin: &str, size: u64, note: &[u8]) -> Fields {
    Fields::new().bytes(1, origin).number(2, size).bytes(3, note)
}

/// Another head that XA signed: of the same size, with another root.
fn other_head() -> Vec<u8> {
    let head = Head { origin: origin(), size: 2, root: Hash([11; 32]) };
    let line = sign_log_line(&head, KeyAlgorithm::Ed25519, &keys(1));
    Checkpoint::new(head, vec![line]).unwrap().to_bytes()
}

/// A head of the log that XB writes to XA.
fn head_of_xb() -> Vec<u8> {
    let head = Head { origin: "verbale/XB/XA/1.0123456789abcdef".parse().unwrap(), size: 7, root: Hash([14; 32]) };
    let line = sign_log_line(&head, KeyAlgorithm::Ed25519, &keys(2));
    Checkpoint::new(head, vec![line]).unwrap().to_bytes()
}

/// The HELLO of the holder XB.
fn hello_of_xb() -> Vec<u8> {
    Fields::new()
        .number(1, 1)
        .number(2, 1)
        .bytes(3, [16; 16])
        .bytes(4, [13; 16])
        .number(5, TIME * 1000 - 60_000)
        .number(6, TIME * 1000)
        .number(7, 8 << 20)
        .number(8, 64 << 20)
        .number(9, 256 << 20)
        .bytes(10, [1, 64])
        .number(11, 3)
        .element(12, [17; 32])
        .element(13, log_state("verbale/XB/XA/1.0123456789abcdef", 7, &head_of_xb()))
        .element(14, log_state(&origin().to_string(), 2, &checkpoint()))
        .frame(1)
}

/// Frames of the page that are put together here: name and bytes.
pub fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let trust = Fields::new().number(1, 1).number(3, 1).bytes(4, [0x30, 0x03, 0x02, 0x01, 0x00]);
    let reply = Fields::new().number(1, 0x0102_0304_0506_0708).bytes(2, [16; 16]).number(3, TIME * 1000);
    let fault = Fields::new().number(1, 7).bytes(2, origin().to_string()).bytes(4, other_head());
    vec![
        ("frame-hello-states", hello_of_xb()),
        ("frame-trust", trust.frame(2)),
        ("frame-probe-reply", reply.frame(4)),
        ("frame-not-now-restricted", Fields::new().number(1, 5).number(2, 30_000).frame(5)),
        ("frame-shows", Fields::new().element(1, log_state(&origin().to_string(), 2, &checkpoint())).frame(19)),
        ("frame-fault-contradiction", fault.frame(20)),
        ("frame-enclosure-reply", Fields::new().number(1, 5_000_000).frame(29)),
        ("frame-enclosure-reply-not-yet", Fields::new().number(2, 3).frame(29)),
    ]
}

fn signing_key(seed: u8, number: u64, algorithm: KeyAlgorithm) -> Fields {
    Fields::new().number(1, number).bytes(2, keys(seed).public_key(algorithm))
}

/// The body of entry 0 of a second volume: on what `before` says, with this reason.
fn volume_fields(before: Fields, reason: u64) -> Fields {
    Fields::new()
        .element(1, signing_key(1, 1, KeyAlgorithm::Ed25519))
        .element(1, signing_key(1, 6, KeyAlgorithm::MlDsa44))
        .element(2, before)
        .number(3, reason)
        .bytes(4, [5; 16])
}

/// What the VOLUME of a second volume names: the head of the page.
pub fn before() -> Fields {
    Fields::new().bytes(1, origin().to_string()).number(2, 2).bytes(3, head(&entries()).root.0)
}

/// The body of entry 0 of a second volume after a restore: the body of entry 1 is not available any more, and that
/// entry came back from the holder.
pub fn volume_2_body() -> Vec<u8> {
    let span = Fields::new().number(1, 1).number(2, 1).number(3, 2);
    let fetched = Fields::new().number(1, 1).number(2, 1);
    volume_fields(before(), 2).element(5, span).element(6, fetched).encoded()
}

/// The body of entry 0 of the volume of the carried file.
pub fn carriage_volume_body() -> Vec<u8> {
    volume_fields(before(), 11).encoded()
}

pub fn leaf_of(salt: [u8; 32], body: &[u8], header: &Header) -> Leaf {
    Leaf::new(commitment(&salt, body), body.len(), &header.encode()).unwrap()
}

fn machine_vectors(out: &mut BTreeMap<&'static str, String>) {
    let target = Some(Target { volume: 1, index: 1 });
    out.insert("held-header", hex(&Header { target, ..header(12, Kind::Held, TIME * 1000) }.encode()));
    let refused = Header { target, code: 8, ..header(15, Kind::Refused, TIME * 1000) };
    out.insert("refused-header", hex(&refused.encode()));
    out.insert("trust-body", hex(Fields::new().element(1, [10; 32]).element(1, [11; 32]).as_ref()));
    out.insert("erased-body", hex(Fields::new().number(1, 3).bytes(2, "Order 17 of 2026").as_ref()));
    let volume = Header { seen_volume: 1, seen: 7, ..header(18, Kind::Volume, TIME * 1000) };
    let leaf = leaf_of([19; 32], &volume_2_body(), &volume);
    out.insert("volume-2-header", hex(&volume.encode()));
    out.insert("volume-2-leaf", hex(leaf.bytes()));
    out.insert("volume-2-leaf-hash", hex(&leaf_hash(leaf.bytes()).0));
}

fn tree_vectors(out: &mut BTreeMap<&'static str, String>) {
    let leaves: Vec<Hash> = (0..5_u8).map(|record| leaf_hash(&[record])).collect();
    let list = |hashes: &[Hash]| hashes.iter().map(|hash| hex(&hash.0)).collect::<Vec<_>>().join("\n");
    // RFC 6962 §2.1.1 and §2.1.2 by hand: the tree of five is ((0 1)(2 3)) 4.
    let pairs = [node_hash(&leaves[0], &leaves[1]), node_hash(&leaves[2], &leaves[3])];
    let root = node_hash(&node_hash(&pairs[0], &pairs[1]), &leaves[4]);
    let inclusion = [leaves[3], pairs[0], leaves[4]];
    let consistency = [leaves[2], leaves[3], pairs[0], leaves[4]];
    assert_eq!(root_of(5, over_leaves(&leaves)).unwrap(), root);
    assert_eq!(inclusion_proof(2, 5, over_leaves(&leaves)).unwrap(), inclusion);
    assert_eq!(consistency_proof(3, 5, over_leaves(&leaves)).unwrap(), consistency);
    out.insert("tree-root", hex(&root.0));
    out.insert("tree-inclusion", list(&inclusion));
    out.insert("tree-root-of-three", hex(&node_hash(&pairs[0], &leaves[2]).0));
    out.insert("tree-consistency", list(&consistency));
}

/// EvidenceExtra of the message.
pub fn evidence_extra() -> Vec<u8> {
    let e = entries();
    Fields::new().bytes(1, e.leaf.bytes()).bytes(2, [7; 32]).bytes(3, &e.body).encoded()
}

/// A manifest of a bundle that holds one proof, without its release note, and the note.
fn evidence_vectors(proof: &str, out: &mut BTreeMap<&'static str, String>) {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, proof.as_bytes());
    let file = Fields::new().bytes(1, "entries/0001.tlog-proof").number(2, proof.len() as u64).bytes(3, digest);
    let manifest = Fields::new().number(1, 1).bytes(2, "XA").number(3, TIME * 1000).element(4, file).encoded();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &manifest);
    let root = leaf_hash(&[&[2], digest.as_ref()].concat());
    let origin: ForeignOrigin = "verbale/XA/release.00112233445566ff".parse().unwrap();
    let head = Head { origin, size: 1, root };
    let name = head.origin.to_string();
    let signature = keys(1).sign(KeyAlgorithm::Ed25519, &log_message(KeyAlgorithm::Ed25519, &head));
    let id = key_id(&name, Algorithm::Ed25519, keys(1).public_key(KeyAlgorithm::Ed25519));
    let line = Line::new(name, id, signature).unwrap();
    assert_eq!(head.text().lines().nth(2), Some(BASE64.encode(&root.0).as_str()));
    out.insert("evidence-extra", hex(&evidence_extra()));
    out.insert("evidence-manifest", hex(&manifest));
    out.insert("release-root", hex(&root.0));
    out.insert("release-note", Checkpoint::new(head, vec![line]).unwrap().to_string());
}

pub fn vectors(proof: &str, out: &mut BTreeMap<&'static str, String>) {
    machine_vectors(out);
    tree_vectors(out);
    evidence_vectors(proof, out);
    out.insert("volume-2-body-sha256", sha256(&volume_2_body()));
    for (name, frame) in frames() {
        out.insert(name, hex(&frame));
    }
}
