//! What the audit says of a good pair of journals, and of each kind of tampering with one.

mod records;

use bytes::Bytes;
use records::{Draft, Keys, Pair, UNAVAILABLE, line_of, write_journal};
use verbale::audit::{FaultKind, VerifyOptions, VerifyReport, replay, verify};
use verbale::exchange::{Act, Drop, Record, Stowed};
use verbale::name::{Hash, Kind, Volume};
use verbale::note::{Head, Seeds, SigningKeys};
use verbale::wire::{HeadRef, Leaf, VolumeBody, VolumeReason};

fn audit_with(records: &[Bytes], keys: Option<&Keys>) -> VerifyReport {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    drop(write_journal(&journal, records));
    let opener = keys.map(|keys| keys as &dyn verbale::audit::Opener);
    verify(&journal, VerifyOptions { opener, ..VerifyOptions::default() }).unwrap()
}

fn audit(pair: &Pair, side: usize) -> VerifyReport {
    audit_with(&pair.encoded(side), Some(&Keys::default()))
}

/// The act of the last record for which `find` is true, to be tampered with; also its number.
fn last(pair: &mut Pair, side: usize, find: impl Fn(&Act) -> bool) -> (u64, &mut Act) {
    let records = &mut pair.sides[side].records;
    let at = records.iter().rposition(|record| find(&record.act)).expect("there is such a record");
    (at as u64, &mut records[at].act)
}

fn talked() -> Pair {
    let mut pair = Pair::new();
    pair.talk(4, 10);
    pair
}

fn changed(leaf: &Leaf, at: usize) -> Leaf {
    let mut bytes = leaf.bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    Leaf::parse(bytes.into()).unwrap()
}

/// The report is red, its first fault is of this kind, and it names the record, a file and a place in it.
#[track_caller]
fn assert_red(report: &VerifyReport, kind: FaultKind, record: u64) {
    assert!(!report.is_good());
    let fault = &report.faults[0];
    assert_eq!((fault.kind, fault.record), (kind, record), "{:#?}", report.faults);
    assert!(fault.file.ends_with(".seg") && fault.offset > 0, "{fault}");
    assert!(fault.to_string().contains(&fault.file) && fault.to_string().contains(&record.to_string()));
    assert!(!fault.affected.is_empty());
}

#[test]
fn a_good_pair_of_logs_verifies_on_both_sides_with_and_without_keys() {
    let mut pair = talked();
    pair.next_volume(0, VolumeReason::Restored);
    pair.head(0, true);
    pair.talk(2, 3);
    for side in 0..2 {
        let report = audit(&pair, side);
        assert!(report.is_good(), "{:#?}", report.faults);
        assert_eq!(report.node, Some(pair.sides[side].me));
        assert_eq!(report.records, pair.sides[side].records.len() as u64);
        assert_eq!((report.entries, report.bodies_not_opened), (95, 0));
        assert_eq!((report.heads, report.receipts), (15, 15));
        assert_eq!(report.bodies, 95);
        assert_eq!(report.remarks, Vec::<String>::new());
        let blind = audit_with(&pair.encoded(side), None);
        assert!(blind.is_good());
        assert_eq!((blind.bodies, blind.bodies_not_opened), (3, 92));
        assert!(blind.remarks.iter().any(|remark| remark.contains("92 sealed bodies")));
    }
}

#[test]
fn a_head_without_post_quantum_lines_is_a_remark_and_no_fault() {
    let mut pair = talked();
    pair.send(0, &Draft::of(Kind::Warning));
    pair.head(0, false);
    let report = audit(&pair, 1);
    assert!(report.is_good(), "{:#?}", report.faults);
    assert_eq!(report.remarks.len(), 1);
    assert!(report.remarks[0].contains("classical only from entry 41 to 41"), "{}", report.remarks[0]);
}

#[test]
fn a_head_may_be_signed_again_with_more_lines() {
    let mut pair = talked();
    pair.send(0, &Draft::of(Kind::Warning));
    pair.head(0, false);
    pair.head(0, true);
    for side in 0..2 {
        let report = audit(&pair, side);
        assert!(report.is_good(), "{:#?}", report.faults);
        assert_eq!(report.remarks, Vec::<String>::new());
    }
}

#[test]
fn a_changed_leaf_is_red_at_the_next_head() {
    let mut pair = talked();
    // A byte of the header's time: nothing but the tree notices it.
    let (at, act) = last(&mut pair, 1, |act| matches!(act, Act::Stored { .. }));
    let Act::Stored { leaf, .. } = act else { unreachable!() };
    *leaf = changed(leaf, leaf.bytes().len() - 12);
    let head = at + 1;
    assert_red(&audit(&pair, 1), FaultKind::Root, head);
}

#[test]
fn an_entry_that_differs_from_its_item_is_red() {
    let mut pair = talked();
    let (at, act) = last(&mut pair, 0, |act| matches!(act, Act::Appended { .. }));
    let Act::Appended { leaf, .. } = act else { unreachable!() };
    *leaf = changed(leaf, 5);
    assert_red(&audit(&pair, 0), FaultKind::Item, at);
}

#[test]
fn another_root_is_red() {
    for (side, find) in [(0, true), (1, false)] {
        let mut pair = talked();
        let (at, act) = last(&mut pair, side, |act| {
            if find { matches!(act, Act::Signed { .. }) } else { matches!(act, Act::Cosigned { .. }) }
        });
        match act {
            Act::Signed { root, .. } | Act::Cosigned { root, .. } => root.0[31] ^= 1,
            _ => unreachable!(),
        }
        assert_red(&audit(&pair, side), FaultKind::Root, at);
    }
}

#[test]
fn a_stripped_author_line_is_red() {
    let mut pair = talked();
    let (at, act) = last(&mut pair, 1, |act| matches!(act, Act::Cosigned { .. }));
    let Act::Cosigned { author_lines, .. } = act else { unreachable!() };
    author_lines.clear();
    assert_red(&audit(&pair, 1), FaultKind::AuthorLine, at);
}

#[test]
fn a_line_of_another_key_is_red() {
    let mut pair = talked();
    let stranger = SigningKeys::from_seeds(&Seeds::from_bytes(&[7; 64])).unwrap();
    let head = pair.note_head(0);
    let (at, act) =
        last(&mut pair, 1, |act| matches!(act, Act::Cosigned { place, .. } if place.volume == head.origin.volume));
    let Act::Cosigned { author_lines, .. } = act else { unreachable!() };
    *author_lines = vec![line_of(&head, &stranger)];
    assert_red(&audit(&pair, 1), FaultKind::AuthorLine, at);
}

#[test]
fn a_line_over_another_head_is_red() {
    let mut pair = talked();
    let head = pair.note_head(0);
    let other = Head { root: Hash([3; 32]), ..head.clone() };
    let line = line_of(&other, &pair.sides[0].keys);
    let (at, act) = last(&mut pair, 0, |act| matches!(act, Act::Signed { .. }));
    let Act::Signed { lines, .. } = act else { unreachable!() };
    *lines = vec![line];
    assert_red(&audit(&pair, 0), FaultKind::AuthorLine, at);
}

#[test]
fn a_receipt_for_another_size_or_without_a_known_line_is_red() {
    let mut pair = talked();
    let (at, act) = last(&mut pair, 0, |act| matches!(act, Act::Receipt { .. }));
    let Act::Receipt { place, .. } = act else { unreachable!() };
    place.index -= 1;
    assert_red(&audit(&pair, 0), FaultKind::ReceiptSize, at);

    let mut pair = talked();
    let (at, act) = last(&mut pair, 0, |act| matches!(act, Act::Receipt { .. }));
    let Act::Receipt { lines, .. } = act else { unreachable!() };
    lines.clear();
    assert_red(&audit(&pair, 0), FaultKind::ReceiptLine, at);

    let mut pair = talked();
    let (earlier, _) = last(&mut pair, 0, |act| matches!(act, Act::Receipt { place, .. } if place.index == 31));
    let Act::Receipt { lines: old, .. } = pair.sides[0].records[earlier as usize].act.clone() else { unreachable!() };
    let (at, act) = last(&mut pair, 0, |act| matches!(act, Act::Receipt { .. }));
    let Act::Receipt { lines, .. } = act else { unreachable!() };
    *lines = old;
    assert_red(&audit(&pair, 0), FaultKind::ReceiptLine, at);
}

#[test]
fn a_gap_in_the_indices_is_red_and_named_once() {
    for side in 0..2 {
        let mut pair = talked();
        let wanted = |act: &Act| match act {
            Act::Appended { place, .. } | Act::Stored { place, .. } => place.index == 12,
            _ => false,
        };
        let at = pair.sides[side].records.iter().position(|record| wanted(&record.act)).unwrap();
        // The numbers of all records must stay: the gap is in the log, not in the journal.
        pair.sides[side].records[at].act = Act::Recovering { officer: 1 };
        let report = audit(&pair, side);
        let gaps = report.faults.iter().filter(|fault| fault.kind == FaultKind::Index).count();
        assert_eq!(gaps, 1, "{:#?}", report.faults);
        assert!(report.faults[0].what.contains("entries 12 to 12"), "{}", report.faults[0]);
    }
}

#[test]
fn an_id_that_is_shown_twice_is_red_and_a_marked_repeat_is_not() {
    for (repeat, red) in [(false, true), (true, false)] {
        let mut pair = talked();
        pair.next_volume(0, VolumeReason::Fault);
        pair.head(0, true);
        // The item of an earlier entry is appended again, as from a volume that died.
        let (queued, _) = last(&mut pair, 0, |act| matches!(act, Act::Queued { .. }));
        pair.append(0, queued);
        let (at, act) = last(&mut pair, 1, |act| matches!(act, Act::Stored { .. }));
        let Act::Stored { repeat: marked, .. } = act else { unreachable!() };
        *marked = repeat;
        pair.head(0, true);
        let report = audit(&pair, 1);
        if red {
            assert_red(&report, FaultKind::DuplicateId, at);
        } else {
            assert!(report.is_good(), "{:#?}", report.faults);
        }
        assert!(audit(&pair, 0).is_good());
    }
}

#[test]
fn an_item_that_is_appended_twice_in_one_volume_is_red() {
    let mut pair = talked();
    let (queued, _) = last(&mut pair, 0, |act| matches!(act, Act::Queued { .. }));
    pair.append(0, queued);
    pair.head(0, true);
    let (at, _) = last(&mut pair, 0, |act| matches!(act, Act::Appended { .. }));
    assert_red(&audit(&pair, 0), FaultKind::DuplicateId, at);
}

#[test]
fn a_body_that_does_not_open_its_commitment_is_red() {
    let mut pair = talked();
    let (at, act) = last(&mut pair, 1, |act| matches!(act, Act::Stored { .. }));
    let Act::Stored { payload: Stowed::Sealed { bytes, .. }, .. } = act else { unreachable!() };
    let mut changed = bytes.to_vec();
    changed[40] ^= 4;
    *bytes = changed.into();
    assert_red(&audit(&pair, 1), FaultKind::Commitment, at);

    let mut pair = talked();
    let (at, act) = last(&mut pair, 0, |act| matches!(act, Act::VolumeOpened { .. }));
    let Act::VolumeOpened { salt, .. } = act else { unreachable!() };
    salt[0] ^= 1;
    assert_red(&audit(&pair, 0), FaultKind::Commitment, at);
}

#[test]
fn a_body_that_cannot_be_opened_is_red_and_an_erased_one_is_counted() {
    let mut pair = talked();
    let (at, act) = last(&mut pair, 1, |act| matches!(act, Act::Stored { .. }));
    let Act::Stored { payload: Stowed::Sealed { bytes, .. }, .. } = act else { unreachable!() };
    *bytes = bytes.slice(..20);
    assert_red(&audit(&pair, 1), FaultKind::Body, at);

    let pair = talked();
    let keys = Keys { erased: vec![(1 << 20) + 3, (1 << 20) + 5], ..Keys::default() };
    let report = audit_with(&pair.encoded(0), Some(&keys));
    assert!(report.is_good(), "{:#?}", report.faults);
    assert_eq!(report.bodies_erased, 2);
}

#[test]
fn a_volume_that_does_not_continue_the_one_before_is_red() {
    type Break = fn(&mut HeadRef);
    let breaks: [Break; 3] = [
        |before| before.root.0[0] ^= 1,
        |before| before.size -= 1,
        |before| before.origin.volume = Volume { number: 9, random: [9; 8] },
    ];
    for change in breaks {
        let mut pair = talked();
        let mut before = pair.head_ref(0);
        change(&mut before);
        pair.next_volume(0, VolumeReason::Restored);
        let (at, act) = last(&mut pair, 0, |act| matches!(act, Act::VolumeOpened { .. }));
        let Act::VolumeOpened { leaf, salt, body, .. } = act else { unreachable!() };
        let read = VolumeBody::decode(body.clone()).unwrap();
        *body = VolumeBody { before: Some(before), ..read }.encode();
        *leaf = Leaf::new(verbale::wire::commitment(salt, body), body.len(), &leaf.header_bytes()).unwrap();
        assert_red(&audit(&pair, 0), FaultKind::Volume, at);
    }
}

#[test]
fn a_volume_that_names_none_before_it_though_there_is_one_is_red() {
    let mut pair = talked();
    pair.logs[0].volume = Volume { number: 2, random: [2; 8] };
    pair.logs[0].range = Default::default();
    pair.open(0, VolumeReason::First, None);
    for side in 0..2 {
        let at = pair.sides[side].records.len() as u64 - 1;
        assert_red(&audit(&pair, side), FaultKind::Volume, at);
    }
}

#[test]
fn an_entry_0_that_is_no_volume_is_red() {
    let mut pair = talked();
    pair.logs[0].volume = Volume { number: 2, random: [2; 8] };
    pair.logs[0].range = Default::default();
    pair.send(0, &Draft::of(Kind::Warning));
    let (at, _) = last(&mut pair, 1, |act| matches!(act, Act::Stored { .. }));
    assert_red(&audit(&pair, 1), FaultKind::Volume, at);
}

#[test]
fn two_heads_that_exclude_each_other_are_red() {
    let mut pair = talked();
    let head = pair.note_head(0);
    let other = Head { root: Hash([3; 32]), ..head };
    let line = line_of(&other, &pair.sides[0].keys);
    let place = pair.place(0, other.size)[0];
    let at = pair.sides[0].act(Act::Signed { place, root: other.root, lines: vec![line] });
    assert_red(&audit(&pair, 0), FaultKind::Contradiction, at);
}

#[test]
fn a_head_that_shrinks_is_red() {
    let mut pair = talked();
    let (_, act) = last(&mut pair, 0, |act| matches!(act, Act::Signed { place, .. } if place.index == 31));
    let again = act.clone();
    let at = pair.sides[0].act(again);
    assert_red(&audit(&pair, 0), FaultKind::Contradiction, at);
}

#[test]
fn a_stored_line_that_changes_is_red() {
    let mut pair = talked();
    pair.head(0, true);
    // ML-DSA-44 signs with fresh randomness: a second signature of the same key over the same head differs.
    let before = pair.sides[0].records.len();
    pair.sign(0, true);
    let report = audit(&pair, 0);
    let faults: Vec<_> = report.faults.iter().filter(|fault| fault.kind == FaultKind::ChangedLine).collect();
    assert!(!faults.is_empty() && faults.iter().any(|fault| fault.record == before as u64), "{:#?}", report.faults);
}

#[test]
fn a_receipt_over_bodies_that_are_not_here_is_red_unless_a_void_or_a_volume_accounts_for_them() {
    for with_void in [false, true] {
        let mut pair = talked();
        let (_, index) = pair.send(0, &Draft::of(Kind::Warning));
        let (_, act) = last(&mut pair, 1, |act| matches!(act, Act::Stored { .. }));
        let Act::Stored { payload, .. } = act else { unreachable!() };
        *payload = UNAVAILABLE;
        if with_void {
            pair.send_about(0, Kind::Void, verbale::wire::Target { volume: 1, index }, 0);
        }
        pair.head(0, true);
        let report = audit(&pair, 1);
        let (at, _) = last(&mut pair, 1, |act| matches!(act, Act::Cosigned { .. }));
        if with_void {
            assert!(report.is_good(), "{:#?}", report.faults);
        } else {
            assert_red(&report, FaultKind::ReceiptStatement, at);
        }
        assert_eq!(report.bodies_absent, 1);
    }
}

#[test]
fn files_are_hashed_where_they_can_be_read() {
    let mut pair = talked();
    let file = b"203.0.113.7,4444\n".to_vec();
    let draft = Draft { files: vec![file.clone()], ..Draft::of(Kind::Notification) };
    let (id, _) = pair.send(0, &draft);
    pair.head(0, true);
    let peer = pair.sides[0].me;
    let at = pair.sides[1].act(Act::EnclosureHeld { peer, entry: id, ordinal: 0, slot: 900 });
    let good = Keys { files: vec![(id, 0, file)], ..Keys::default() };
    for side in 0..2 {
        let report = audit_with(&pair.encoded(side), Some(&good));
        assert!(report.is_good(), "{:#?}", report.faults);
        assert_eq!(report.enclosures, 1);
    }
    for files in [vec![(id, 0, b"other".to_vec())], Vec::new()] {
        let report = audit_with(&pair.encoded(1), Some(&Keys { files, ..Keys::default() }));
        assert_red(&report, FaultKind::Enclosure, at);
    }
}

#[test]
fn what_was_got_back_from_the_holder_continues_the_log() {
    let mut pair = talked();
    // XA comes back from a backup without its last round, fetches it, and opens the next volume.
    let kept = pair.sides[0]
        .records
        .iter()
        .position(|record| matches!(record.act, Act::Appended { place, .. } if place.index == 35));
    let lost = pair.sides[0].records.split_off(kept.unwrap() - 1);
    let mut head = None;
    for record in lost {
        match record.act {
            Act::Appended { place, leaf, .. } => {
                let index = place.index;
                let payload = pair.sides[1].records.iter().find_map(|record| match &record.act {
                    Act::Stored { place, payload, leaf: stored, .. } if place.index == index && *stored == leaf => {
                        Some(payload.clone())
                    }
                    _ => None,
                });
                pair.sides[0].act(Act::Fetched { place, leaf, payload: payload.unwrap() });
            }
            Act::Signed { place, root, lines } => head = Some((place, root, lines)),
            _ => {}
        }
    }
    let (place, root, lines) = head.unwrap();
    pair.sides[0].act(Act::FetchedHead { place, root, lines });
    pair.next_volume(0, VolumeReason::Restored);
    pair.head(0, true);
    for side in 0..2 {
        let report = audit(&pair, side);
        assert!(report.is_good(), "{:#?}", report.faults);
    }
}

#[test]
fn unknown_records_are_remarks() {
    let mut pair = talked();
    pair.sides[0].act(Act::Unknown(Bytes::from_static(&[0xff, 0xff])));
    let report = audit(&pair, 0);
    assert!(report.is_good(), "{:#?}", report.faults);
    assert_eq!(report.unknown_records, 1);
}

#[test]
fn a_flipped_byte_in_any_group_is_red_and_names_file_and_records() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let pair = talked();
    drop(write_journal(&journal, &pair.encoded(0)));
    let mut files: Vec<_> = std::fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    let file = &files[0];
    let good = std::fs::read(file).unwrap();
    let mut bad = good.clone();
    bad[20_000] ^= 0x40;
    std::fs::write(file, &bad).unwrap();
    let report = verify(&journal, VerifyOptions::default()).unwrap();
    let fault = &report.faults[0];
    assert_eq!(fault.kind, FaultKind::Journal);
    assert_eq!(fault.file, file.file_name().unwrap().to_string_lossy());
    assert!(fault.offset <= 20_000 && fault.affected.starts_with("record"), "{fault}");
    std::fs::write(file, &good).unwrap();
    assert!(verify(&journal, VerifyOptions::default()).unwrap().is_good());
}

#[test]
fn replay_tells_every_act_in_order_and_opens_bodies_only_with_keys() {
    let mut pair = talked();
    let (id, _) = pair.queue(0, &Draft::of(Kind::Warning));
    let peer = pair.sides[1].me;
    pair.sides[0].act(Act::Dropped { peer, id, why: Drop::Cancelled, officer: 3 });
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    drop(write_journal(&journal, &pair.encoded(0)));
    let keys = Keys::default();
    let lines: Vec<_> = replay(&journal, 0, Some(&keys)).unwrap().map(Result::unwrap).collect();
    assert_eq!(lines.len(), pair.sides[0].records.len());
    assert!(lines.iter().enumerate().all(|(number, line)| line.record == number as u64));
    assert_eq!(lines[0].act, "opened");
    let json = serde_json::to_value(lines.last().unwrap()).unwrap();
    assert_eq!(json["act"], "cancelled");
    assert_eq!(json["message"], id.to_string());
    assert_eq!(json["officer"], 3);
    assert_eq!(json["peer"], "XB");
    let queued = lines.iter().rfind(|line| line.act == "queued").unwrap();
    let payload = queued.payload.as_ref().unwrap();
    assert_eq!((payload.state, payload.subject.as_deref()), ("opened", Some("Scan")));
    let blind: Vec<_> = replay(&journal, queued.record, None).unwrap().map(Result::unwrap).collect();
    assert_eq!(blind[0].record, queued.record);
    assert_eq!(blind[0].payload.as_ref().unwrap().state, "sealed");
    assert_eq!(blind[0].payload.as_ref().unwrap().body, None);
    let stored = serde_json::to_value(lines.iter().find(|line| line.act == "stored").unwrap()).unwrap();
    assert_eq!(stored["entry"]["index"], 0);
    assert_eq!(stored["entry"]["header"]["kind"], "VOLUME");
    assert_eq!(stored["entry"]["leaf_hash"].as_str().unwrap().len(), 64);
    assert_eq!(stored["payload"]["state"], "clear");
}

#[test]
fn records_of_the_rig_read_back_as_written() {
    let pair = talked();
    for record in &pair.sides[0].records {
        assert_eq!(&Record::decode(&record.encode()), record);
    }
}
