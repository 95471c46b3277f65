//! Vectors that hold signatures with randomness in them: made once, kept in docs/vectors, and verified here. Everything
//! else in those files is put together again and compared byte by byte.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use verbale::identity::{Introduction, KeyAlgorithm as CertifiedKey};
use verbale::merkle::{leaf_hash, node_hash};
use verbale::name::{Desk, Kind};
use verbale::note::{Checkpoint, Crypto, Head, Proof, judge_log_lines, judge_receipt_lines};
use verbale::wire::{FRAME_HEAD, Frame, Header, Leaf, VolumeBody, VolumeReason};

use super::fields::{Fields, Value, bytes_of, frames, read};
use super::more::{self, carriage_volume_body, evidence_extra, leaf_of, volume_2_body};
use super::{PAGE, TIME, classical_lines, entries, groups, head, header, hex, keys, origin, sha256, xb};

const FULL_HEAD: &str = include_str!("../../docs/vectors/full-head.note");
const COSIGNED: &str = include_str!("../../docs/vectors/frame-cosigned-full.hex");
const VOLUME_2: &str = include_str!("../../docs/vectors/volume-2-body.hex");
pub const PROOF: &str = include_str!("../../docs/vectors/verbale_XA_XB_1.5f0c9a3e7b2d4410.1.tlog-proof");
const INTRODUCTION: &str = include_str!("../../docs/vectors/introduction.txt");
const INTRODUCTION_BYTES: &str = include_str!("../../docs/vectors/introduction.hex");
const CARRIAGE: &str = include_str!("../../docs/vectors/carriage.hex");

const RECIPIENT: &str = "age1wt90q463su6pxpdsx5r5gw2cv2hta9ut8vkd0934w5j35rhyu3nqddcqxx";

fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.split_whitespace().collect::<String>().as_bytes()).expect("hexadecimal")
}

/// Which lines of a note hold: the author's by the keys of XA, the holder's by those of XB.
fn assert_full(note: &[u8], with_receipt: bool) -> Checkpoint {
    let note: Checkpoint = Checkpoint::parse(note).unwrap();
    let public = |seed| vec![keys(seed).public_keys().clone()];
    assert!(judge_log_lines(&note, &public(1), &Crypto).unwrap().is_full());
    let receipt = judge_receipt_lines(&note, xb(), &public(2), &Crypto).unwrap();
    assert_eq!(receipt.is_full(), with_receipt);
    assert_eq!(receipt.time_seconds(), with_receipt.then_some(TIME));
    assert_eq!(note.lines().len(), if with_receipt { 4 } else { 2 }, "no line that nobody judges");
    note
}

#[test]
fn the_full_head_holds_for_both_sides_and_is_what_cosigned_and_proof_carry() {
    let note = assert_full(FULL_HEAD.as_bytes(), true);
    assert_eq!(note.to_bytes(), FULL_HEAD.as_bytes());
    assert_eq!(*note.head(), head(&entries()));
    let [author, holder] = classical_lines(note.head());
    assert_eq!((&note.lines()[0], &note.lines()[2]), (&author, &holder), "Ed25519 has no randomness");

    let cosigned = Fields::new().bytes(1, origin().to_string()).number(2, 2);
    let cosigned = cosigned.element(3, note.lines()[2].to_string()).element(3, note.lines()[3].to_string());
    assert_eq!(unhex(COSIGNED), cosigned.number(4, 8 << 20).frame(18));

    let e = entries();
    let sibling = BASE64.encode(&leaf_hash(e.volume_leaf.bytes()).0);
    let extra = BASE64.encode(&evidence_extra());
    assert_eq!(PROOF, format!("c2sp.org/tlog-proof@v1\nextra {extra}\nindex 1\n{sibling}\n\n{FULL_HEAD}"));
    let proof: Proof = Proof::parse(PROOF.as_bytes()).unwrap();
    let public = |seed| vec![keys(seed).public_keys().clone()];
    let leaf = Leaf::parse(Bytes::copy_from_slice(bytes_of(proof.extra(), 1))).unwrap();
    let (author, holder) = proof.verify(&leaf_hash(leaf.bytes()), &public(1), &public(2), &Crypto).unwrap();
    assert!(author.is_full() && holder.is_full());
    let salt: [u8; 32] = bytes_of(proof.extra(), 2).try_into().unwrap();
    assert!(leaf.is_opened_by(&salt, bytes_of(proof.extra(), 3)));
}

#[test]
fn the_second_volume_names_what_the_page_says() {
    assert_eq!(unhex(VOLUME_2), volume_2_body());
    let body = VolumeBody::decode(volume_2_body().into()).unwrap();
    let before = body.before.unwrap();
    assert_eq!((before.origin, before.size, before.root), (origin(), 2, head(&entries()).root));
    assert_eq!((body.reason, body.unavailable.len(), body.fetched_from.len()), (VolumeReason::Restored, 1, 1));
    assert_eq!(VolumeBody::decode(volume_2_body().into()).unwrap().encode(), volume_2_body());
}

#[test]
fn every_frame_that_is_put_together_here_reads_back() {
    let cosigned = ("frame-cosigned-full", unhex(COSIGNED));
    for (name, bytes) in more::frames().into_iter().chain([cosigned]) {
        let frame = Frame::decode(bytes[4], Bytes::copy_from_slice(&bytes[FRAME_HEAD..])).unwrap();
        assert_eq!(hex(&frame.encode()), hex(&bytes), "{name}");
    }
}

/// The root's signature over a message, by the vector's root key.
fn is_signed_by_root(introduction: &Introduction, message: &[u8], signature: &[u8]) -> bool {
    assert_eq!(introduction.root().key, CertifiedKey::P384);
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &introduction.root().public_key).verify(message, signature).is_ok()
}

#[test]
fn the_introduction_is_signed_as_the_page_says() {
    let signed = unhex(INTRODUCTION_BYTES);
    let introduction = Introduction::parse(INTRODUCTION).unwrap();
    assert_eq!(introduction.to_signed_bytes(), signed);
    let (_, armour) = INTRODUCTION.split_once("-----BEGIN").unwrap();
    assert_eq!(format!("-----BEGIN{armour}"), introduction.to_armour());

    let (payload, signature) = (bytes_of(&signed, 1), bytes_of(&signed, 2));
    assert_eq!(read(&signed).len(), 2);
    let message = [b"verbale introduction v1\0".as_slice(), payload].concat();
    assert!(is_signed_by_root(&introduction, &message, signature));
    assert!(!is_signed_by_root(&introduction, &message[1..], signature));

    let node = bytes_of(payload, 8);
    let key = bytes_of(node, 6);
    assert_eq!(bytes_of(key, 1), RECIPIENT.as_bytes());
    let message = [b"verbale carriage key v1\0XA\0".as_slice(), RECIPIENT.as_bytes()].concat();
    assert!(is_signed_by_root(&introduction, &message, bytes_of(key, 2)));
    // Nothing in the payload but what the table of the page lists.
    let fields: Vec<u64> = read(payload).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, [1, 2, 3, 5, 6, 7, 8]);
    let times: Vec<Value<'_>> = read(payload).into_iter().filter(|(n, _)| (5..8).contains(n)).map(|(_, v)| v).collect();
    let (issued, until) = (TIME * 1000, (TIME + 365 * 86_400) * 1000);
    assert_eq!(times, [Value::Number(issued), Value::Number(issued), Value::Number(until)]);
}

pub fn vectors(out: &mut BTreeMap<&'static str, String>) {
    let signed = unhex(INTRODUCTION_BYTES);
    let payload = bytes_of(&signed, 1);
    let message = [b"verbale introduction v1\0".as_slice(), payload].concat();
    out.insert("introduction-signed-sha256", sha256(&message));
    out.insert("introduction-signature", hex(bytes_of(&signed, 2)));
    let key = keys(1).public_keys().clone();
    let input = super::fingerprint_input("XA", bytes_of(payload, 3), &[("XA".to_owned(), vec![key])]);
    let fingerprint = groups(digest(&SHA256, &input).as_ref()) + "\n";
    assert_eq!(Introduction::parse(INTRODUCTION).unwrap().fingerprint().to_string() + "\n", fingerprint);
    out.insert("introduction-fingerprint", fingerprint);
}

/// A leaf with its salt and body.
type Opened = (Leaf, [u8; 32], Vec<u8>);

/// The volume of the carried file: its entries and its head.
fn carried_volume() -> ([Opened; 2], Head) {
    let volume = Header { seen_volume: 1, seen: 7, ..header(20, Kind::Volume, TIME * 1000) };
    let text = Fields::new().bytes(1, "en").bytes(2, "Extract of the log").bytes(3, "One file follows.");
    let file = Fields::new().bytes(1, "extract.txt").bytes(2, "text/plain").number(3, 5);
    let file = file.bytes(4, digest(&SHA256, b"lines"));
    let body = Fields::new().element(1, text).element(7, file).encoded();
    let message = Header {
        from_desk: Some(Desk::Technical),
        to_desk: Some(Desk::Technical),
        ..Header { seen_volume: 1, seen: 7, ..header(21, Kind::Information, TIME * 1000) }
    };
    let first = (leaf_of([22; 32], &carriage_volume_body(), &volume), [22; 32], carriage_volume_body());
    let second = (leaf_of([23; 32], &body, &message), [23; 32], body);
    let root = node_hash(&leaf_hash(first.0.bytes()), &leaf_hash(second.0.bytes()));
    let origin = "verbale/XA/XB/2.00112233445566aa".parse().unwrap();
    ([first, second], Head { origin, size: 2, root })
}

fn entry_frame(index: u64, leaf: &Leaf, salt: [u8; 32], body: &[u8]) -> Vec<u8> {
    Fields::new().number(1, index).bytes(2, leaf.bytes()).bytes(3, salt).bytes(4, body).frame(16)
}

/// The carried file as the page describes it, around the notes of its two volumes.
fn carried_file(old: &[u8], new: &[u8]) -> Vec<u8> {
    let (carried, head) = carried_volume();
    let mine = Fields::new().bytes(1, head.origin.to_string()).number(2, 2).bytes(3, new);
    let first = Fields::new().bytes(1, "XA").bytes(2, "XB").number(3, TIME * 1000).number(5, 1);
    let e = entries();
    let mut file = b"verbale carriage v1\0".to_vec();
    file.extend(first.element(6, mine).element(7, Fields::new()).frame(32));
    file.extend(entry_frame(0, &e.volume_leaf, [9; 32], &e.volume_body));
    file.extend(entry_frame(1, &e.leaf, [7; 32], &e.body));
    file.extend(Fields::new().bytes(1, old).frame(17));
    for (index, (leaf, salt, body)) in (0..).zip(&carried) {
        file.extend(entry_frame(index, leaf, *salt, body));
    }
    file.extend(Fields::new().bytes(1, new).frame(17));
    file.extend(Fields::new().bytes(1, [21; 16]).number(4, 5).bytes(5, b"lines").frame(33));
    let end = Fields::new().bytes(1, digest(&SHA256, &file)).frame(34);
    file.extend(end);
    file
}

#[test]
fn the_carried_file_is_what_the_page_describes() {
    let file = unhex(CARRIAGE);
    let body = file.strip_prefix(b"verbale carriage v1\0".as_slice()).unwrap();
    let found = frames(body);
    let order: Vec<u8> = found.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(order, [32, 16, 16, 17, 16, 16, 17, 33, 34]);
    let notes: Vec<&[u8]> = found.iter().filter(|(kind, ..)| *kind == 17).map(|(_, m, _)| bytes_of(m, 1)).collect();
    assert_eq!(*assert_full(notes[0], false).head(), head(&entries()));
    let whole = assert_full(FULL_HEAD.as_bytes(), true);
    assert_eq!(assert_full(notes[0], false).lines(), &whole.lines()[..2]);
    assert_eq!(*assert_full(notes[1], false).head(), carried_volume().1);
    assert_eq!(hex(&file), hex(&carried_file(notes[0], notes[1])));
}

#[test]
fn every_file_of_vectors_is_named_on_the_page_and_every_name_there_is_a_file() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vectors");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.collect();
    let named = PAGE.split("](vectors/").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned());
    assert_eq!(files, named.collect());
}
