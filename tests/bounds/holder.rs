//! What a peer's log can make grow here.

use bytes::Bytes;
use verbale::exchange::{
    ANSWERS_WAITING, Act, HELD_VOLUMES, Input, MISSING_SPANS, Settings, WANTED_FILES, WANTED_FILES_URGENT,
};
use verbale::name::Precedence::{Flash, Routine};
use verbale::name::{EntryId, Kind, Origin, Precedence, RefusalCode, Volume};
use verbale::wire::{
    Absent, EntryFrame, FaultCode, Header, LogState, MAX_ENCLOSURES, MAX_PUSH_ENTRIES, NotNowReason, Payload, Span,
    Target,
};

use crate::rig::{Rig, Said, text, xa, xb};

fn with_files(rig: &mut Rig, precedence: Precedence, files: u32) -> (EntryId, Vec<Said>) {
    let header = Header { precedence, ..rig.header(Kind::Notification) };
    let entry = rig.write(&header.encode(), text(1, &vec![3; files as usize]));
    (header.id, rig.push(vec![entry]))
}

#[test]
fn files_to_come_are_bounded_and_those_beyond_are_refused_at_once() {
    let mut rig = Rig::new(Settings::default());
    let most = MAX_ENCLOSURES as u32;
    while rig.peer().theirs.wanted_files < WANTED_FILES - most {
        with_files(&mut rig, Routine, most);
    }
    with_files(&mut rig, Routine, most - 1);
    assert_eq!(rig.peer().theirs.wanted_files, WANTED_FILES - 1, "one under");
    let (last, _) = with_files(&mut rig, Routine, 1);
    assert_eq!((rig.peer().theirs.wanted_files, rig.refused()), (WANTED_FILES, vec![]), "at the limit");
    let size = rig.log.size();
    let (_, said) = with_files(&mut rig, Routine, 2);
    assert_eq!(said, [Said::Cosigned(size + 1)], "the text arrives");
    assert_eq!(rig.refused(), [RefusalCode::FileQuota.number()], "one over");
    assert_eq!(rig.peer().theirs.wanted_files, WANTED_FILES);
    // What is urgent has room of its own, and that is bounded too.
    for _ in 0..WANTED_FILES_URGENT / most {
        with_files(&mut rig, Flash, most);
    }
    assert_eq!(rig.peer().theirs.wanted_files, WANTED_FILES + WANTED_FILES_URGENT);
    assert_eq!(rig.refused().len(), 1);
    with_files(&mut rig, Flash, 1);
    assert_eq!(rig.refused().len(), 2);
    assert_eq!(rig.core.fold().wanted().count() as u32, WANTED_FILES + WANTED_FILES_URGENT);
    rig.survives_a_restart();
    // One that has come makes room for one more, once what is urgent beyond the bound has come as well.
    let urgent: Vec<_> = rig.core.fold().wanted().filter(|(_, id, _)| *id > last).collect();
    for (peer, entry, ordinal) in urgent {
        rig.feed(Input::EnclosureHeld { peer, entry, ordinal, slot: 1 });
    }
    rig.feed(Input::EnclosureHeld { peer: xb(), entry: last, ordinal: 0, slot: 1 });
    assert_eq!(rig.peer().theirs.wanted_files, WANTED_FILES - 1);
    with_files(&mut rig, Routine, 1);
    assert_eq!((rig.peer().theirs.wanted_files, rig.refused().len()), (WANTED_FILES, 2));
}

/// XB says that it is in a later volume, so that what it pushes is a refill.
fn refilling(rig: &mut Rig) {
    let origin = Origin { from: xb(), to: xa(), volume: Volume { number: 9, random: [9; 8] } };
    let note = rig.note_of(origin, 1, rig.log.root());
    rig.connect(LogState { origin: Some(origin), size: 1, note }, LogState::default());
}

/// So many entries; without their bodies where `absent` says so.
fn entries(rig: &mut Rig, count: usize, absent: impl Fn(u64) -> bool) -> Vec<EntryFrame> {
    let entry = |rig: &mut Rig| {
        let header = rig.header(Kind::Notification);
        let entry = rig.write(&header.encode(), text(1, &[]));
        match absent(entry.index) {
            true => EntryFrame { payload: Payload::Absent(Absent::Unavailable), ..entry },
            false => entry,
        }
    };
    (0..count).map(|_| entry(rig)).collect()
}

#[test]
fn missing_bodies_are_bounded_by_what_one_volume_can_account_for() {
    let mut rig = Rig::new(Settings::default());
    refilling(&mut rig);
    for round in 1..=2 {
        let batch = entries(&mut rig, MAX_PUSH_ENTRIES, |index| index % 2 == 1);
        assert_eq!(rig.push(batch), [Said::Shows(1 + round * 1_024)], "no receipt over missing bodies");
    }
    assert_eq!(rig.peer().theirs.missing.spans(), MISSING_SPANS, "at the limit");
    let size = rig.log.size();
    let batch = entries(&mut rig, 1, |_| false);
    assert_eq!(rig.push(batch), [Said::Shows(size + 1)], "what is whole is taken all the same");
    let batch = entries(&mut rig, 1, |_| true);
    assert_eq!(rig.push(batch), [Said::Fault(FaultCode::Gap, size + 1)], "one over");
    rig.forget(size + 1);
    rig.survives_a_restart();
    // The author does what the protocol says: the next volume lists them all.
    let span = |number: u64| Span { volume: 1, from: 2 * number + 1, to: 2 * number + 2 };
    assert_eq!(rig.open_volume((0..MISSING_SPANS as u64).map(span).collect()), [Said::Cosigned(1)]);
    assert!(rig.peer().theirs.missing.is_empty());
}

#[test]
fn withdrawing_one_of_many_that_are_missing_makes_no_more_spans_than_are_kept() {
    // Each in a world of its own: whoever signs two heads of one size has two histories.
    for (index, said) in [(2_048, Said::Fault(FaultCode::Gap, 2_050)), (2_047, Said::Shows(2_051))] {
        let mut rig = Rig::new(Settings::default());
        refilling(&mut rig);
        for _ in 0..2 {
            let batch = entries(&mut rig, MAX_PUSH_ENTRIES, |index| index % 2 == 1 || index == 2_048);
            rig.push(batch);
        }
        let batch = entries(&mut rig, 1, |_| true);
        assert_eq!(rig.push(batch), [Said::Shows(2_050)], "the last span grows");
        assert_eq!(rig.peer().theirs.missing.spans(), MISSING_SPANS);
        let target = Some(Target { volume: 1, index });
        let header = Header { target, ..rig.header(Kind::Void) };
        let void = rig.write(&header.encode(), Bytes::new());
        assert_eq!(rig.push(vec![void]), [said], "{index}");
        assert_eq!(rig.peer().theirs.missing.spans(), MISSING_SPANS);
    }
}

#[test]
fn neighbours_that_are_missing_cost_one_span_however_many_they_are() {
    let mut rig = Rig::new(Settings::default());
    refilling(&mut rig);
    for round in 1..=3 {
        let batch = entries(&mut rig, MAX_PUSH_ENTRIES, |_| true);
        assert_eq!(rig.push(batch), [Said::Shows(1 + round * 1_024)]);
    }
    assert_eq!(rig.peer().theirs.missing.spans(), 1);
    assert_eq!(rig.open_volume(vec![Span { volume: 1, from: 1, to: 3_072 }]), [Said::Shows(1)], "one is left");
    assert_eq!(rig.open_volume(vec![Span { volume: 1, from: 3_072, to: 3_073 }]), [Said::Cosigned(1)]);
}

#[test]
fn a_body_that_is_missing_outside_of_a_refill_is_a_gap() {
    let mut rig = Rig::new(Settings::default());
    let batch = entries(&mut rig, 3, |index| index == 2);
    assert_eq!(rig.push(batch), [Said::Fault(FaultCode::Gap, 2)]);
}

#[test]
fn volumes_beyond_the_bound_leave_memory_and_the_log_goes_on() {
    let mut rig = Rig::new(Settings::default());
    while (rig.log.origin.volume.number as usize) < HELD_VOLUMES {
        assert_eq!(rig.open_volume(Vec::new()), [Said::Cosigned(1)]);
    }
    let first = |rig: &Rig| *rig.peer().theirs.volumes.first_key_value().unwrap().0;
    assert_eq!((rig.peer().theirs.volumes.len(), first(&rig).number), (HELD_VOLUMES, 1), "at the limit");
    assert_eq!(rig.open_volume(Vec::new()), [Said::Cosigned(1)]);
    assert_eq!((rig.peer().theirs.volumes.len(), first(&rig).number), (HELD_VOLUMES, 2), "one over");
    let entry = rig.message(Routine, 5);
    assert_eq!(rig.push(vec![entry]), [Said::Cosigned(2)]);
    rig.survives_a_restart();
}

#[test]
fn a_head_of_which_all_is_here_is_answered_and_not_recorded_again() {
    let mut rig = Rig::new(Settings::default());
    let entry = rig.message(Routine, 10);
    rig.push(vec![entry]);
    let records = rig.journal.len();
    for _ in 0..100 {
        assert_eq!(rig.push(Vec::new()), [Said::Cosigned(2)]);
    }
    rig.later(60);
    assert_eq!(rig.journal.len(), records);
    // A line that is new is recorded, once.
    let line = "— example.org/other AAAAAAAAAAAAAAAA";
    let note = [&rig.note()[..], line.as_bytes(), b"\n"].concat();
    for _ in 0..2 {
        let conn = rig.conn();
        let pushed = verbale::exchange::Pushed { entries: Vec::new(), note: note.clone().into() };
        rig.feed(Input::Pushed { conn, pushed });
    }
    let heads = rig.journal[records..].iter().filter(|record| matches!(record.act, Act::Cosigned { .. }));
    assert_eq!(heads.count(), 1);
}

#[test]
fn answers_that_a_peer_never_takes_are_bounded_and_so_is_what_calls_for_them() {
    let mut rig = Rig::new(Settings::default());
    // Headers that nobody can read: each entry is stored, receipted and refused.
    let unreadable = |rig: &mut Rig, count| (0..count).map(|_| rig.write(&[0xff], Bytes::new())).collect::<Vec<_>>();
    for _ in 0..ANSWERS_WAITING / MAX_PUSH_ENTRIES - 1 {
        let batch = unreadable(&mut rig, MAX_PUSH_ENTRIES);
        assert!(matches!(rig.push(batch)[..], [Said::Cosigned(_)]));
    }
    // XA's own VOLUME entry waits as well.
    let open = rig.refused().len() + 1;
    let batch = unreadable(&mut rig, ANSWERS_WAITING - 1 - open);
    assert!(matches!(rig.push(batch)[..], [Said::Cosigned(_)]));
    assert_eq!(rig.refused().len() + 1, ANSWERS_WAITING - 1, "one under");
    let batch = unreadable(&mut rig, 1);
    assert!(matches!(rig.push(batch)[..], [Said::Cosigned(_)]));
    assert_eq!(rig.refused().len() + 1, ANSWERS_WAITING, "at the limit");
    let size = rig.log.size();
    let entry = rig.message(Flash, 5);
    assert_eq!(rig.push(vec![entry]), [Said::NotNow(NotNowReason::Quota, 240)]);
    rig.forget(size);
    // What calls for no answer passes, or two such nodes could wait for each other for ever.
    let header = rig.header(Kind::Held);
    let held = rig.write(&header.encode(), Bytes::new());
    assert_eq!(rig.push(vec![held]), [Said::Cosigned(size + 1)]);
    // The peer takes what waits.
    let size = rig.log.size();
    let entry = rig.message(Routine, 5);
    let note = {
        let own = rig.peer().own.volume().map(|(volume, own)| (volume, own.heads.back().unwrap().clone())).unwrap();
        let (volume, head) = own;
        let text =
            verbale::note::Head { origin: Origin { from: xa(), to: xb(), volume }, size: head.size, root: head.root };
        Bytes::from([text.text(), "\n".into(), head.lines.join("\n"), "\n".into()].concat())
    };
    rig.receipt(&note);
    assert_eq!(rig.push(vec![entry]), [Said::Cosigned(size + 1)]);
    rig.survives_a_restart();
}
