//! Much that waits, bodies that are lost, and what a peer only says: two cores, without disk and network.

use verbale::exchange::{Act, Command, ConnectionState, Doubt, Input, Notice, Stowed};
use verbale::name::{EntryId, Kind, Precedence::Routine};
use verbale::wire::{Absent, Contradiction, FaultCode};

use super::pair::{Node, Pair};

const DAY: u64 = 24 * 3_600;

fn volumes_of(node: &Node) -> usize {
    node.journal.iter().filter(|record| matches!(record.act, Act::VolumeOpened { .. })).count()
}

fn voids_of(node: &Node) -> usize {
    let headers = node.journal.iter().filter_map(|record| match &record.act {
        Act::Appended { leaf, .. } => leaf.header().ok(),
        _ => None,
    });
    headers.filter(|header| header.known_kind() == Some(Kind::Void)).count()
}

/// Sends enough for the author to have measured a fast link.
fn warm(pair: &mut Pair) {
    for n in 0..100 {
        pair.send(true, &format!("warm {n}"), Routine);
    }
    pair.run(5);
}

#[test]
fn a_new_volume_over_a_long_queue_goes_in_pieces_that_the_holder_takes() {
    let mut pair = Pair::new();
    warm(&mut pair);
    pair.unplug();
    pair.run(1);
    let sent: Vec<EntryId> = (0..1_500).map(|n| pair.send(true, &format!("m {n}"), Routine)).collect();
    pair.command(true, Command::Recover { officer: 1 });
    pair.run(1);
    pair.plug();
    pair.run(600);
    assert_eq!(pair.b.inbox()[100..], sent);
    assert_eq!(volumes_of(&pair.a), 2);
}

#[test]
fn batches_that_were_cut_off_together_go_again_in_pieces() {
    let mut pair = Pair::new();
    warm(&mut pair);
    pair.b.core.handle(pair.now, &mut pair.b.env, Input::DiskFull);
    let sent: Vec<EntryId> = (0..5_000).map(|n| pair.send(true, &format!("m {n}"), Routine)).collect();
    pair.run(1);
    pair.b.core.handle(pair.now, &mut pair.b.env, Input::DiskOk);
    pair.unplug();
    pair.run(1);
    pair.plug();
    pair.run(3_600);
    assert_eq!(pair.b.inbox()[100..], sent);
    assert_eq!(volumes_of(&pair.a), 1);
    let faults = pair.b.notices.iter().filter(|notice| matches!(notice, Notice::Fault { .. }));
    assert_eq!(faults.count(), 0);
}

/// A log of two volumes; the body of "two", in the first one, is lost at the author, and the holder is put back to a
/// copy from before it.
fn pair_that_lost_a_body() -> (Pair, Vec<EntryId>) {
    let mut pair = Pair::new();
    pair.send(true, "one", Routine);
    pair.run(30);
    let copy = pair.b.journal.len();
    let lost = pair.send(true, "two", Routine);
    let three = pair.send(true, "three", Routine);
    pair.run(30);
    pair.unplug();
    pair.run(1);
    let all = pair.a.journal.len();
    pair.a.restart(all, Some(Doubt::Sentinel));
    pair.plug();
    let four = pair.send(true, "four", Routine);
    pair.run(300);
    assert_eq!(volumes_of(&pair.a), 2);
    pair.unplug();
    pair.run(1);
    for record in &mut pair.a.journal {
        if let Act::Queued { header, payload, .. } = &mut record.act
            && header.id == lost
        {
            *payload = Stowed::Absent(Absent::Unavailable);
        }
    }
    pair.b.restart(copy, None);
    pair.b.shown.clear();
    (pair, vec![three, four])
}

#[test]
fn a_holder_that_was_put_back_gets_its_receipts_without_a_new_message_though_a_body_is_lost() {
    let (mut pair, rest) = pair_that_lost_a_body();
    pair.plug();
    pair.run(600);
    for id in rest {
        assert!(pair.b.inbox().contains(&id), "{id} is not shown");
    }
    assert_eq!(volumes_of(&pair.a), 3);
}

#[test]
fn what_is_lost_is_listed_though_the_author_starts_again_before_it_could_say_so() {
    let (mut pair, rest) = pair_that_lost_a_body();
    pair.plug();
    // The author dies as soon as it has told the journal what is lost.
    let told = |node: &Node| node.journal.iter().any(|record| matches!(record.act, Act::BodiesLost { .. }));
    for _ in 0..10_000 {
        if told(&pair.a) {
            break;
        }
        pair.step();
    }
    assert!(told(&pair.a));
    pair.unplug();
    let all = pair.a.journal.len();
    pair.a.restart(all, None);
    pair.plug();
    pair.run(600);
    let five = pair.send(true, "five", Routine);
    pair.run(600);
    for id in rest.into_iter().chain([five]) {
        assert!(pair.b.inbox().contains(&id), "{id} is not shown");
    }
}

#[test]
fn a_fault_about_a_body_withdraws_nothing_that_can_be_read() {
    let mut pair = Pair::new();
    pair.send(true, "one", Routine);
    pair.run(30);
    let report = pair.a.core.report(pair.b.name).unwrap();
    let (conn, origin, size) = (report.conn.unwrap(), report.own_origin, report.own_size);
    let code = FaultCode::CommitmentMismatch;
    // An entry that is receipted, one that is not there yet, and one on its way.
    for index in [1, size + 2] {
        let fault = Input::Fault { conn, code, origin, index, proof: Contradiction::default() };
        pair.a.core.handle(pair.now, &mut pair.a.env, fault);
        pair.run(30);
    }
    let two = pair.send(true, "two", Routine);
    for _ in 0..10_000 {
        if pair.a.core.report(pair.b.name).unwrap().unreceipted > 0 {
            break;
        }
        pair.step();
    }
    let fault = Input::Fault { conn, code, origin, index: size, proof: Contradiction::default() };
    pair.a.core.handle(pair.now, &mut pair.a.env, fault);
    pair.run(30);
    let three = pair.send(true, "three", Routine);
    pair.run(DAY);
    assert_eq!(pair.b.inbox()[1..], [two, three]);
    assert_eq!(voids_of(&pair.a), 0);
}

#[test]
fn messages_wait_in_the_queue_where_only_the_other_side_holds_the_certificate_for_expired() {
    let mut pair = Pair::new();
    pair.run(5);
    pair.unplug();
    pair.run(1);
    pair.restricted_at_b = true;
    pair.plug();
    pair.run(5);
    let id = pair.send(true, "waits", Routine);
    pair.run(300);
    let report = pair.a.core.report(pair.b.name).unwrap();
    assert_eq!((report.connection, report.queued, report.unreceipted), (ConnectionState::Restricted, 1, 0));
    let told = |notice: &&Notice| matches!(notice, Notice::NotNow { .. });
    assert_eq!(pair.a.notices.iter().filter(told).count(), 1);
    pair.unplug();
    pair.restricted_at_b = false;
    pair.plug();
    pair.run(300);
    assert_eq!(pair.b.inbox(), [id]);
}
