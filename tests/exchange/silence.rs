//! A peer that owes an answer, and connections that come and go: two cores, without disk and network.

use std::time::Duration;

use verbale::exchange::{Command, ConnId, Dialler, Drop, Input, Notice};
use verbale::name::Precedence::Routine;

use super::pair::Pair;

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
