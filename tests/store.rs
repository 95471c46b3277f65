//! What the store answers: stages of messages, lists, lookups, places, proofs; and that it is always as the journal says.

mod records;

use std::path::Path;

use bytes::Bytes;
use records::{Draft, Pair, UNAVAILABLE, write_journal};
use verbale::exchange::{Act, Drop, Place, Record};
use verbale::journal::Journal;
use verbale::merkle::{consistency_proof, over_leaves, root_of, verify_inclusion};
use verbale::name::{CaseId, Kind, Millis, RefusalCode};
use verbale::store::{
    EntryFilter, Examined, Index, IndexError, LogId, Message, MessageFilter, Stage, Store, StoreError, examine,
};
use verbale::wire::{Target, VolumeReason};

/// A journal with its store, filled up to the journal's end.
struct Desk {
    journal: Journal,
    store: Store,
    index: Index,
    _folder: tempfile::TempDir,
}

fn open(folder: &Path, journal: &Journal) -> (Store, Index) {
    let (store, _) = Store::open(&folder.join("index"), &journal.reader()).unwrap();
    let next = journal.tail().next_record;
    let index = Index::start(store.clone(), journal.reader(), next).unwrap();
    if next > 0 {
        index.wait_until(next - 1).unwrap();
    }
    (store, index)
}

impl Desk {
    fn of(records: &[Bytes]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = write_journal(&folder.path().join("journal"), records);
        let (store, index) = open(folder.path(), &journal);
        Self { journal, store, index, _folder: folder }
    }

    /// The desk of one side, whose store was compared with its journal.
    fn at(pair: &Pair, side: usize) -> Self {
        let desk = Self::of(&pair.encoded(side));
        desk.assert_as_journal();
        desk
    }

    /// Appends what the side recorded meanwhile.
    fn catch_up(&self, pair: &Pair, side: usize) {
        let next = self.journal.tail().next_record as usize;
        for record in &pair.encoded(side)[next..] {
            let durable = self.journal.append_and_wait(vec![record.clone()]).unwrap();
            self.index.durable(durable.first_record() + 1);
        }
        self.index.wait_until(self.journal.tail().next_record - 1).unwrap();
        self.assert_as_journal();
    }

    #[track_caller]
    fn assert_as_journal(&self) {
        let (checked, faults) = self.store.verify_against(&self.journal.reader()).unwrap();
        assert_eq!(faults, Vec::<String>::new());
        assert!(checked.entries > 0);
    }

    fn outbox(&self) -> Vec<Message> {
        self.store.outbox(&MessageFilter::default()).unwrap()
    }

    fn inbox(&self) -> Vec<Message> {
        self.store.inbox(&MessageFilter::default()).unwrap()
    }
}

fn log(pair: &Pair, from: usize, at: usize) -> LogId {
    LogId { peer: pair.sides[1 - at].me, own: from == at, volume: pair.logs[from].volume }
}

#[test]
fn a_message_goes_from_queued_to_acknowledged_in_the_eyes_of_both_sides() {
    let mut pair = Pair::new();
    let (id, queued) = pair.queue(0, &Draft::of(Kind::Notification));
    let (ours, theirs) = (Desk::at(&pair, 0), Desk::at(&pair, 1));
    let stage = |desk: &Desk| desk.store.message(&id).unwrap().map(|message| message.stage());
    assert_eq!((stage(&ours), stage(&theirs)), (Some(Stage::Queued), None));

    let index = pair.append(0, queued);
    pair.sign(0, true);
    ours.catch_up(&pair, 0);
    theirs.catch_up(&pair, 1);
    assert_eq!(stage(&ours), Some(Stage::Sent));
    assert_eq!((stage(&theirs), theirs.inbox().len()), (None, 0), "nobody sees an entry before its receipt is durable");

    pair.cosign(0, true);
    ours.catch_up(&pair, 0);
    theirs.catch_up(&pair, 1);
    assert_eq!((stage(&ours), stage(&theirs)), (Some(Stage::Delivered), Some(Stage::Received)));
    let message = ours.store.message(&id).unwrap().unwrap();
    let receipt = message.receipt.unwrap();
    assert_eq!((receipt.size, receipt.time_seconds), (2, Some((records::START + 5_000) / 1000 + 2)));
    assert_eq!(message.place.map(|place| (place.index, place.log)), Some((index, log(&pair, 0, 0))));
    assert_eq!(message.record, queued);

    pair.send_about(1, Kind::Held, Target { volume: 1, index }, 0);
    pair.head(1, false);
    ours.catch_up(&pair, 0);
    assert_eq!(stage(&ours), Some(Stage::Held));

    let place = pair.place(0, index)[1];
    pair.sides[1].act(Act::Read { place, officer: 4 });
    let draft = Draft { in_reply_to: Some(id), ..Draft::of(Kind::Acknowledgement) };
    let (acknowledgement, _) = pair.send(1, &draft);
    pair.head(1, false);
    ours.catch_up(&pair, 0);
    theirs.catch_up(&pair, 1);
    let (here, there) = (ours.store.message(&id).unwrap().unwrap(), theirs.store.message(&id).unwrap().unwrap());
    assert_eq!((here.stage(), there.stage()), (Stage::Acknowledged, Stage::Acknowledged));
    assert!(there.read && !here.read);
    assert_eq!(here.acknowledged.unwrap().time, ours.store.message(&acknowledgement).unwrap().unwrap().time);

    for (kind, expected) in [(Kind::Answer, Stage::Answered), (Kind::Decline, Stage::Declined)] {
        pair.send(1, &Draft { in_reply_to: Some(id), ..Draft::of(kind) });
        pair.head(1, false);
        ours.catch_up(&pair, 0);
        assert_eq!(stage(&ours), Some(expected));
    }
    let replies: Vec<u32> = ours.store.replies(&id).unwrap().iter().map(|reply| reply.kind).collect();
    assert_eq!(replies, [Kind::Acknowledgement, Kind::Answer, Kind::Decline].map(Kind::number));
}

#[test]
fn nobody_hears_from_an_entry_that_has_no_receipt_of_this_node_yet() {
    let mut pair = Pair::new();
    let (id, queued) = pair.queue(0, &Draft::of(Kind::Notification));
    let index = pair.append(0, queued);
    pair.sign(0, true);
    pair.cosign(0, true);
    let (withdrawn, _) = pair.send(1, &Draft::of(Kind::Warning));
    pair.head(1, false);
    let desk = Desk::at(&pair, 0);
    let message = |id| desk.store.message(&id).unwrap().unwrap();
    let says: [fn(&mut Pair, u64, verbale::name::EntryId, verbale::name::EntryId); 6] = [
        |pair, index, _, _| _ = pair.send_about(1, Kind::Held, Target { volume: 1, index }, 0),
        |pair, _, id, _| _ = pair.send(1, &Draft { in_reply_to: Some(id), ..Draft::of(Kind::Acknowledgement) }),
        |pair, _, id, _| _ = pair.send(1, &Draft { in_reply_to: Some(id), ..Draft::of(Kind::Answer) }),
        |pair, _, id, _| _ = pair.send(1, &Draft { in_reply_to: Some(id), ..Draft::of(Kind::Decline) }),
        |pair, index, _, _| {
            let code = RefusalCode::Policy.number();
            pair.send_about(1, Kind::Refused, Target { volume: 1, index }, code);
        },
        |pair, _, _, id| _ = pair.send(1, &Draft { in_reply_to: Some(id), ..Draft::of(Kind::Withdrawal) }),
    ];
    for say in says {
        let before = (message(id), message(withdrawn));
        say(&mut pair, index, id, withdrawn);
        pair.sign(1, false);
        desk.catch_up(&pair, 0);
        assert_eq!((message(id), message(withdrawn)), before, "it is stored, and has no receipt yet");
        pair.cosign(1, false);
        desk.catch_up(&pair, 0);
        assert_ne!((message(id), message(withdrawn)), before);
    }
    assert!(message(withdrawn).withdrawn && message(id).refused.is_some());
}

#[test]
fn what_leaves_the_queue_unsent_says_why_and_its_acknowledgement_does_not_count() {
    let mut pair = Pair::new();
    let (received, _) = pair.send(1, &Draft::of(Kind::Warning));
    pair.head(1, true);
    let (cancelled, _) = pair.queue(0, &Draft::of(Kind::Warning));
    let (expired, _) = pair.queue(0, &Draft::of(Kind::Warning));
    let draft = Draft { in_reply_to: Some(received), ..Draft::of(Kind::Acknowledgement) };
    let (acknowledgement, _) = pair.queue(0, &draft);
    let desk = Desk::at(&pair, 0);
    let stage = |id| desk.store.message(&id).unwrap().unwrap().stage();
    assert_eq!(stage(received), Stage::Acknowledged);
    assert_eq!(desk.store.unacknowledged(10).unwrap(), 0);
    let peer = pair.sides[1].me;
    for (id, why) in [(cancelled, Drop::Cancelled), (expired, Drop::Expired), (acknowledgement, Drop::Cancelled)] {
        pair.sides[0].act(Act::Dropped { peer, id, why, officer: 1 });
    }
    desk.catch_up(&pair, 0);
    assert_eq!((stage(cancelled), stage(expired)), (Stage::Cancelled, Stage::Expired));
    assert_eq!(stage(received), Stage::Received);
    assert_eq!(desk.store.unacknowledged(10).unwrap(), 1);
}

#[test]
fn refusals_and_withdrawals_are_told_and_a_refused_file_does_not_touch_the_text() {
    let mut pair = Pair::new();
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(pair.send(0, &Draft::of(Kind::Warning)));
    }
    pair.head(0, true);
    let target = |index| Target { volume: 1, index };
    pair.send_about(1, Kind::Refused, target(sent[0].1), RefusalCode::Policy.number());
    pair.send_about(1, Kind::Refused, target(sent[1].1), RefusalCode::FileTooLarge.number());
    pair.head(1, true);
    pair.send_about(0, Kind::Void, target(sent[2].1), 0);
    pair.send(0, &Draft { in_reply_to: Some(sent[3].0), ..Draft::of(Kind::Withdrawal) });
    pair.head(0, true);
    for side in 0..2 {
        let desk = Desk::at(&pair, side);
        let of = |at: usize| desk.store.message(&sent[at].0).unwrap().unwrap();
        assert_eq!((of(0).stage(), of(0).refused), (Stage::Refused, Some(RefusalCode::Policy.number())));
        assert_eq!(of(1).refused, None);
        assert_eq!((of(2).stage(), of(3).stage()), (Stage::Withdrawn, Stage::Withdrawn));
    }
}

#[test]
fn files_of_a_received_message_are_counted_one_by_one() {
    let mut pair = Pair::new();
    let draft = Draft { files: vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], ..Draft::of(Kind::Notification) };
    let (id, _) = pair.send(0, &draft);
    pair.head(0, true);
    let peer = pair.sides[0].me;
    pair.sides[1].act(Act::EnclosureHeld { peer, entry: id, ordinal: 0, slot: 70 });
    pair.sides[1].act(Act::EnclosureHeld { peer, entry: id, ordinal: 2, slot: 71 });
    pair.sides[1].act(Act::EnclosureEnded { peer, entry: id, ordinal: 1, code: 11 });
    pair.sides[1].act(Act::EnclosureHeld { peer, entry: id, ordinal: 64, slot: 72 });
    let message = Desk::at(&pair, 1).store.message(&id).unwrap().unwrap();
    assert_eq!((message.enclosures, message.enclosures_held, message.enclosures_ended), (3, 0b101, 0b010));
}

#[test]
fn lists_are_newest_first_and_keep_to_their_filter() {
    let mut pair = Pair::new();
    let case = CaseId([7; 16]);
    let mut of_case = Vec::new();
    for number in 0..300 {
        let kind = if number % 3 == 0 { Kind::Warning } else { Kind::Notification };
        let in_case = number % 50 == 0;
        let draft = Draft { case: in_case.then_some(case), ..Draft::of(kind) };
        let (id, _) = pair.send(number % 2, &draft);
        if in_case {
            of_case.push(id);
        }
    }
    pair.head(0, true);
    pair.head(1, true);
    let desk = Desk::at(&pair, 0);
    let (sent, received) = (desk.outbox(), desk.inbox());
    assert_eq!((sent.len(), received.len()), (150, 150));
    for list in [&sent, &received] {
        assert!(list.is_sorted_by(|a, b| a.record > b.record));
    }
    let list = |filter: MessageFilter| desk.store.outbox(&filter).unwrap();
    let filter = MessageFilter::default();
    let warnings = list(MessageFilter { kind: Some(Kind::Warning.number()), ..filter.clone() });
    assert_eq!(warnings.len(), 50);
    assert_eq!(list(MessageFilter { limit: 7, ..filter.clone() }), sent[..7]);
    let next = MessageFilter { limit: 7, before_record: Some(sent[6].record), ..filter.clone() };
    assert_eq!(list(next), sent[7..14]);
    let peer = Some("XC".parse().unwrap());
    assert_eq!(list(MessageFilter { peer, ..filter.clone() }), []);
    let (from, to) = (Some(sent[20].recorded), Some(sent[10].recorded));
    assert_eq!(list(MessageFilter { from, to, ..filter.clone() }), sent[11..21]);
    let ids = |messages: &[Message]| messages.iter().filter_map(|message| message.id).collect::<Vec<_>>();
    assert_eq!(ids(&desk.store.case(&case).unwrap()), of_case);
    let both = [
        desk.store.outbox(&MessageFilter { case: Some(case), ..filter.clone() }).unwrap(),
        desk.store.inbox(&MessageFilter { case: Some(case), ..filter }).unwrap(),
    ];
    assert_eq!(both.iter().map(Vec::len).sum::<usize>(), of_case.len());
    assert_eq!(desk.store.unacknowledged(20).unwrap(), 20);
    assert_eq!(desk.store.unacknowledged(1000).unwrap(), 150);
}

#[test]
fn entries_of_every_kind_are_listed_with_their_records() {
    let mut pair = Pair::new();
    pair.talk(2, 3);
    pair.send(0, &Draft::of(Kind::Ping));
    let desk = Desk::at(&pair, 0);
    let reader = desk.journal.reader();
    let rows = |filter: EntryFilter| desk.store.log_rows(&filter, &reader).unwrap();
    let messages = rows(EntryFilter::default());
    assert_eq!((messages.rows.len(), messages.before_record), (12, None));
    let all = rows(EntryFilter { machine: true, ..EntryFilter::default() });
    assert_eq!(all.rows.len(), 15);
    assert!(all.rows.is_sorted_by(|a, b| a.record > b.record));
    let ping = &all.rows[0];
    assert_eq!((ping.kind, ping.receipted, ping.index), (Kind::Ping.number(), false, 7));
    assert!(all.rows[1..].iter().all(|row| row.receipted));
    let volumes = rows(EntryFilter { kind: Some(Kind::Volume.number()), ..EntryFilter::default() });
    assert_eq!(volumes.rows.len(), 2);
    let first = rows(EntryFilter { machine: true, limit: 4, ..EntryFilter::default() });
    let rest = rows(EntryFilter { machine: true, before_record: first.before_record, ..EntryFilter::default() });
    assert_eq!([first.rows, rest.rows].concat(), all.rows);
    for row in &all.rows {
        let record = Record::decode(&reader.read(row.record).unwrap().bytes);
        let (Act::Appended { place, .. } | Act::Stored { place, .. } | Act::VolumeOpened { place, .. }) = record.act
        else {
            panic!("record {} is no entry", row.record);
        };
        assert_eq!((place.index, place.volume), (row.index, row.log.volume));
    }
}

#[test]
fn places_leaf_hashes_and_proofs_are_those_of_the_tree() {
    let mut pair = Pair::new();
    for _ in 0..599 {
        pair.send(0, &Draft::of(Kind::Information));
    }
    pair.head(0, true);
    for at in 0..2 {
        let desk = Desk::at(&pair, at);
        let (log, leaves) = (log(&pair, 0, at), &pair.logs[0].leaves);
        let view = desk.store.log(&log).unwrap().unwrap();
        assert_eq!((view.size, view.receipted, view.root), (600, 600, pair.logs[0].range.root()));
        assert!(!view.disagrees && view.holes == 0);
        assert_eq!(desk.store.leaf_hashes(&log, 0..600).unwrap(), *leaves);
        assert_eq!(desk.store.leaf_hashes(&log, 250..520).unwrap(), leaves[250..520]);
        assert_eq!(desk.store.leaf_hashes(&log, 7..7).unwrap(), []);
        for size in [1, 2, 255, 256, 257, 512, 599, 600] {
            let part = over_leaves(&leaves[..size as usize]);
            let root = root_of(size, &part).unwrap();
            assert_eq!(desk.store.root_at(&log, size).unwrap(), root);
            for index in [0, size / 2, size - 1] {
                let proof = desk.store.inclusion_proof(&log, index, size).unwrap();
                assert_eq!((proof.leaf_hash, proof.root), (leaves[index as usize], root));
                verify_inclusion(&proof.leaf_hash, index, size, &proof.hashes, &root).unwrap();
            }
            let proof = desk.store.consistency_proof(&log, size, 600).unwrap();
            assert_eq!(proof, consistency_proof(size, 600, over_leaves(leaves)).unwrap());
        }
        let range = |result: Result<_, StoreError>| matches!(result, Err(StoreError::OutOfRange { .. }));
        assert!(range(desk.store.inclusion_proof(&log, 0, 601).map(drop)));
        assert!(range(desk.store.inclusion_proof(&log, 600, 600).map(drop)));
        assert!(range(desk.store.leaf_hashes(&log, 590..601).map(drop)));
        assert_eq!(desk.store.entry_record(&log, 600).unwrap(), None);
        for index in [0, 255, 256, 599] {
            let location = desk.store.entry_record(&log, index).unwrap().unwrap();
            let record = Record::decode(&desk.journal.reader().read(location.record).unwrap().bytes);
            let payload = Record::decode(&desk.journal.reader().read(location.payload).unwrap().bytes);
            let is = |place: &Place| place.index == index && place.volume == log.volume;
            match (record.act, payload.act) {
                (Act::Appended { place, queued, .. }, Act::Queued { .. }) => {
                    assert!(is(&place) && queued == location.payload)
                }
                (Act::Stored { place, .. } | Act::VolumeOpened { place, .. }, _) => {
                    assert!(is(&place) && location.payload == location.record);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_receipt_of_a_later_volume_covers_what_it_names_of_the_earlier_ones() {
    let mut pair = Pair::new();
    pair.talk(1, 2);
    let old = pair.logs[0].volume;
    let (late, _) = pair.send(0, &Draft::of(Kind::Warning));
    pair.sign(0, true);
    pair.next_volume(0, VolumeReason::Restored);
    for side in 0..2 {
        let desk = Desk::at(&pair, side);
        assert_eq!(desk.store.message(&late).unwrap().map(|message| message.stage()), [Some(Stage::Sent), None][side]);
    }
    pair.head(0, true);
    for side in 0..2 {
        let desk = Desk::at(&pair, side);
        let expected = [Stage::Delivered, Stage::Received][side];
        assert_eq!(desk.store.message(&late).unwrap().unwrap().stage(), expected);
        let old = desk.store.log(&LogId { volume: old, ..log(&pair, 0, side) }).unwrap().unwrap();
        assert_eq!((old.size, old.receipted), (4, 4));
        assert_eq!(desk.store.logs(None).unwrap().len(), 3);
    }
}

#[test]
fn the_holders_branch_takes_the_place_of_the_own_one() {
    let mut pair = Pair::new();
    for _ in 0..300 {
        pair.send(0, &Draft::of(Kind::Warning));
    }
    pair.head(0, true);
    // XA goes on from a backup with entry 290, and hears later that XB holds other entries from there on.
    let cut = pair.sides[0]
        .records
        .iter()
        .position(|record| matches!(record.act, Act::Appended { place, .. } if place.index == 290));
    let lost = pair.sides[0].records.split_off(cut.unwrap() - 1);
    let (other, queued) = pair.queue(0, &Draft::of(Kind::Note));
    let Act::Queued { header, commitment, body_len, .. } = pair.sides[0].records[queued as usize].act.clone() else {
        unreachable!()
    };
    let leaf = verbale::wire::Leaf::new(commitment, body_len as usize, &header.encode()).unwrap();
    let place = pair.place(0, 290)[0];
    pair.sides[0].act(Act::Appended { place, leaf, queued });
    let desk = Desk::at(&pair, 0);
    assert_eq!(desk.store.message(&other).unwrap().unwrap().stage(), Stage::Sent);
    for record in lost {
        match record.act {
            Act::Appended { place, leaf, .. } => pair.sides[0].act(Act::Fetched { place, leaf, payload: UNAVAILABLE }),
            Act::Signed { place, root, lines } => pair.sides[0].act(Act::FetchedHead { place, root, lines }),
            _ => continue,
        };
    }
    desk.catch_up(&pair, 0);
    let view = desk.store.log(&log(&pair, 0, 0)).unwrap().unwrap();
    assert_eq!((view.size, view.root, view.disagrees), (301, pair.logs[0].range.root(), false));
    assert_eq!(desk.outbox().len(), 301);
    assert!(desk.store.check().is_ok());
}

#[test]
fn a_message_is_found_by_an_id_that_was_used_again_and_the_repeat_is_marked() {
    let mut pair = Pair::new();
    let (id, queued) = pair.queue(0, &Draft::of(Kind::Warning));
    pair.append(0, queued);
    pair.head(0, true);
    pair.next_volume(0, VolumeReason::Fault);
    pair.append(0, queued);
    if let Act::Stored { repeat, .. } = &mut pair.sides[1].records.last_mut().unwrap().act {
        *repeat = true;
    }
    pair.head(0, true);
    let (ours, theirs) = (Desk::at(&pair, 0), Desk::at(&pair, 1));
    assert_eq!(ours.outbox().len(), 1);
    assert_eq!(ours.outbox()[0].place.unwrap().log.volume.number, 2);
    let received = theirs.inbox();
    assert_eq!(received.iter().map(|message| message.repeat).collect::<Vec<_>>(), [true, false]);
    assert!(!theirs.store.message(&id).unwrap().unwrap().repeat);
}

#[test]
fn a_store_that_is_behind_goes_on_one_of_another_journal_begins_anew_and_one_that_is_ahead_is_kept_as_a_witness() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::new();
    pair.talk(3, 5);
    let at_first = pair.encoded(0);
    pair.talk(3, 5);
    let all = pair.encoded(0);
    let path = |name: &str| folder.path().join(name);
    let journal = write_journal(&path("journal"), &at_first);
    drop(open(folder.path(), &journal));
    for record in &all[at_first.len()..] {
        journal.append_and_wait(vec![record.clone()]).unwrap();
    }
    let (store, report) = Store::open(&path("index"), &journal.reader()).unwrap();
    assert_eq!((report.next_record, report.rebuild), (at_first.len() as u64, None));
    drop(store);
    let (store, index) = open(folder.path(), &journal);
    assert_eq!(store.next_record(), all.len() as u64);
    assert_eq!(index.progress().rebuilds, []);
    drop((store, index));

    let shorter = write_journal(&path("shorter"), &at_first);
    for _ in 0..2 {
        let ahead = Store::open(&path("index"), &shorter.reader());
        assert!(matches!(ahead, Err(StoreError::Beyond(records)) if records == all.len() as u64));
        let scratch = tempfile::tempdir().unwrap();
        let examined = examine(&path("index"), scratch.path(), &shorter.reader()).unwrap();
        assert_eq!(examined, Examined::Beyond(all.len() as u64));
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left behind");
    }
    assert!(Store::set_aside(&path("index")).unwrap().is_some());
    drop(open(folder.path(), &shorter));

    let (_, foreign) = (shorter, write_journal(&path("foreign"), &all));
    let (_, report) = Store::open(&path("index"), &foreign.reader()).unwrap();
    assert!(report.rebuild.is_some_and(|rebuild| rebuild.reason.contains("another journal")));
}

#[test]
fn a_rebuild_on_demand_gives_the_same_store_again() {
    let mut pair = Pair::new();
    pair.talk(3, 20);
    let desk = Desk::at(&pair, 0);
    let before = (desk.outbox(), desk.inbox());
    desk.index.rebuild("somebody asked");
    desk.index.wait_until(desk.journal.tail().next_record - 1).unwrap();
    assert_eq!((desk.outbox(), desk.inbox()), before);
    let rebuilds = desk.index.progress().rebuilds;
    assert_eq!(rebuilds.iter().map(|rebuild| rebuild.reason.as_str()).collect::<Vec<_>>(), ["somebody asked"]);
    desk.assert_as_journal();
}

#[test]
fn waiting_for_a_record_that_never_comes_ends_with_the_reason() {
    let pair = Pair::new();
    let desk = Desk::at(&pair, 0);
    let next = desk.journal.tail().next_record;
    assert!(matches!(desk.index.wait_until(next + 5), Err(IndexError::Failed(_))));
    let record = Record { time: Millis(1), act: Act::Recovering { officer: 1 } }.encode();
    desk.journal.append_and_wait(vec![record]).unwrap();
    desk.index.durable(next + 1);
    assert_eq!(desk.index.wait_until(next), Ok(()));
}

#[test]
fn records_that_cannot_be_read_leave_holes_that_are_said_and_nothing_is_proven_over_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::new();
    pair.talk(4, 10);
    let journal = folder.path().join("journal");
    drop(write_journal(&journal, &pair.encoded(0)));
    let first = journal.join("00000000000000000000.seg");
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[30_000] ^= 1;
    std::fs::write(&first, bytes).unwrap();
    let options = verbale::journal::Options { create: false, ..records::options() };
    let (journal, _) = Journal::open(&journal, options).unwrap();
    let (store, index) = open(folder.path(), &journal);
    assert!(store.unread_records() > 0);
    assert_eq!(index.progress().damages.len(), 1);
    let views = store.logs(None).unwrap();
    assert!(views.iter().any(|view| view.holes > 0 && view.disagrees));
    for view in views.iter().filter(|view| view.holes > 0) {
        assert!(matches!(store.inclusion_proof(&view.log, 0, view.size), Err(StoreError::Holes(_))));
        let found = (0..view.size).filter(|index| store.entry_record(&view.log, *index).unwrap().is_some()).count();
        assert_eq!(found as u64, view.size - view.holes);
    }
    assert!(store.check().is_ok());
}
