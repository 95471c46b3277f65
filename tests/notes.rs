//! Checkpoints, receipts and proofs as texts: one form each, judged by the known keys.

use proptest::prelude::*;
use signed_note::{Note, StandardVerifier, VerifierList};
use verbale::merkle::{inclusion_proof, leaf_hash, over_leaves, root_of};
use verbale::name::{Hash, NodeName, Origin};
use verbale::note::{
    Algorithm, Checkpoint, Crypto, ForeignCheckpoint, Head, JudgeError, KeyAlgorithm, Line, LineError, MAX_LINES,
    MAX_NOTE_BYTES, MAX_SIZE, MAX_TIME_SECONDS, NoteError, Proof, ProofRejected, PublicKeys, Seeds, Signer,
    SigningKeys, VerifierKey, judge_log_lines, judge_receipt_lines, judge_with, log_line, log_message, receipt_line,
    receipt_message, sign_log_line, sign_receipt_line,
};

use KeyAlgorithm::{Ed25519, MlDsa44};

const ORIGIN: &str = "verbale/XA/XB/1.5f0c9a3e7b2d4410";
const TIME: u64 = 1_772_366_400;

fn keys(seed: u8) -> SigningKeys {
    SigningKeys::from_seeds(&Seeds::from_bytes(&[seed; 64])).unwrap()
}

fn author() -> SigningKeys {
    keys(1)
}

fn holder() -> SigningKeys {
    keys(2)
}

fn known(keys: &[&SigningKeys]) -> Vec<PublicKeys> {
    keys.iter().map(|keys| keys.public_keys().clone()).collect()
}

fn xb() -> NodeName {
    "XB".parse().unwrap()
}

fn leaves() -> Vec<Hash> {
    (0..5_u8).map(|i| leaf_hash(&[i])).collect()
}

fn head() -> Head {
    Head { origin: ORIGIN.parse().unwrap(), size: 5, root: root_of(5, over_leaves(&leaves())).unwrap() }
}

fn log(algorithm: KeyAlgorithm) -> Line {
    sign_log_line(&head(), algorithm, &author())
}

fn receipt(algorithm: KeyAlgorithm, time: u64) -> Line {
    sign_receipt_line(&head(), xb(), algorithm, time, &holder())
}

fn signed(lines: Vec<Line>) -> Checkpoint {
    Checkpoint::new(head(), lines).unwrap()
}

fn full() -> Checkpoint {
    signed(vec![log(Ed25519), log(MlDsa44), receipt(Ed25519, TIME + 1), receipt(MlDsa44, TIME)])
}

fn short_line(name: &str, byte: u8) -> Line {
    Line::new(name, [byte; 4], vec![byte]).unwrap()
}

#[test]
fn a_full_head_is_judged_full_on_both_sides_and_reads_back_as_written() {
    let checkpoint = full();
    assert_eq!(Checkpoint::parse(&checkpoint.to_bytes()), Ok(checkpoint.clone()));
    let of_author = judge_log_lines(&checkpoint, &known(&[&author()]), &Crypto).unwrap();
    assert!(of_author.is_full());
    assert_eq!((of_author.not_judged.as_slice(), of_author.time_seconds()), ([2, 3].as_slice(), None));
    let of_holder = judge_receipt_lines(&checkpoint, xb(), &known(&[&holder()]), &Crypto).unwrap();
    assert!(of_holder.is_full());
    assert_eq!((of_holder.not_judged.as_slice(), of_holder.time_seconds()), ([0, 1].as_slice(), Some(TIME)));
    assert_eq!(of_holder.keys[0].ed25519.unwrap().time_seconds, Some(TIME + 1));
}

#[test]
fn a_classical_head_is_not_full_and_a_head_without_the_author_is_refused() {
    let judged = judge_log_lines(&signed(vec![log(Ed25519)]), &known(&[&author()]), &Crypto).unwrap();
    assert!(judged.has(Ed25519) && !judged.has(MlDsa44) && !judged.is_full());
    let unsigned = signed(vec![receipt(Ed25519, TIME)]);
    let no_line = Err(JudgeError::NoKnownLine { name: ORIGIN.to_owned() });
    assert_eq!(judge_log_lines(&unsigned, &known(&[&author()]), &Crypto), no_line);
    assert_eq!(judge_log_lines(&full(), &known(&[&holder()]), &Crypto), no_line);
    assert_eq!(judge_log_lines(&full(), &[], &Crypto), no_line);
    let receipts = judge_receipt_lines(&signed(vec![log(Ed25519)]), xb(), &known(&[&holder()]), &Crypto).unwrap();
    assert!(!judge_receipt_lines(&full(), xb(), &[], &Crypto).unwrap().is_full(), "nobody has signed for nobody");
    assert!(!receipts.has(Ed25519) && !receipts.is_full() && receipts.time_seconds().is_none());
}

#[test]
fn while_keys_are_rotated_each_key_is_judged_by_itself() {
    let (old, new) = (author(), keys(9));
    let both = signed(vec![log(Ed25519), sign_log_line(&head(), Ed25519, &new), sign_log_line(&head(), MlDsa44, &new)]);
    let judged = judge_log_lines(&both, &known(&[&old, &new]), &Crypto).unwrap();
    assert!(!judged.keys[0].is_full() && judged.keys[0].ed25519.is_some() && judged.keys[1].is_full());
    assert!(!judged.is_full(), "the old key's post-quantum line is missing");
    let judged = judge_log_lines(&both, &known(&[&new]), &Crypto).unwrap();
    assert!(judged.is_full() && judged.not_judged == [0]);
}

#[test]
fn one_bad_known_line_rejects_the_note_and_an_unknown_one_does_not() {
    let signatures = [(0, log(Ed25519)), (1, log(MlDsa44))];
    for (position, line) in signatures {
        let mut bytes = line.signature().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        for bytes in [bytes, line.signature()[1..].to_vec(), [line.signature(), &[0]].concat()] {
            let bad = Line::new(line.name(), line.key_id(), bytes).unwrap();
            let mut lines = vec![log(Ed25519), log(MlDsa44)];
            lines[position] = bad;
            let name = ORIGIN.to_owned();
            let verdict = judge_log_lines(&signed(lines), &known(&[&author()]), &Crypto);
            assert_eq!(verdict, Err(JudgeError::BadLine { number: position + 1, name }));
        }
    }
    let with_unknown = signed(vec![short_line(ORIGIN, 7), log(Ed25519), short_line("national/algorithm", 9)]);
    assert_eq!(judge_log_lines(&with_unknown, &known(&[&author()]), &Crypto).unwrap().not_judged, [0, 2]);
}

#[test]
fn a_log_line_that_states_a_time_is_bad_and_so_is_a_receipt_beyond_all_time() {
    let name: NodeName = xb();
    let author = author();
    // The same bytes as a receipt would sign, but under the name of the log.
    let timed = VerifierKey::new(ORIGIN, Algorithm::MlDsa44, author.public_keys().get(MlDsa44)).unwrap();
    let mut message = log_message(MlDsa44, &head());
    message[12 + 1 + ORIGIN.len() + 7] = 1;
    let signature = Signer::sign(&author, MlDsa44, &message);
    let line = Line::new(ORIGIN, timed.key_id(), [&1_u64.to_be_bytes(), signature.as_slice()].concat()).unwrap();
    let note = signed(vec![log(Ed25519), line]);
    assert!(judge_with(&note, &timed, &Crypto).unwrap().is_some(), "as a cosignature it holds");
    assert!(matches!(judge_log_lines(&note, &known(&[&author]), &Crypto), Err(JudgeError::BadLine { number: 2, .. })));
    for algorithm in KeyAlgorithm::ALL {
        for (time, holds) in [(0, true), (MAX_TIME_SECONDS, true), (MAX_TIME_SECONDS + 1, false)] {
            let note = signed(vec![log(Ed25519), receipt(algorithm, time)]);
            let verdict = judge_receipt_lines(&note, name, &known(&[&holder()]), &Crypto);
            assert_eq!(verdict.is_ok(), holds, "{algorithm:?} {time}");
        }
    }
}

#[test]
fn a_receipt_holds_for_its_time_its_head_and_its_holder_only() {
    let holder = holder();
    let other = Head { size: 6, ..head() };
    for algorithm in KeyAlgorithm::ALL {
        let signature = Signer::sign(&holder, algorithm, &receipt_message(algorithm, &head(), xb(), TIME));
        let public_key = holder.public_keys().get(algorithm);
        let judge = |head: &Head, time: u64| {
            let line = receipt_line(xb(), algorithm, public_key, time, &signature);
            let note = Checkpoint::new(head.clone(), vec![line]).unwrap();
            judge_receipt_lines(&note, xb(), &known(&[&holder]), &Crypto)
        };
        assert_eq!(judge(&head(), TIME).unwrap().time_seconds(), Some(TIME));
        assert!(judge(&head(), TIME + 1).is_err());
        assert!(judge(&other, TIME).is_err());
        let note = signed(vec![receipt(algorithm, TIME)]);
        let elsewhere = judge_receipt_lines(&note, "XC".parse().unwrap(), &known(&[&holder]), &Crypto).unwrap();
        assert_eq!(elsewhere.not_judged, [0], "another node's name");
    }
}

#[test]
fn every_flipped_byte_is_refused_or_leaves_an_unknown_line_over_the_same_head() {
    let keys = known(&[&author()]);
    let original = signed(vec![log(Ed25519), receipt(Ed25519, TIME)]);
    let bytes = original.to_bytes();
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut wrong = bytes.clone();
            wrong[i] ^= 1 << bit;
            let Ok(read) = Checkpoint::parse(&wrong) else { continue };
            assert_eq!(read.to_bytes(), wrong, "byte {i}");
            let of_author = judge_log_lines(&read, &keys, &Crypto);
            let of_holder = judge_receipt_lines(&read, xb(), &known(&[&holder()]), &Crypto);
            let believed = of_author.is_ok() && of_holder.is_ok_and(|judged| judged.has(Ed25519));
            assert!(!believed, "byte {i} bit {bit}: {read}");
            assert!(read.head() == original.head() || judge_log_lines(&read, &keys, &Crypto).is_err(), "byte {i}");
        }
    }
    let original = full();
    let bytes = original.to_bytes();
    for i in (0..bytes.len()).step_by(7) {
        let mut wrong = bytes.clone();
        wrong[i] ^= 1 << (i % 7);
        let Ok(read) = Checkpoint::parse(&wrong) else { continue };
        let of_author = judge_log_lines(&read, &keys, &Crypto).is_ok_and(|judged| judged.is_full());
        let of_holder = judge_receipt_lines(&read, xb(), &known(&[&holder()]), &Crypto).is_ok_and(|j| j.is_full());
        assert!(!(of_author && of_holder), "byte {i}");
    }
}

#[test]
fn what_is_not_a_checkpoint_is_refused_with_its_reason() {
    let good = String::from_utf8(signed(vec![short_line("a", 1)]).to_bytes()).unwrap();
    let reason = |text: &str| Checkpoint::<Origin>::parse(text.as_bytes()).unwrap_err();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from:?}");
        reason(&good.replacen(from, to, 1))
    };
    for size in ["05", "+5", "", "-5", "5 ", "0x5", "٥", "9223372036854775808", "99999999999999999999"] {
        assert_eq!(
            with("\n5\n", &format!("\n{size}\n")),
            if size.is_empty() { NoteError::Form } else { NoteError::Size }
        );
    }
    assert!(Checkpoint::<Origin>::parse(good.replacen("\n5\n", "\n9223372036854775807\n", 1).as_bytes()).is_ok());
    assert_eq!(with("=\n\n", "\n\n"), NoteError::Root);
    assert_eq!(with("=\n\n", "=\nextension\n\n"), NoteError::Form);
    assert_eq!(with("=\n\n", "=\n\n\n"), NoteError::Line { number: 1, reason: LineError::Form });
    assert_eq!(with("verbale/", "Verbale/"), NoteError::Origin(with_origin_reason("Verbale/XA/XB/1.5f0c9a3e7b2d4410")));
    assert_eq!(reason(good.strip_suffix('\n').unwrap()), NoteError::Form);
    assert_eq!(reason(&format!("{good}\n")), NoteError::Line { number: 2, reason: LineError::Form });
    assert_eq!(reason(&format!("{good}trailing")), NoteError::Form);
    assert_eq!(reason(&good.replace('\n', "\r\n")), NoteError::Characters);
    assert_eq!(reason(&good.replace("— a", "— a\u{7f}")), NoteError::Characters);
    assert_eq!(reason(&format!("{}\n", head().text())), NoteError::Unsigned);
    assert_eq!(reason(&head().text()), NoteError::Form);
    assert_eq!(reason(""), NoteError::Form);
    let line = good.lines().last().unwrap();
    assert_eq!(reason(&format!("{good}{line}\n")), NoteError::Duplicate { number: 2 });
    assert_eq!(Checkpoint::<Origin>::parse(b"\xff\n\n"), Err(NoteError::Characters));
}

fn with_origin_reason(origin: &str) -> String {
    origin.parse::<Origin>().unwrap_err().to_string()
}

#[test]
fn lines_and_bytes_are_limited_at_the_limit() {
    let lines = |count: usize| (0..count).map(|i| short_line("a", i as u8)).collect::<Vec<_>>();
    let text = |count: usize| {
        let lines: String = lines(count).iter().map(|line| format!("{line}\n")).collect();
        format!("{}\n{lines}", head().text())
    };
    for count in [MAX_LINES - 1, MAX_LINES] {
        assert!(Checkpoint::new(head(), lines(count)).is_ok());
        assert!(Checkpoint::<Origin>::parse(text(count).as_bytes()).is_ok());
    }
    assert_eq!(Checkpoint::new(head(), lines(MAX_LINES + 1)), Err(NoteError::TooManyLines));
    let over = Checkpoint::<Origin>::parse(text(MAX_LINES + 1).as_bytes());
    assert_eq!(over, Err(NoteError::TooManyLines));
    assert_eq!(signed(lines(MAX_LINES)).with_line(&short_line("b", 0)), Err(NoteError::TooManyLines));
    // The name fills the note to the byte: signatures come in steps of four.
    let long = |length: usize| {
        let rest = signed(vec![Line::new("a", [0; 4], vec![0; 6000]).unwrap()]).to_bytes().len() - 1;
        Checkpoint::new(head(), vec![Line::new("a".repeat(length - rest), [0; 4], vec![0; 6000]).unwrap()])
    };
    for length in [MAX_NOTE_BYTES - 1, MAX_NOTE_BYTES] {
        let note = long(length).unwrap();
        assert_eq!(note.to_bytes().len(), length);
        assert_eq!(Checkpoint::parse(&note.to_bytes()), Ok(note));
    }
    assert_eq!(long(MAX_NOTE_BYTES + 1), Err(NoteError::TooLong(MAX_NOTE_BYTES + 1)));
    let bytes = [long(MAX_NOTE_BYTES).unwrap().to_bytes(), b"x".to_vec()].concat();
    assert_eq!(Checkpoint::<Origin>::parse(&bytes), Err(NoteError::TooLong(MAX_NOTE_BYTES + 1)));
    let large = Head { size: MAX_SIZE + 1, ..head() };
    assert_eq!(Checkpoint::new(large, lines(1)), Err(NoteError::Size));
    assert_eq!(Checkpoint::new(head(), Vec::new()), Err(NoteError::Unsigned));
    assert_eq!(Checkpoint::new(head(), vec![log(Ed25519), log(Ed25519)]), Err(NoteError::Duplicate { number: 2 }));
}

#[test]
fn both_keys_of_both_sides_twice_over_fit_into_a_note() {
    let mut lines = Vec::new();
    for seed in 1..=2 {
        for algorithm in KeyAlgorithm::ALL {
            lines.push(sign_log_line(&head(), algorithm, &keys(seed)));
            lines.push(sign_receipt_line(&head(), xb(), algorithm, TIME, &keys(seed + 2)));
        }
    }
    assert_eq!(signed(lines).lines().len(), 8);
}

#[test]
fn lines_are_added_and_never_changed() {
    let bare = signed(vec![log(Ed25519)]);
    let longer = bare.with_line(&receipt(Ed25519, TIME)).unwrap();
    assert_eq!(longer.lines().len(), 2);
    assert_eq!(longer.with_line(&receipt(Ed25519, TIME)), Ok(longer.clone()));
    let name = "verbale/XB".to_owned();
    assert_eq!(longer.with_line(&receipt(Ed25519, TIME + 1)), Err(NoteError::Changed { name }));
    let merged = longer.merged_with(&signed(vec![log(Ed25519), log(MlDsa44)])).unwrap();
    assert_eq!(merged.lines(), [log(Ed25519), receipt(Ed25519, TIME), merged.lines()[2].clone()]);
    let other = Checkpoint::new(Head { size: 6, ..head() }, vec![log(Ed25519)]).unwrap();
    assert_eq!(longer.merged_with(&other), Err(NoteError::OtherHead));
}

#[test]
fn another_implementation_accepts_the_log_line_and_refuses_it_over_another_head() {
    let author = author();
    let vkey = VerifierKey::new(ORIGIN, Algorithm::Ed25519, author.public_keys().get(Ed25519)).unwrap();
    let judge = |bytes: &[u8]| {
        let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&vkey.to_string()).unwrap())]);
        Note::from_bytes(bytes).unwrap().verify(&known).map(|(good, unknown)| (good.len(), unknown.len()))
    };
    let bytes = full().to_bytes();
    assert_eq!(judge(&bytes).unwrap(), (1, 3));
    let text = String::from_utf8(bytes).unwrap();
    assert!(judge(text.replacen("\n5\n", "\n6\n", 1).as_bytes()).is_err());
    let read: ForeignCheckpoint = Checkpoint::parse(text.as_bytes()).unwrap();
    assert_eq!(judge_with(&read, &vkey, &Crypto).unwrap().map(|line| line.position), Some(0));
}

#[test]
fn the_example_of_the_standard_is_read_and_its_lines_are_kept() {
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let read = ForeignCheckpoint::parse(text.as_bytes()).unwrap();
    assert_eq!(read.to_string(), text);
    assert_eq!(read.lines()[1].timestamp(Algorithm::CosignatureV1), Some(1_679_315_147));
    assert!(Checkpoint::<Origin>::parse(text.as_bytes()).is_err(), "no log of verbale");
}

fn proof(extra: &[u8]) -> Proof {
    let hashes = inclusion_proof(3, 5, over_leaves(&leaves())).unwrap();
    Proof::new(3, hashes, full(), extra.to_vec()).unwrap()
}

#[test]
fn a_proof_reads_back_and_proves_its_leaf_only() {
    for extra in [b"".as_slice(), b"salt and body"] {
        let proof = proof(extra);
        assert_eq!(Proof::parse(&proof.to_bytes()), Ok(proof.clone()));
        let (authors, holders) = (known(&[&author()]), known(&[&holder()]));
        let (of_author, of_holder) = proof.verify(&leaves()[3], &authors, &holders, &Crypto).unwrap();
        assert!(of_author.is_full() && of_holder.is_full());
        let verdict = proof.verify(&leaves()[2], &authors, &holders, &Crypto);
        assert!(matches!(verdict, Err(ProofRejected::Inclusion(_))));
        let verdict = proof.verify(&leaves()[3], &holders, &holders, &Crypto);
        assert!(matches!(verdict, Err(ProofRejected::Signatures(JudgeError::NoKnownLine { .. }))));
    }
}

#[test]
fn what_is_not_a_proof_is_refused() {
    let good = proof(b"x").to_string();
    let parse = |text: &str| Proof::<Origin>::parse(text.as_bytes());
    assert!(parse(&good).is_ok());
    let hash = good.lines().nth(3).unwrap();
    for (from, to) in [
        ("@v1", "@v2"),
        ("extra eA==", "extra "),
        ("extra eA==", "extra eB=="),
        ("extra eA==\n", "extra eA==\nextra eA==\n"),
        ("index 3", "index 03"),
        ("index 3", "index"),
        ("index 3", "index 18446744073709551616"),
        ("index 3\n", ""),
        (hash, &hash[1..]),
        (hash, ""),
        ("\n\n", "\n"),
        ("\n\n", "\n\n\n"),
        ("\n5\n", "\n05\n"),
    ] {
        assert!(good.contains(from), "{from:?}");
        assert!(parse(&good.replacen(from, to, 1)).is_err(), "{from:?} as {to:?}");
    }
    assert!(parse(&format!("{good}\n")).is_err());
}

#[test]
fn extra_data_and_hashes_of_a_proof_are_limited_at_the_limit() {
    use verbale::merkle::MAX_PROOF_HASHES;
    use verbale::note::MAX_EXTRA_BYTES;
    let with = |extra: usize, hashes: usize| Proof::new(0, vec![Hash::default(); hashes], full(), vec![1; extra]);
    for (extra, hashes) in [(MAX_EXTRA_BYTES - 1, MAX_PROOF_HASHES - 1), (MAX_EXTRA_BYTES, MAX_PROOF_HASHES)] {
        let proof = with(extra, hashes).unwrap();
        assert_eq!(Proof::parse(&proof.to_bytes()), Ok(proof));
    }
    assert!(with(MAX_EXTRA_BYTES + 1, 0).is_err() && with(0, MAX_PROOF_HASHES + 1).is_err());
    let hash = format!("{}\n", data_encoding::BASE64.encode(&[0; 32]));
    let text =
        |count: usize| proof(b"").to_string().replacen("index 3\n", &format!("index 3\n{}", hash.repeat(count)), 1);
    let own = proof(b"").hashes().len();
    assert!(Proof::<Origin>::parse(text(MAX_PROOF_HASHES - own).as_bytes()).is_ok());
    assert!(Proof::<Origin>::parse(text(MAX_PROOF_HASHES - own + 1).as_bytes()).is_err());
}

fn any_line() -> impl Strategy<Value = Line> {
    ("[a-z/.А-Я]{1,30}", any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 1..90))
        .prop_map(|(name, id, signature)| Line::new(name, id, signature).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_head_under_any_lines_reads_back(
        size in 0..=MAX_SIZE, root in any::<[u8; 32]>(), lines in prop::collection::vec(any_line(), 1..=MAX_LINES),
    ) {
        let head = Head { origin: ORIGIN.parse().unwrap(), size, root: Hash(root) };
        let Ok(note) = Checkpoint::new(head, lines) else { return Ok(()) };
        prop_assert_eq!(Checkpoint::parse(&note.to_bytes()), Ok(note.clone()));
        let stored = postcard::to_stdvec(&note).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Checkpoint>(&stored), Ok(note));
    }

    #[test]
    fn arbitrary_bytes_are_read_without_panic_and_what_is_read_is_written_back(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        if let Ok(note) = ForeignCheckpoint::parse(&bytes) {
            prop_assert_eq!(note.to_bytes(), bytes.clone());
        }
        prop_assert!(Proof::<Origin>::parse(&bytes).is_err());
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(text.parse::<VerifierKey>().is_err());
    }

    #[test]
    fn mutated_texts_are_read_without_panic_and_what_is_read_is_written_back(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut note = signed(vec![short_line("verbale/XB", 1), short_line("b", 2)]).to_bytes();
        let mut proof = Proof::new(3, vec![Hash::default()], Checkpoint::<Origin>::parse(&note).unwrap(), b"x".to_vec())
            .unwrap()
            .to_bytes();
        for (place, byte, act) in edits {
            for bytes in [&mut note, &mut proof] {
                let i = place.index(bytes.len());
                match act {
                    0 => bytes[i] = byte,
                    1 => bytes.insert(i, byte),
                    _ => drop(bytes.remove(i)),
                }
            }
        }
        if let Ok(read) = Checkpoint::<Origin>::parse(&note) {
            prop_assert_eq!(read.to_bytes(), note);
        }
        if let Ok(read) = Proof::<Origin>::parse(&proof) {
            prop_assert_eq!(read.to_bytes(), proof);
        }
    }
}

#[test]
fn a_log_line_of_the_wrong_key_under_the_right_id_is_a_bad_line() {
    let (author, other) = (author(), keys(5));
    let signature = Signer::sign(&other, Ed25519, head().text().as_bytes());
    let forged = log_line(&head(), Ed25519, author.public_keys().get(Ed25519), &signature);
    let verdict = judge_log_lines(&signed(vec![forged]), &known(&[&author]), &Crypto);
    assert!(matches!(verdict, Err(JudgeError::BadLine { number: 1, .. })));
}
