//! The exchange as sentences: two cores, without disk and network.

mod pair;

use std::time::Duration;

use pair::Pair;
use verbale::exchange::{Act, Answer, Command, ConnId, Dialler, Doubt, Drop, Input, Notice};
use verbale::name::Precedence::{Flash, Immediate, Routine};
use verbale::wire::VolumeReason;

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

#[test]
fn while_the_other_side_owes_an_answer_nothing_is_appended_and_what_waits_can_be_cancelled() {
    let mut pair = Pair::new();
    let first = pair.send(true, "before", Routine);
    pair.run(30);
    let (peer, size) = (pair.b.name, |pair: &Pair| pair.a.core.report(pair.b.name).unwrap().own_size);
    let conn = pair.a.core.report(peer).unwrap().conn.unwrap();
    pair.feed(true, Input::Silent { conn, silent: true });
    let before = size(&pair);
    let cancelled = pair.send(true, "meanwhile", Routine);
    let kept = pair.send(true, "also meanwhile", Routine);
    pair.run(30);
    assert_eq!((size(&pair), pair.a.core.report(peer).unwrap().queued), (before, 2));
    pair.command(true, Command::Drop { peer, id: cancelled, why: Drop::Cancelled, officer: 1 });
    pair.feed(true, Input::Silent { conn, silent: false });
    pair.run(30);
    assert_eq!(pair.b.inbox(), [first, kept]);
}

#[test]
fn a_silence_ends_with_its_connection() {
    let mut pair = Pair::new();
    pair.run(5);
    let conn = pair.a.core.report(pair.b.name).unwrap().conn.unwrap();
    pair.feed(true, Input::Silent { conn, silent: true });
    let sent = pair.send(true, "over the next connection", Routine);
    pair.run(5);
    assert!(pair.b.inbox().is_empty());
    pair.unplug();
    pair.plug();
    pair.run(600);
    assert_eq!(pair.b.inbox(), [sent]);
}

#[test]
fn a_connection_that_takes_the_place_of_another_is_not_told_as_a_loss() {
    let mut pair = Pair::new();
    pair.run(60);
    for node in [&pair.a, &pair.b] {
        assert!(node.notices.iter().any(|notice| matches!(notice, Notice::Up { .. })));
        assert!(!node.notices.iter().any(|notice| matches!(notice, Notice::Down { .. })), "{:?}", node.notices);
    }
}

#[test]
fn a_connection_that_came_to_no_hello_is_dialled_again_after_ever_longer_pauses() {
    let mut pair = Pair::new();
    pair.run(5);
    pair.unplug();
    pair.run(0);
    let peer = pair.b.name;
    let mut pauses = Vec::new();
    for number in 0..4 {
        let conn = ConnId(1_000 + number);
        pair.feed(true, Input::Connected { conn, peer, dialler: Dialler::Us, restricted: false });
        pair.feed(true, Input::Closed { conn });
        pair.run(0);
        pauses.push(pair.a.core.report(peer).unwrap().next_dial.unwrap().since(pair.now));
    }
    for (at, pause) in pauses.iter().enumerate() {
        assert!(*pause >= Duration::from_secs(1 << at), "{pauses:?}");
    }
}
