//! Why an entry is not accepted: each code that a node can find by itself.

use bytes::Bytes;
use verbale::exchange::{Act, Settings};
use verbale::name::{CaseId, Desk, EntryId, Kind, RefusalCode};
use verbale::wire::{Header, refused_ordinals};

use crate::rig::{Rig, Said, text};

/// No refusal.
const NONE: [u32; 0] = [];

/// Pushes an entry with this header and says with which codes it was refused.
fn judged(rig: &mut Rig, header: &[u8], body: Bytes) -> Vec<u32> {
    let before = rig.refused().len();
    let entry = rig.write(header, body);
    let size = rig.log.size();
    assert_eq!(rig.push(vec![entry]), [Said::Cosigned(size)], "whatever it is, it is stored and receipted");
    rig.refused()[before..].to_vec()
}

#[test]
fn what_cannot_be_read_understood_or_served_is_refused_with_its_code() {
    let mut rig = Rig::new(Settings::default());
    let header = |rig: &mut Rig| rig.header(Kind::Notification).encode();
    // The last value of a protobuf field counts.
    let changed = |rig: &mut Rig, field: &[u8]| [&rig.header(Kind::Notification).encode()[..], field].concat();
    let body = || text(3, &[]);
    let good = header(&mut rig);
    assert_eq!(judged(&mut rig, &good, body()), NONE);
    let unknown_tlp = changed(&mut rig, &[7 << 3, 9]);
    let unknown_pap = changed(&mut rig, &[8 << 3, 9]);
    let real = changed(&mut rig, &[9 << 3, 0]);
    let unknown_desk = changed(&mut rig, &[11 << 3, 7]);
    let unknown_sender = changed(&mut rig, &[10 << 3, 7]);
    let unknown_kind = changed(&mut rig, &[2 << 3, 63]);
    let bad_body = header(&mut rig);
    for (what, header, body, code) in [
        ("a header that is none", vec![0xff; 3], body(), RefusalCode::Malformed),
        ("a body that is none", bad_body.to_vec(), Bytes::from_static(&[0xff]), RefusalCode::Malformed),
        ("an unknown kind", unknown_kind, body(), RefusalCode::Kind),
        ("an unknown TLP", unknown_tlp, body(), RefusalCode::Label),
        ("an unknown PAP", unknown_pap, body(), RefusalCode::Label),
        ("a real message to an exercise node", real, body(), RefusalCode::Exercise),
        ("an unknown desk", unknown_desk, body(), RefusalCode::Desk),
        ("an unknown desk that writes", unknown_sender, body(), RefusalCode::Desk),
        ("the id of another message", good.to_vec(), text(4, &[]), RefusalCode::DuplicateId),
    ] {
        assert_eq!(judged(&mut rig, &header, body), [code.number()], "{what}");
    }
    assert_eq!(judged(&mut rig, &good, body()), NONE, "the first bytes under an id stay the right ones");
    rig.survives_a_restart();
}

#[test]
fn machine_kinds_are_never_answered_and_pings_only_beyond_their_bound() {
    let mut rig = Rig::new(Settings { pings_per_day: 2, ..Settings::default() });
    let held = [&rig.header(Kind::Held).encode()[..], &[7 << 3, 9]].concat();
    assert_eq!(judged(&mut rig, &held, Bytes::new()), NONE);
    for expected in [vec![], vec![], vec![RefusalCode::Policy.number()]] {
        let ping = rig.header(Kind::Ping).encode();
        assert_eq!(judged(&mut rig, &ping, Bytes::new()), expected);
    }
}

#[test]
fn a_reply_under_another_case_than_what_it_answers_is_refused_whoever_wrote_that() {
    let mut rig = Rig::new(Settings::default());
    let (one, other) = (CaseId([1; 16]), CaseId([2; 16]));
    let theirs = Header { case: Some(one), ..rig.header(Kind::Notification) };
    assert_eq!(judged(&mut rig, &theirs.encode(), text(3, &[])), NONE);
    let without = rig.header(Kind::Notification);
    assert_eq!(judged(&mut rig, &without.encode(), text(3, &[])), NONE);
    let ours = own_message(&mut rig, one);
    let refused = vec![RefusalCode::Case.number()];
    for (what, answered, case, expected) in [
        ("the case of what it answers", theirs.id, Some(one), vec![]),
        ("another case", theirs.id, Some(other), refused.clone()),
        ("no case", theirs.id, None, vec![]),
        ("another case than ours", ours, Some(other), refused),
        ("the case of ours", ours, Some(one), vec![]),
        ("an answer to what had no case", without.id, Some(other), vec![]),
        ("an answer to what is not known here", EntryId([0x77; 16]), Some(other), vec![]),
    ] {
        let header = Header { case, in_reply_to: Some(answered), ..rig.header(Kind::Answer) };
        assert_eq!(judged(&mut rig, &header.encode(), text(3, &[])), expected, "{what}");
    }
    rig.survives_a_restart();
}

/// A message of XA in a case, appended to its log.
fn own_message(rig: &mut Rig, case: CaseId) -> EntryId {
    use verbale::exchange::{Command, Input, NewItem, Wait};
    let header = rig.header(Kind::Notification);
    let item = NewItem {
        id: EntryId([0x0a; 16]),
        kind: Kind::Notification,
        case: Some(case),
        in_reply_to: None,
        precedence: header.precedence,
        tlp: header.tlp,
        pap: header.pap,
        exercise: true,
        from_desk: Some(Desk::Technical),
        to_desk: Some(Desk::Technical),
        expires: None,
        target: None,
        code: 0,
        body: text(3, &[]),
        enclosures: 0,
    };
    let command = Command::Send { peer: crate::rig::xb(), item: Box::new(item), officer: 1, wait: Wait::Queued };
    rig.feed(Input::Command(command, None));
    EntryId([0x0a; 16])
}

#[test]
fn files_over_the_announced_limits_are_refused_by_their_ordinals_before_anything_is_fetched() {
    let settings = Settings { enclosure_max: 100, enclosures_total_max: 250, ..Settings::default() };
    let mut rig = Rig::new(settings);
    let ordinals = |rig: &Rig| {
        let queued = rig.journal.iter().rev().find_map(|record| match &record.act {
            Act::Queued { header, payload: verbale::exchange::Stowed::Clear { body, .. }, .. }
                if header.kind == Kind::Refused.number() =>
            {
                Some(refused_ordinals(body.clone()).unwrap())
            }
            _ => None,
        });
        queued.unwrap_or_default()
    };
    let header = rig.header(Kind::Notification).encode();
    assert_eq!(judged(&mut rig, &header, text(3, &[100, 99, 51])), NONE, "at both limits");
    assert_eq!(rig.core.fold().wanted().count(), 3);
    let header = rig.header(Kind::Notification).encode();
    assert_eq!(judged(&mut rig, &header, text(3, &[100, 100, 51])), [8], "one byte over in all");
    rig.later(1);
    assert_eq!(ordinals(&rig), [0, 1, 2]);
    let last = rig.header(Kind::Notification);
    assert_eq!(judged(&mut rig, &last.encode(), text(3, &[101, 100])), NONE, "the other one is still to come");
    assert_eq!(rig.core.fold().wanted().count(), 4);
    let (peer, entry, ordinal) = rig.core.fold().wanted().find(|(_, entry, _)| *entry == last.id).unwrap();
    assert_eq!(ordinal, 1);
    rig.feed(verbale::exchange::Input::EnclosureHeld { peer, entry, ordinal, slot: 1 });
    rig.later(1);
    assert_eq!((rig.refused().len(), ordinals(&rig)), (2, vec![0]), "told when the last one is settled");
    let header = rig.header(Kind::Notification).encode();
    assert_eq!(judged(&mut rig, &header, text(3, &[101])), [8], "one byte over alone");
    rig.survives_a_restart();
}
