//! Every test vector of docs/PROTOCOL.md, recomputed and compared with what the page says.

#[path = "protocol/fields.rs"]
mod fields;
#[path = "protocol/fixed.rs"]
mod fixed;
#[path = "protocol/more.rs"]
mod more;
#[path = "protocol/numbers.rs"]
mod numbers;

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use verbale::identity::{
    self, Fingerprint, IntroducedKeys, IntroducedNode, IntroductionDraft, PrivateAlgorithm, PrivateKey,
    root_certificate, signing_certificate, tls_certificate,
};
use verbale::merkle::{leaf_hash, node_hash};
use verbale::name::{BootNonce, Desk, EntryId, Hash, JournalId, Kind, Millis, NodeName, Origin, Pap, Precedence, Tlp};
use verbale::note::{
    Algorithm, Checkpoint, Crypto, Head, KeyAlgorithm, Line, PublicKeys, Seeds, Signer, SigningKeys, VerifierKey,
    judge_log_lines, judge_receipt_lines, key_id, log_message, receipt_message, sign_log_line, sign_receipt_line,
};
use verbale::wire::{
    Absent, Body, EntryFrame, FRAME_HEAD, FaultCode, Frame, Header, Hello, KeyBody, Leaf, LogState, NotNowReason,
    Payload, RevokedKey, SealBody, SigningKey, Target, Text, VolumeBody, VolumeReason, commitment, frame_head,
    refused_body,
};

const PAGE: &str = include_str!("../docs/PROTOCOL.md");
const TIME: u64 = 1_772_366_400;

/// The vectors of the page: name and content of the block that follows.
fn page() -> BTreeMap<&'static str, &'static str> {
    let (_, vectors) = PAGE.split_once("## 21. Test vectors").expect("the page has vectors");
    let mut found = BTreeMap::new();
    for part in vectors.split("\n**").skip(1) {
        let (name, rest) = part.split_once("** — ").expect("a name and what it is");
        let block = rest.split("```").nth(1).expect("a block");
        let (_, content) = block.split_once('\n').expect("the word after the fence and the content");
        assert!(found.insert(name, content).is_none(), "{name} stands twice");
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn keys(seed: u8) -> SigningKeys {
    SigningKeys::from_seeds(&Seeds::from_bytes(&[seed; 64])).unwrap()
}

fn origin() -> Origin {
    "verbale/XA/XB/1.5f0c9a3e7b2d4410".parse().unwrap()
}

fn xb() -> NodeName {
    "XB".parse().unwrap()
}

fn header(id: u8, kind: Kind, time: u64) -> Header {
    Header {
        id: EntryId([id; 16]),
        kind: kind.number(),
        time: Millis(time),
        case: None,
        in_reply_to: None,
        precedence: Precedence::Routine,
        tlp: Tlp::AmberStrict,
        pap: Pap::None,
        exercise: true,
        from_desk: None,
        to_desk: None,
        expires: None,
        seen_volume: 0,
        seen: 0,
        target: None,
        code: 0,
    }
}

fn signing_key(keys: &SigningKeys, algorithm: KeyAlgorithm) -> SigningKey {
    let number = match algorithm {
        KeyAlgorithm::Ed25519 => 1,
        KeyAlgorithm::MlDsa44 => 6,
    };
    let public_key = Bytes::copy_from_slice(keys.public_key(algorithm));
    SigningKey { algorithm: number, public_key, certificate: Bytes::new() }
}

struct Entries {
    body: Bytes,
    header: Bytes,
    leaf: Leaf,
    volume_body: Bytes,
    volume_header: Bytes,
    volume_leaf: Leaf,
}

fn entries() -> Entries {
    let text = Text {
        language: "en".into(),
        subject: "Phishing from a host in XB".into(),
        text: "Please look at 192.0.2.7; details follow.".into(),
    };
    let body = Body { texts: vec![text], ..Body::default() }.encode().unwrap();
    let message = Header {
        precedence: Precedence::Priority,
        tlp: Tlp::Green,
        from_desk: Some(Desk::Technical),
        to_desk: Some(Desk::Technical),
        ..header(6, Kind::Notification, TIME * 1000 - 877)
    };
    let header_bytes = message.encode();
    let leaf = Leaf::new(commitment(&[7; 32], &body), body.len(), &header_bytes).unwrap();
    let xa = keys(1);
    let volume_body = VolumeBody {
        keys: KeyAlgorithm::ALL.map(|algorithm| signing_key(&xa, algorithm)).to_vec(),
        before: None,
        reason: VolumeReason::First,
        journal: JournalId([5; 16]),
        unavailable: Vec::new(),
        fetched_from: Vec::new(),
    }
    .encode();
    let volume_header = header(8, Kind::Volume, TIME * 1000 - 1000).encode();
    let volume_leaf = Leaf::new(commitment(&[9; 32], &volume_body), volume_body.len(), &volume_header).unwrap();
    Entries { body, header: header_bytes, leaf, volume_body, volume_header, volume_leaf }
}

fn head(entries: &Entries) -> Head {
    let root = node_hash(&leaf_hash(entries.volume_leaf.bytes()), &leaf_hash(entries.leaf.bytes()));
    Head { origin: origin(), size: 2, root }
}

fn classical_lines(head: &Head) -> [Line; 2] {
    let author = sign_log_line(head, KeyAlgorithm::Ed25519, &keys(1));
    [author, sign_receipt_line(head, xb(), KeyAlgorithm::Ed25519, TIME, &keys(2))]
}

fn entry_vectors(out: &mut BTreeMap<&'static str, String>) {
    let e = entries();
    out.insert("message-salt", hex(&[7; 32]));
    out.insert("message-body", hex(&e.body));
    out.insert("message-commitment", hex(&e.leaf.commitment().0));
    out.insert("message-header", hex(&e.header));
    out.insert("message-leaf", hex(e.leaf.bytes()));
    out.insert("message-leaf-hash", hex(&leaf_hash(e.leaf.bytes()).0));
    out.insert("volume-body", hex(&e.volume_body));
    out.insert("volume-header", hex(&e.volume_header));
    out.insert("volume-leaf", hex(e.volume_leaf.bytes()));
    out.insert("volume-leaf-hash", hex(&leaf_hash(e.volume_leaf.bytes()).0));
    out.insert("root", hex(&head(&e).root.0));
    let seal = SealBody { journal: JournalId([5; 16]), size: 1000, root: Hash([10; 32]) };
    out.insert("seal-body", hex(&seal.encode()));
    out.insert("refused-body", hex(&refused_body(&[0, 2])));
    let old = signing_key(&keys(1), KeyAlgorithm::Ed25519);
    let revoked = RevokedKey { algorithm: old.algorithm, public_key: old.public_key, volume: 1, last_good_size: 2 };
    let key = KeyBody { keys: vec![signing_key(&keys(2), KeyAlgorithm::Ed25519)], revoked: vec![revoked] };
    out.insert("key-body", hex(&key.encode()));
    let target = Some(Target { volume: 1, index: 1 });
    out.insert("void-header", hex(&Header { target, ..header(11, Kind::Void, TIME * 1000) }.encode()));
}

fn note_vectors(out: &mut BTreeMap<&'static str, String>) {
    let head = head(&entries());
    let (xa, xb_keys) = (keys(1), keys(2));
    let (log_name, receipt_name) = (head.origin.to_string(), "verbale/XB");
    let ids = [
        key_id(&log_name, Algorithm::Ed25519, xa.public_key(KeyAlgorithm::Ed25519)),
        key_id(&log_name, Algorithm::MlDsa44, xa.public_key(KeyAlgorithm::MlDsa44)),
        key_id(receipt_name, Algorithm::CosignatureV1, xb_keys.public_key(KeyAlgorithm::Ed25519)),
        key_id(receipt_name, Algorithm::MlDsa44, xb_keys.public_key(KeyAlgorithm::MlDsa44)),
    ];
    out.insert("key-ids", ids.map(|id| hex(&id)).join("\n"));
    out.insert("message-01", hex(&log_message(KeyAlgorithm::Ed25519, &head)));
    out.insert("message-06", hex(&log_message(KeyAlgorithm::MlDsa44, &head)));
    out.insert("message-04", hex(&receipt_message(KeyAlgorithm::Ed25519, &head, xb(), TIME)));
    out.insert("message-06-receipt", hex(&receipt_message(KeyAlgorithm::MlDsa44, &head, xb(), TIME)));
    out.insert("ml-dsa-public-sha256", sha256(xa.public_key(KeyAlgorithm::MlDsa44)));
    let checkpoint = Checkpoint::new(head.clone(), classical_lines(&head).to_vec()).unwrap();
    out.insert("checkpoint", checkpoint.to_string());
    let key = |name: &str, algorithm, keys: &SigningKeys| {
        VerifierKey::new(name, algorithm, keys.public_key(KeyAlgorithm::Ed25519)).unwrap().to_string()
    };
    let author = key(&log_name, Algorithm::Ed25519, &xa);
    let holder = key(receipt_name, Algorithm::CosignatureV1, &xb_keys);
    out.insert("verifier-keys", format!("{author}\n{holder}\n"));
}

fn hello() -> Frame {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        boot: BootNonce([13; 16]),
        last_boot: None,
        last_heard: None,
        clock: Millis(TIME * 1000),
        window: 8 << 20,
        enclosure_max: 64 << 20,
        enclosures_total_max: 256 << 20,
        kinds: vec![1, 64],
        crl_number: 0,
        certificate_digests: Vec::new(),
        mine: LogState::default(),
        yours: LogState::default(),
    };
    Frame::Hello(Box::new(hello))
}

fn frames() -> Vec<(&'static str, Frame)> {
    let e = entries();
    let entry = |payload| Frame::Entry(Box::new(EntryFrame { index: 1, leaf: e.leaf.clone(), payload }));
    let [_, receipt] = classical_lines(&head(&e));
    let message = EntryId([6; 16]);
    vec![
        ("frame-hello", hello()),
        ("frame-probe", Frame::Probe { nonce: 0x0102_0304_0506_0708 }),
        ("frame-not-now", Frame::NotNow { reason: NotNowReason::Busy, retry_after_ms: 500 }),
        ("frame-bye", Frame::Bye),
        ("frame-entry", entry(Payload::Present { salt: [7; 32], body: e.body.clone() })),
        ("frame-entry-voided", entry(Payload::Absent(Absent::Voided))),
        (
            "frame-cosigned",
            Frame::Cosigned { origin: origin(), size: 2, lines: vec![receipt.to_string()], window: 8 << 20 },
        ),
        (
            "frame-fault",
            Frame::Fault { code: FaultCode::Gap, origin: Some(origin()), index: 1, proof: Default::default() },
        ),
        ("frame-fetch", Frame::Fetch { origin: origin(), from: 0, to: 2 }),
        ("frame-enclosure", Frame::EnclosureRequest { entry: message, ordinal: 0, offset: 1 << 20 }),
    ]
}

/// What section 18 says, in code of its own.
fn fingerprint_input(state: &str, root: &[u8], nodes: &[(String, Vec<PublicKeys>)]) -> Vec<u8> {
    let mut input = b"verbale fingerprint v1\0".to_vec();
    input.extend_from_slice(state.as_bytes());
    input.extend_from_slice(digest(&SHA256, root).as_ref());
    input.push(nodes.len() as u8);
    for (name, keys) in nodes {
        input.push(name.len() as u8);
        input.extend_from_slice(name.as_bytes());
        input.push(keys.len() as u8);
        for key in keys {
            input.extend_from_slice(&key.ed25519);
            input.extend_from_slice(&key.ml_dsa_44);
        }
    }
    input
}

/// A digest modulo 10^60 in groups of five digits, by the schoolbook: digits times 256, plus the next byte.
fn groups(bytes: &[u8]) -> String {
    let mut digits = [0_u32; 60];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in digits.iter_mut().rev() {
            let value = *digit * 256 + carry;
            (*digit, carry) = (value % 10, value / 10);
        }
    }
    let text: Vec<String> = digits.iter().map(u32::to_string).collect();
    text.chunks(5).map(|group| group.concat()).collect::<Vec<_>>().join(" ")
}

fn fingerprint_vectors(out: &mut BTreeMap<&'static str, String>) {
    let nodes = [("XA".to_owned(), vec![keys(1).public_keys().clone()])];
    let input = fingerprint_input("XA", &[12; 64], &nodes);
    out.insert("fingerprint-input-sha256", sha256(&input));
    out.insert("fingerprint", groups(digest(&SHA256, &input).as_ref()) + "\n");
}

fn computed() -> BTreeMap<&'static str, String> {
    let mut out = BTreeMap::new();
    entry_vectors(&mut out);
    note_vectors(&mut out);
    for (name, frame) in frames() {
        out.insert(name, hex(&frame.encode()));
    }
    fingerprint_vectors(&mut out);
    more::vectors(fixed::PROOF, &mut out);
    fixed::vectors(&mut out);
    out
}

fn is_text(name: &str) -> bool {
    let texts = ["checkpoint", "verifier-keys", "fingerprint", "introduction-fingerprint", "release-note"];
    texts.contains(&name)
}

#[test]
fn every_vector_of_the_page_is_what_this_crate_computes() {
    let (page, computed) = (page(), computed());
    assert_eq!(page.keys().collect::<Vec<_>>(), computed.keys().collect::<Vec<_>>());
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    let wrong: Vec<String> = computed
        .iter()
        .filter(|(name, value)| match is_text(name) {
            true => page[*name] != value.as_str(),
            false => squeeze(page[*name]) != squeeze(value),
        })
        .map(|(name, value)| format!("@{name}\n{value}"))
        .collect();
    assert!(wrong.is_empty(), "the page differs; this crate computes\n{}\n@", wrong.join("\n"));
}

#[test]
fn the_bytes_on_the_page_read_back_as_what_they_stand_for() {
    let page = page();
    let bytes = |name: &str| {
        let text: String = page[name].split_whitespace().collect();
        Bytes::from(HEXLOWER.decode(text.as_bytes()).unwrap())
    };
    let leaf = Leaf::parse(bytes("message-leaf")).unwrap();
    let salt: [u8; 32] = bytes("message-salt")[..].try_into().unwrap();
    assert!(leaf.is_opened_by(&salt, &bytes("message-body")));
    assert_eq!(leaf.header_bytes(), bytes("message-header"));
    assert_eq!(VolumeBody::decode(bytes("volume-body")).unwrap().reason, VolumeReason::First);
    assert_eq!(KeyBody::decode(bytes("key-body")).unwrap().revoked[0].last_good_size, 2);
    for (name, frame) in frames() {
        let wire = bytes(name);
        let head = frame_head(wire[..FRAME_HEAD].try_into().unwrap()).unwrap();
        assert_eq!(head.length, wire.len() - FRAME_HEAD, "{name}");
        assert_eq!(Frame::decode(head.kind, wire.slice(FRAME_HEAD..)), Ok(frame), "{name}");
    }
}

#[test]
fn the_checkpoint_on_the_page_holds_for_both_sides() {
    let page = page();
    let checkpoint: Checkpoint = Checkpoint::parse(page["checkpoint"].as_bytes()).unwrap();
    let known = |seed| vec![keys(seed).public_keys().clone()];
    assert!(judge_log_lines(&checkpoint, &known(1), &Crypto).unwrap().has(KeyAlgorithm::Ed25519));
    let receipt = judge_receipt_lines(&checkpoint, xb(), &known(2), &Crypto).unwrap();
    assert_eq!(receipt.time_seconds(), Some(TIME));
    for line in page["verifier-keys"].lines() {
        assert_eq!(line.parse::<VerifierKey>().unwrap().to_string(), line);
    }
    // The root in the note is the vector of that name.
    let root: String = page["root"].split_whitespace().collect();
    let third = page["checkpoint"].lines().nth(2).unwrap();
    assert_eq!(BASE64.decode(third.as_bytes()).unwrap(), HEXLOWER.decode(root.as_bytes()).unwrap());
}

#[test]
fn the_recipe_for_fingerprints_gives_what_an_introduction_shows() {
    let on_page: Fingerprint = page()["fingerprint"].trim().parse().unwrap();
    assert_eq!(on_page.to_string(), page()["fingerprint"].trim());

    let now = Millis(TIME * 1000);
    let root_key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
    let root = root_certificate("XA".parse().unwrap(), &root_key, now).unwrap();
    let node = |name: &str, desk: Desk| {
        let name: NodeName = name.parse().unwrap();
        let tls = PrivateKey::generate(PrivateAlgorithm::P256).unwrap();
        let signing = identity::SigningKeys::generate().unwrap();
        let certificate = |key| signing_certificate(name, key, &root, &root_key, now).unwrap();
        let keys = IntroducedKeys {
            public: signing.public(),
            ed25519_certificate: certificate(signing.ed25519()),
            ml_dsa_44_certificate: certificate(signing.ml_dsa_44()),
        };
        let tls = tls_certificate(name, &tls, &root, &root_key, now).unwrap();
        let addresses = vec!["192.0.2.1:7411".parse().unwrap()];
        IntroducedNode { name, desks: vec![desk], addresses, tls: vec![vec![tls]], signing: vec![keys] }
    };
    let draft = IntroductionDraft {
        state: "XA".parse().unwrap(),
        root: root.clone(),
        chain: Vec::new(),
        serial: 1,
        issued: now,
        valid_until: Millis(now.0 + 1),
        nodes: vec![node("XA.technical", Desk::Technical), node("XA.diplomatic", Desk::Diplomatic)],
        crls: Vec::new(),
    };
    let introduction = draft.sign(&root_key).unwrap();
    let mut nodes: Vec<(String, Vec<PublicKeys>)> = introduction
        .nodes()
        .iter()
        .map(|node| {
            let public =
                |keys: &IntroducedKeys| PublicKeys::from_parts(&keys.public.ed25519, keys.public.ml_dsa_44.as_slice());
            (node.name.to_string(), node.signing.iter().map(|keys| public(keys).unwrap()).collect())
        })
        .collect();
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    let input = fingerprint_input("XA", &root, &nodes);
    assert_eq!(introduction.fingerprint().to_string(), groups(digest(&SHA256, &input).as_ref()));
}
