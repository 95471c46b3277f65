//! What a holder's words can make this node do again and again.

use bytes::Bytes;
use verbale::exchange::{Input, Settings};
use verbale::name::Kind;
use verbale::name::Precedence::{Flash, Immediate, Routine};
use verbale::note::Checkpoint;
use verbale::wire::{Contradiction, FaultCode, NotNowReason};

use crate::rig::{Rig, Said};

/// The pushes of XA since the last look: kinds of entries and the note.
fn pushes(rig: &mut Rig) -> Vec<(Vec<u32>, Bytes)> {
    let push = |said| match said {
        Said::Push(entries, note) => Some((entries.into_iter().map(|(kind, _)| kind).collect(), note)),
        _ => None,
    };
    rig.heard().into_iter().filter_map(push).collect()
}

fn size(note: &Bytes) -> u64 {
    Checkpoint::<verbale::name::Origin>::parse(note).unwrap().head().size
}

fn not_now(rig: &mut Rig, reason: NotNowReason) {
    let conn = rig.conn();
    rig.feed(Input::NotNow { conn, reason, retry_after: std::time::Duration::from_secs(200) });
}

fn fault(rig: &mut Rig, code: FaultCode, note: &Bytes, index: u64) {
    let origin = Some(Checkpoint::parse(note).unwrap().head().origin);
    let conn = rig.conn();
    rig.feed(Input::Fault { conn, code, origin, index, proof: Contradiction::default() });
}

#[test]
fn while_a_peers_quota_is_used_up_the_urgent_goes_and_the_rest_waits() {
    let mut rig = Rig::new(Settings::default());
    rig.send(Routine, 10);
    let note = pushes(&mut rig).pop().unwrap().1;
    rig.receipt(&note);
    rig.heard();
    rig.send(Routine, 10);
    assert_eq!(pushes(&mut rig).len(), 1);
    not_now(&mut rig, NotNowReason::Quota);
    rig.send(Routine, 10);
    rig.send(Routine, 10);
    assert!(pushes(&mut rig).is_empty(), "routine waits");
    rig.send(Immediate, 10);
    let sent = pushes(&mut rig);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0.len(), 2, "with what stands before it in the log, and nothing that stood behind");
    // The reserve is used up as well: nothing is tried again and again.
    not_now(&mut rig, NotNowReason::Quota);
    rig.later(100);
    assert!(pushes(&mut rig).is_empty());
    rig.send(Flash, 10);
    let sent = pushes(&mut rig);
    assert_eq!(sent[0].0.len(), 3);
    rig.receipt(&sent[0].1);
    assert!(pushes(&mut rig).is_empty(), "routine waits still");
    rig.later(201);
    assert_eq!(pushes(&mut rig)[0].0.len(), 2, "until the pause is over");
}

#[test]
fn what_is_urgent_passes_a_window_that_a_quota_has_filled() {
    let mut rig = Rig::new(Settings::default());
    for _ in 0..40 {
        rig.send(Routine, 1_000);
    }
    let note = pushes(&mut rig).pop().unwrap().1;
    assert!(size(&note) < 40, "more waits than the window lets through");
    not_now(&mut rig, NotNowReason::Quota);
    rig.send(Flash, 1_000);
    assert_eq!(size(&pushes(&mut rig)[0].1), size(&note) + 1);
    // Any other "not now" holds for everything.
    not_now(&mut rig, NotNowReason::Disk);
    rig.send(Flash, 1_000);
    assert!(pushes(&mut rig).is_empty());
}

#[test]
fn a_fault_withdraws_only_what_has_no_receipt() {
    let mut rig = Rig::new(Settings::default());
    rig.send(Routine, 10);
    let note = pushes(&mut rig).pop().unwrap().1;
    rig.receipt(&note);
    rig.send(Routine, 10);
    pushes(&mut rig);
    let voids = |rig: &Rig| {
        let own = &rig.peer().own;
        let open = own.unreceipted.iter().filter_map(|(_, item)| item.as_ref());
        let void = |item: &&verbale::exchange::Item| item.header.kind == Kind::Void.number();
        own.queue.values().chain(open).filter(void).filter_map(|item| item.header.target).collect::<Vec<_>>()
    };
    for index in [1, 3, u64::MAX] {
        fault(&mut rig, FaultCode::CommitmentMismatch, &note, index);
        assert!(voids(&rig).is_empty(), "entry {index} is receipted, or not there");
    }
    fault(&mut rig, FaultCode::CommitmentMismatch, &note, 2);
    assert_eq!(voids(&rig).iter().map(|target| target.index).collect::<Vec<_>>(), [2]);
}

#[test]
fn an_old_receipt_said_again_is_no_progress_and_old_states_are_not_looked_up_for_ever() {
    let mut rig = Rig::new(Settings::default());
    rig.send(Routine, 10);
    let first = pushes(&mut rig).pop().unwrap().1;
    rig.receipt(&first);
    for _ in 0..5 {
        rig.send(Routine, 10);
        let note = pushes(&mut rig).pop().unwrap().1;
        rig.receipt(&note);
    }
    rig.send(Routine, 10);
    let newest = {
        let own = rig.peer().own.volume().unwrap().1.heads.front().unwrap().clone();
        own.size
    };
    rig.heard();
    let conn = rig.conn();
    let old = rig.shown(&first);
    let (mut pushed, mut read) = (0, 0);
    for _ in 0..100 {
        rig.feed(Input::Shows { conn, state: old.clone() });
        let again = own_note(&rig, newest);
        rig.receipt(&again);
        for said in rig.heard() {
            pushed += u32::from(matches!(said, Said::Push(..)));
            read += u32::from(matches!(said, Said::Range(_) | Said::Load(_)));
        }
    }
    // Eight setbacks, for each of which the tree at that size, and the entries from there on, were looked up.
    assert!(pushed <= 8 && read <= 3 * 8, "pushed {pushed} times, read the journal {read} times");
    rig.later(61);
    assert!(!rig.heard().is_empty(), "after a pause it is tried again");
}

#[test]
fn faults_make_this_node_leave_a_few_volumes_a_day_and_then_one_an_hour() {
    let mut rig = Rig::new(Settings::default());
    let opened = |rig: &Rig| {
        rig.journal.iter().filter(|record| matches!(record.act, verbale::exchange::Act::VolumeOpened { .. })).count()
    };
    let round = |rig: &mut Rig| {
        rig.send(Routine, 10);
        let Some((_, note)) = pushes(rig).pop() else { return };
        fault(rig, FaultCode::Size, &note, 1);
        if let Some((_, note)) = pushes(rig).pop() {
            rig.receipt(&note);
        }
        rig.heard();
    };
    (0..16).for_each(|_| round(&mut rig));
    assert_eq!(opened(&rig), 17, "the first one, and sixteen more");
    (0..20).for_each(|_| round(&mut rig));
    assert_eq!(opened(&rig), 17, "the next one waits");
    rig.later(3_601);
    assert_eq!(opened(&rig), 18);
    // A person may have spoken with the peer.
    let (_, note) = pushes(&mut rig).pop().unwrap();
    fault(&mut rig, FaultCode::Size, &note, 1);
    assert_eq!(opened(&rig), 18);
    rig.feed(Input::Command(verbale::exchange::Command::Retry { peer: crate::rig::xb() }, None));
    assert_eq!(opened(&rig), 19);
}

/// The stored head of a size, as XB would have it.
fn own_note(rig: &Rig, size: u64) -> Bytes {
    let (volume, own) = rig.peer().own.volume().unwrap();
    let head = own.head_at(size).unwrap();
    let origin = verbale::name::Origin { from: crate::rig::xa(), to: crate::rig::xb(), volume };
    let text = verbale::note::Head { origin, size, root: head.root }.text();
    [text, "\n".into(), head.lines.join("\n"), "\n".into()].concat().into()
}
