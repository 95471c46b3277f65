//! Arbitrary records, one after the other, into the fold: total, whatever they say.
//!
//! The input is a list of records, each behind its length in two bytes (big-endian). A record that can be read is
//! written and read back as the same, so that the journal loses nothing.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use verbale::exchange::{Act, Fold, Record, Stowed};
use verbale::name::{JournalId, Millis};

fuzz_target!(|data: &[u8]| {
    let mut fold = Fold::default();
    let mut number = 0;
    for act in beginning() {
        fold.apply(number, &Record { time: Millis(1), act });
        number += 1;
    }
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (record, after) = after.split_at(usize::from(u16::from_be_bytes(*length)).min(after.len()));
        rest = after;
        let record = Record::decode(&Bytes::copy_from_slice(record));
        assert_eq!(Record::decode(&record.encode()), record);
        fold.apply(number, &record);
        number += 1;
        assert_eq!(fold.next_record(), number);
    }
    assert!(fold.wanted().count() < 1 << 20);
});

/// A journal with one peer, so that records about that peer's logs reach the fold.
fn beginning() -> [Act; 2] {
    let node = |name: &str| name.parse().expect("a node's name");
    let ceremony = Stowed::Sealed { slot: 0, bytes: Bytes::new() };
    let added = Act::PeerAdded {
        peer: node("XB"),
        introduction: Bytes::new(),
        fingerprint: String::new(),
        keys: Vec::new(),
        ceremony,
        officer: 1,
    };
    [Act::Opened { journal: JournalId([1; 16]), node: node("XA") }, added]
}
