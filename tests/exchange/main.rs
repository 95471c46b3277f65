//! The exchange as sentences: two cores, without disk and network.

mod backlog;
mod pair;
mod silence;

use std::collections::BTreeMap;

use pair::{Pair, add};
use verbale::audit::{VerifyOptions, verify_records};
use verbale::exchange::{Act, Answer, Change, Command, Doubt, Notice, Record};
use verbale::name::Hash;
use verbale::name::Precedence::{Flash, Immediate, Routine};
use verbale::note::{Checkpoint, Crypto, Exclusion, Line, judge_log_lines};
use verbale::wire::{Contradiction, VolumeBody, VolumeReason};

#[test]
fn a_message_is_receipted_and_shown_once() {
    let mut pair = Pair::new();
    let id = pair.send(true, "outage at the exchange point", Routine);
    pair.run(30);
    assert_eq!(pair.b.inbox(), [id]);
    assert_eq!(pair.a.delivered, [id]);
    assert!(matches!(pair.a.answers[..], [(_, Answer::Delivered { .. })]));
}

#[test]
fn both_directions_pass_and_keep_their_order_within_a_speed() {
    let mut pair = Pair::new();
    let sent: Vec<_> = (0..50).map(|n| pair.send(true, &format!("a{n}"), Routine)).collect();
    let back: Vec<_> = (0..50).map(|n| pair.send(false, &format!("b{n}"), Routine)).collect();
    pair.run(30);
    assert_eq!(pair.b.inbox(), sent);
    assert_eq!(pair.a.inbox(), back);
}

#[test]
fn the_faster_goes_first_when_the_line_comes_back() {
    let mut pair = Pair::new();
    pair.run(5);
    pair.unplug();
    let routine = pair.send(true, "slow", Routine);
    let flash = pair.send(true, "now", Flash);
    let immediate = pair.send(true, "soon", Immediate);
    pair.run(20);
    assert!(pair.b.inbox().is_empty());
    pair.plug();
    pair.run(600);
    assert_eq!(pair.b.inbox(), [flash, immediate, routine]);
}

#[test]
fn a_node_that_starts_again_takes_up_where_it_was() {
    let mut pair = Pair::new();
    let first = pair.send(true, "before", Routine);
    pair.run(30);
    pair.unplug();
    let second = pair.send(true, "while down", Routine);
    pair.run(5);
    let (a, b) = (pair.a.journal.len(), pair.b.journal.len());
    pair.a.restart(a, None);
    pair.b.restart(b, None);
    pair.plug();
    pair.run(600);
    let third = pair.send(true, "after", Routine);
    pair.run(60);
    assert_eq!(pair.b.inbox(), [first, second, third]);
}

#[test]
fn a_node_restored_from_an_older_copy_fetches_its_tail_and_opens_a_volume() {
    let mut pair = Pair::new();
    pair.send(true, "one", Routine);
    pair.run(30);
    let copy = pair.a.journal.len();
    for n in 0..5 {
        pair.send(true, &format!("later {n}"), Routine);
        pair.run(10);
    }
    pair.unplug();
    pair.run(1);
    pair.a.restart(copy, None);
    pair.plug();
    pair.run(600);
    let last = pair.send(true, "after the restore", Routine);
    pair.run(60);
    assert_eq!(pair.b.inbox().len(), 7);
    assert_eq!(pair.b.inbox().last(), Some(&last));
    let opened = pair.a.journal.iter().filter(|r| matches!(r.act, Act::VolumeOpened { .. })).count();
    assert_eq!(opened, 2, "volume 1 is left, volume 2 is open");
}

#[test]
fn a_restored_node_that_knows_of_the_restore_does_not_sign_the_old_tree() {
    let mut pair = Pair::new();
    pair.send(true, "one", Routine);
    pair.run(30);
    pair.unplug();
    pair.run(1);
    let all = pair.a.journal.len();
    pair.a.restart(all, Some(Doubt::Sentinel));
    let id = pair.send(true, "two", Routine);
    pair.plug();
    pair.run(600);
    assert_eq!(pair.b.inbox().last(), Some(&id));
    let reason = pair.b.core.fold().peers[&pair.a.name].theirs.volume().expect("a volume").1.reason;
    assert_eq!(reason, VolumeReason::Restored);
}

#[test]
fn a_holder_restored_from_an_older_copy_is_refilled() {
    let mut pair = Pair::new();
    pair.send(true, "one", Routine);
    pair.run(30);
    let copy = pair.b.journal.len();
    let sent: Vec<_> = (0..5).map(|n| pair.send(true, &format!("later {n}"), Routine)).collect();
    pair.run(30);
    pair.unplug();
    pair.run(1);
    pair.b.restart(copy, None);
    pair.b.shown.clear();
    pair.plug();
    pair.run(600);
    assert_eq!(pair.b.inbox(), sent);
}

#[test]
fn a_copy_that_spoke_fences_the_original() {
    let mut pair = Pair::new();
    pair.send(true, "one", Routine);
    pair.run(30);
    pair.unplug();
    pair.run(1);
    let all = pair.a.journal.len();
    let original = pair.a.journal.clone();
    pair.a.restart(all, Some(Doubt::Sentinel));
    pair.send(true, "by the copy", Routine);
    pair.plug();
    pair.run(600);
    pair.unplug();
    pair.run(1);
    pair.a.journal = original;
    pair.a.restart(all, None);
    pair.plug();
    pair.run(600);
    assert!(pair.a.notices.iter().any(|notice| matches!(notice, Notice::Fenced { .. })));
    let held = pair.b.core.fold().peers[&pair.a.name].theirs.volume().expect("a volume").1.size();
    pair.send(true, "while fenced", Routine);
    pair.run(60);
    assert_eq!(pair.b.core.fold().peers[&pair.a.name].theirs.volume().expect("a volume").1.size(), held);
    pair.command(true, Command::Recover { officer: 1 });
    pair.run(600);
    let id = pair.send(true, "after the recovery", Routine);
    pair.run(60);
    assert_eq!(pair.b.inbox().last(), Some(&id));
}

#[test]
fn an_item_that_expires_in_the_queue_is_told_and_not_sent() {
    let mut pair = Pair::new();
    pair.run(5);
    pair.unplug();
    let peer = pair.b.name;
    let id = verbale::name::EntryId([9; 16]);
    let mut item = pair::item(id, "short-lived", Routine);
    item.expires = Some(pair.now.after(std::time::Duration::from_secs(3)));
    let wait = verbale::exchange::Wait::Queued;
    pair.command(true, Command::Send { peer, item: Box::new(item), officer: 1, wait });
    pair.run(30);
    pair.plug();
    pair.run(600);
    assert!(pair.b.inbox().is_empty());
    assert!(pair.a.journal.iter().any(|r| matches!(&r.act, Act::Dropped { id: dropped, .. } if *dropped == id)));
}

/// Why each volume that a node opened was opened, in order.
fn reasons(node: &pair::Node) -> Vec<VolumeReason> {
    let opened = node.journal.iter().filter_map(|record| match &record.act {
        Act::VolumeOpened { body, .. } => VolumeBody::decode(body.clone()).ok(),
        _ => None,
    });
    opened.map(|body| body.reason).collect()
}

/// A accepts B anew, with the keys that B has now.
fn accepted_again(pair: &mut Pair) {
    let (name, keys) = (pair.b.name, pair.b.keys());
    pair.command(true, Command::ChangePeer { peer: name, change: Change::Removed, officer: 1 });
    pair.command(true, add(name, keys));
}

#[test]
fn a_state_with_new_keys_that_was_accepted_again_goes_on_in_new_volumes() {
    let mut pair = Pair::new();
    let first = [pair.send(true, "there", Routine), pair.send(false, "back", Routine)];
    pair.run(30);
    pair.unplug();
    let waiting = pair.send(false, "written before the keys were lost", Routine);
    pair.run(5);
    pair.b.rekey(9, pair.b.journal.len());
    pair.plug();
    accepted_again(&mut pair);
    let second = [pair.send(true, "there again", Routine), pair.send(false, "back again", Routine)];
    pair.run(600);
    assert_eq!(pair.b.inbox(), [first[0], second[0]]);
    assert_eq!(pair.a.inbox(), [first[1], waiting, second[1]]);
    assert_eq!(reasons(&pair.a), [VolumeReason::First, VolumeReason::PeerAddedAgain]);
    assert_eq!(reasons(&pair.b), [VolumeReason::First, VolumeReason::NewKeys]);
    assert!(!pair.a.notices.iter().chain(&pair.b.notices).any(|notice| matches!(notice, Notice::Fault { .. })));
}

#[test]
fn new_keys_that_nobody_has_accepted_are_not_taken() {
    let mut pair = Pair::new();
    pair.send(false, "back", Routine);
    pair.run(30);
    pair.unplug();
    pair.b.rekey(9, pair.b.journal.len());
    pair.plug();
    pair.send(false, "back again", Routine);
    pair.run(60);
    assert_eq!(pair.a.inbox().len(), 1);
    assert!(pair.a.notices.iter().any(|notice| matches!(notice, Notice::Fault { found_here: true, .. })));
    accepted_again(&mut pair);
    pair.run(4_000);
    assert_eq!(pair.a.inbox().len(), 2);
}

#[test]
fn a_state_that_lost_disk_and_keys_receives_at_once_and_sends_when_a_person_has_ordered_the_recovery() {
    let mut pair = Pair::new();
    let first = pair.send(true, "there", Routine);
    let said = pair.send(false, "back", Routine);
    pair.run(30);
    pair.unplug();
    pair.b.rekey(9, 0);
    let (name, keys) = (pair.a.name, pair.a.keys());
    pair.command(false, add(name, keys));
    pair.plug();
    accepted_again(&mut pair);
    let second = pair.send(true, "there again", Routine);
    let back = pair.send(false, "back again", Routine);
    pair.run(60);
    assert!(pair.b.notices.iter().any(|notice| matches!(notice, Notice::FormerKeys { .. })), "{:?}", pair.b.notices);
    assert!(pair.b.inbox().contains(&second));
    assert_eq!(pair.a.inbox(), [said], "nothing is signed beside a history that this node does not know");
    pair.command(false, Command::Recover { officer: 1 });
    pair.run(600);
    assert_eq!(pair.a.inbox(), [said, back]);
    assert!(pair.b.inbox().contains(&first));
    assert_eq!(reasons(&pair.b), [VolumeReason::Restored]);
    let own = &pair.b.core.fold().peers[&name].own;
    assert_eq!(own.volumes.len(), 2, "the earlier volume was got back");
}

/// What a third person sees who holds neither copy.
fn judged_from_outside(pair: &Pair, proof: &Contradiction) -> Option<Exclusion> {
    let head = |text: &[u8]| {
        let note = Checkpoint::parse(text).expect("a note");
        judge_log_lines(&note, &[pair.a.keys()], &Crypto).expect("A has signed it");
        note.head().clone()
    };
    Exclusion::of(&head(&proof.ours), &head(&proof.theirs), &proof.hashes)
}

/// What the audit remarks; two histories are never a fault of the journal.
fn audited(journal: &[Record]) -> Vec<String> {
    let report = verify_records(journal.iter().map(Record::encode), VerifyOptions::default());
    assert_eq!(report.faults, []);
    report.remarks
}

/// The proof that B keeps, and has shown.
fn kept_by_b(pair: &Pair) -> Contradiction {
    let frozen = pair.b.core.fold().peers[&pair.a.name].theirs.frozen.clone().expect("B has frozen A's log");
    assert!(pair.b.notices.iter().any(|notice| matches!(notice, Notice::Frozen { own_log: false, .. })));
    assert!(pair.b.journal.iter().any(|r| matches!(&r.act, Act::Frozen { proof, .. } if *proof == frozen.proof)));
    frozen.proof
}

/// Both sides learn of it, nothing passes in that direction, the other goes on, and people end it.
fn people_end_it(pair: &mut Pair) {
    pair.plug();
    pair.run(60);
    let waiting = pair.send(true, "waits for people", Routine);
    let answer = pair.send(false, "the other direction goes on", Routine);
    pair.run(60);
    assert!(!pair.b.inbox().contains(&waiting));
    assert_eq!(pair.a.inbox().last(), Some(&answer));
    let own = pair.a.core.fold().peers[&pair.b.name].own.frozen.clone().expect("A was shown it and froze its log");
    assert!(judged_from_outside(pair, &own.proof).is_some());
    let (a, b) = (pair.a.name, pair.b.name);
    pair.command(true, Command::Reopen { peer: b, officer: 1 });
    pair.command(false, Command::Reopen { peer: a, officer: 1 });
    pair.run(600);
    assert_eq!(pair.b.inbox().last(), Some(&waiting));
    let volume = pair.b.core.fold().peers[&a].theirs.volume().expect("a volume").1.reason;
    assert_eq!(volume, VolumeReason::Contradiction);
    assert!(pair.a.core.fold().peers[&b].own.frozen.is_none() && pair.b.core.fold().peers[&a].theirs.frozen.is_none());
}

#[test]
fn a_holder_that_is_shown_a_smaller_head_that_its_copy_does_not_continue_keeps_both_with_the_hashes() {
    let mut pair = Pair::new();
    (0..5).for_each(|n| _ = pair.send(true, &format!("{n}"), Routine));
    pair.run(30);
    let (_, held) = pair.own_log();
    pair.unplug();
    pair.run(1);
    pair.show_forged(3, Hash([7; 32]));
    let expected = Exclusion::TwoSizes { smaller: 3, larger: held };
    let proof = kept_by_b(&pair);
    assert_eq!(judged_from_outside(&pair, &proof), Some(expected));
    let said = format!("a head of size 3 and one of size {held} that does not continue it; both are kept");
    assert!(audited(&pair.b.journal).iter().any(|remark| remark.contains(&said)));
    // A record from before the hashes were kept reads, and says less.
    let mut older = pair.b.journal.clone();
    for record in &mut older {
        if let Act::Frozen { proof, .. } = &mut record.act {
            proof.hashes.clear();
        }
    }
    assert!(audited(&older).iter().any(|remark| remark.contains("does not prove them by itself")));
    people_end_it(&mut pair);
    assert!(pair.b.contradictions.contains(&proof), "A is shown what B keeps");
}

#[test]
fn a_holder_remembers_a_larger_head_until_what_is_pushed_grows_past_it() {
    let mut pair = Pair::new();
    pair.send(true, "before", Routine);
    pair.run(30);
    let (_, held) = pair.own_log();
    pair.unplug();
    pair.run(1);
    pair.show_forged(held + 1, Hash([7; 32]));
    assert!(pair.b.core.fold().peers[&pair.a.name].theirs.frozen.is_none());
    (0..3).for_each(|n| _ = pair.send(true, &format!("{n}"), Routine));
    pair.run(1);
    pair.plug();
    pair.run(60);
    let expected = Exclusion::TwoSizes { smaller: held + 1, larger: held + 3 };
    assert_eq!(judged_from_outside(&pair, &kept_by_b(&pair)), Some(expected));
    pair.unplug();
    people_end_it(&mut pair);
}

#[test]
fn a_head_that_the_copy_continues_freezes_nothing() {
    let mut pair = Pair::new();
    (0..5).for_each(|n| _ = pair.send(true, &format!("{n}"), Routine));
    pair.run(30);
    pair.unplug();
    pair.run(1);
    let (_, held) = pair.own_log();
    let root = pair.root_of_own(held - 2);
    pair.show_forged(held - 2, root);
    assert!(pair.b.core.fold().peers[&pair.a.name].theirs.frozen.is_none());
    pair.plug();
    let id = pair.send(true, "after", Routine);
    pair.run(60);
    assert_eq!(pair.b.inbox().last(), Some(&id));
}

#[test]
fn for_a_size_a_line_once_stored_is_sent_again_and_never_made_anew() {
    let mut pair = Pair::new();
    pair.b.settings.window = 300;
    let empty = pair.b.journal.len();
    pair.b.restart(empty, None);
    pair.run(1);
    let empty = pair.b.journal.len();
    (0..8).for_each(|n| _ = pair.send(true, &format!("message {n}"), Routine));
    pair.run(60);
    assert_eq!(pair.b.inbox().len(), 8);
    // The holder loses its copy, and is filled again in small pieces, twice.
    for _ in 0..2 {
        pair.unplug();
        pair.run(1);
        pair.b.restart(empty, None);
        pair.b.shown.clear();
        pair.plug();
        pair.run(600);
        assert_eq!(pair.b.inbox().len(), 8);
    }
    let mut stored: BTreeMap<(u64, [u8; 4]), String> = BTreeMap::new();
    let mut again = 0;
    for record in &pair.a.journal {
        let Act::Signed { place, lines, .. } = &record.act else { continue };
        for line in lines {
            let key = line.parse::<Line>().expect("a line").key_id();
            let first = stored.entry((place.index, key)).or_insert_with(|| line.clone());
            assert_eq!(first, line, "size {}", place.index);
            again += 1;
        }
    }
    assert!(again > stored.len(), "lines were sent again");
}

#[test]
fn a_second_instance_is_told_of_the_first_before_it_hears_a_hello_and_the_first_goes_on() {
    let mut pair = Pair::new();
    pair.send(true, "before", Routine);
    pair.run(30);
    let greeted = pair.a.greeted.len();
    let conn = pair.second_instance_dials();
    pair.run(5);
    assert!(pair.b.notices.iter().any(|notice| matches!(notice, Notice::SecondInstance { .. })));
    assert!(!pair.b.greeted.contains(&conn), "it has nothing to compare, so it signs nothing");
    assert!(pair.a.greeted.len() > greeted, "the first compares anew");
    let id = pair.send(true, "after", Routine);
    pair.run(30);
    assert_eq!(pair.b.inbox().last(), Some(&id));
}
