//! Bytes a day, and a full disk.

use verbale::exchange::{ENTRY_COST, Input, QUOTA_RESERVE_PART, Settings};
use verbale::name::Precedence::{Flash, Routine};
use verbale::name::{Kind, RefusalCode};
use verbale::wire::{EntryFrame, FaultCode, NotNowReason};

use crate::rig::{NOON, Rig, Said, text, xb};

/// What a push is weighed as before it is taken.
fn cost(rig: &Rig, entries: &[EntryFrame]) -> u64 {
    let entry = |entry: &EntryFrame| (entry.leaf.bytes().len() + entry.leaf.body_len()) as u64 + ENTRY_COST;
    entries.iter().map(entry).sum::<u64>() + rig.note().len() as u64 + (4 << 10)
}

fn used(rig: &Rig) -> u64 {
    rig.peer().theirs.usage.on(rig.now)
}

fn allow(rig: &mut Rig, bytes: u64) {
    rig.settings.bytes_per_day = bytes;
    rig.feed(Input::Settings(rig.settings.clone()));
}

#[test]
fn what_fits_the_day_is_taken_and_one_byte_more_waits_until_midnight() {
    let mut rig = Rig::new(Settings::default());
    let entry = rig.message(Routine, 900);
    let exactly = used(&rig) + cost(&rig, std::slice::from_ref(&entry));
    allow(&mut rig, exactly - 1);
    for _ in 0..3 {
        assert_eq!(rig.push(vec![entry.clone()]), [Said::NotNow(NotNowReason::Quota, 240)]);
    }
    assert_eq!(rig.peer().theirs.volume().unwrap().1.size(), 1, "nothing of it was taken");
    assert_eq!(rig.core.report(xb()).unwrap().said_not_now, Some(NotNowReason::Quota));
    allow(&mut rig, exactly);
    assert_eq!(rig.push(vec![entry]), [Said::Cosigned(2)]);
    let next = rig.message(Routine, 900);
    assert_eq!(rig.push(vec![next.clone()]), [Said::NotNow(NotNowReason::Quota, 240)]);
    rig.later(12 * 3_600 - 100);
    assert_eq!(rig.push(vec![next.clone()]), [Said::NotNow(NotNowReason::Quota, 100)], "until midnight and no longer");
    rig.later(100);
    assert_eq!(rig.push(vec![next]), [Said::Cosigned(3)], "a day begins at nothing");
    rig.later(60);
    assert_eq!(rig.told, [NotNowReason::Quota; 2], "told on change");
    assert_eq!(rig.core.report(xb()).unwrap().said_not_now, None);
    rig.survives_a_restart();
}

#[test]
fn a_quota_of_its_own_counts_for_that_peer() {
    let mut rig = Rig::new(Settings::default());
    rig.settings.bytes_per_day_of.insert(xb(), 1);
    rig.feed(Input::Settings(rig.settings.clone()));
    let entry = rig.message(Routine, 10);
    assert_eq!(rig.push(vec![entry]), [Said::NotNow(NotNowReason::Quota, 240)]);
}

#[test]
fn what_is_urgent_heals_or_answers_passes_into_the_reserve_and_no_further() {
    let mut rig = Rig::new(Settings::default());
    let header = |rig: &mut Rig, kind| rig.header(kind).encode();
    let acknowledgement = header(&mut rig, Kind::Acknowledgement);
    let held = header(&mut rig, Kind::Held);
    let void = header(&mut rig, Kind::Void);
    for (what, passes) in [("routine", false), ("flash", true), ("ack", true), ("held", true), ("void", true)] {
        let size = rig.log.size();
        let entry = match what {
            "routine" => rig.message(Routine, 500),
            "flash" => rig.message(Flash, 500),
            "ack" => rig.write(&acknowledgement, text(0, &[])),
            "held" => rig.write(&held, bytes::Bytes::new()),
            _ => rig.write(&void, bytes::Bytes::new()),
        };
        let needed = used(&rig) + cost(&rig, std::slice::from_ref(&entry));
        // A quota whose reserve ends one byte before, or with, what is needed.
        let quota = (needed * QUOTA_RESERVE_PART).div_ceil(QUOTA_RESERVE_PART + 1);
        let over = (1..).find(|less| (quota - less) + (quota - less) / QUOTA_RESERVE_PART < needed).unwrap();
        allow(&mut rig, quota - over);
        assert_eq!(rig.push(vec![entry.clone()]), [Said::NotNow(NotNowReason::Quota, 240)], "{what}, one over");
        allow(&mut rig, quota);
        let said = rig.push(vec![entry]);
        match passes {
            true => assert_eq!(said, [Said::Cosigned(size + 1)], "{what}"),
            false => {
                assert_eq!(said, [Said::NotNow(NotNowReason::Quota, 240)], "{what}");
                rig.forget(size);
            }
        }
    }
    rig.later(60);
    assert_eq!(rig.told, [NotNowReason::Quota], "what passes by the reserve ends no quota");
}

#[test]
fn files_that_fit_the_day_are_taken_and_one_byte_more_is_refused_while_the_text_arrives() {
    for (over, refused) in [(0, vec![]), (1, vec![RefusalCode::FileQuota.number()])] {
        let mut rig = Rig::new(Settings::default());
        let header = rig.header(Kind::Notification);
        let entry = rig.write(&header.encode(), text(10, &[1_000_000, 500_000]));
        let before = used(&rig);
        allow(&mut rig, before + 1_500_000 - over);
        assert_eq!(rig.push(vec![entry.clone()]), [Said::Cosigned(2)]);
        assert_eq!(rig.refused(), refused);
        let wanted = rig.core.fold().wanted().count();
        let charged = used(&rig) - before;
        match over {
            0 => assert!(wanted == 2 && charged > 1_500_000, "{wanted} {charged}"),
            _ => assert!(wanted == 0 && charged < 10_000, "what is refused costs nothing: {wanted} {charged}"),
        }
        // A repeat of the same entry neither wants nor charges its files again.
        let again = rig.write(&header.encode(), text(10, &[1_000_000, 500_000]));
        let before = used(&rig);
        allow(&mut rig, u64::MAX);
        assert_eq!(rig.push(vec![again]), [Said::Cosigned(3)]);
        assert!(used(&rig) - before < 10_000);
        rig.survives_a_restart();
    }
}

#[test]
fn a_full_disk_is_named_only_where_something_must_be_stored() {
    let mut rig = Rig::new(Settings::default());
    let entry = rig.message(Routine, 10);
    assert_eq!(rig.push(vec![entry.clone()]), [Said::Cosigned(2)]);
    rig.feed(Input::DiskFull);
    assert_eq!(rig.push(Vec::new()), [Said::Cosigned(2)], "a head that is known");
    assert_eq!(rig.push(vec![entry.clone()]), [Said::Shows(2)], "a push that does not fit");
    let next = rig.message(Routine, 10);
    let wrong = EntryFrame { leaf: entry.leaf, ..next.clone() };
    assert_eq!(rig.push(vec![wrong]), [Said::Fault(FaultCode::BadRoot, 3)], "a push that is wrong");
    assert_eq!(rig.push(vec![next.clone()]), [Said::NotNow(NotNowReason::Disk, 30)]);
    rig.feed(Input::DiskOk);
    assert_eq!(rig.push(vec![next]), [Said::Cosigned(3)]);
    assert!(rig.now == NOON);
}

#[test]
fn without_a_key_slot_only_what_must_be_sealed_waits() {
    let mut rig = Rig::new(Settings::default());
    rig.env.full = true;
    let entry = rig.message(Routine, 10);
    assert_eq!(rig.push(vec![entry]), [Said::NotNow(NotNowReason::Disk, 30)]);
    rig.forget(1);
    let header = rig.header(Kind::Ping);
    let ping = rig.write(&header.encode(), bytes::Bytes::new());
    assert_eq!(rig.push(vec![ping]), [Said::Cosigned(2)], "machine kinds lie in clear");
}
