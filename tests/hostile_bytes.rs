//! What a hostile peer, or a damaged disk, may hand to the readers: never a panic, never more memory than was read.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use verbale::exchange::{Act, Fold, Record};
use verbale::name::{BootNonce, EntryId, Hash, Millis};
use verbale::wire::{
    Body, EntryFrame, FRAME_HEAD, Frame, Header, Hello, KeyBody, Leaf, LogState, MAX_BODY, MAX_FRAME, MAX_HEADER,
    MAX_KINDS, MAX_NOTE, Payload, SealBody, VolumeBody, WireError, commitment, frame_head, refused_ordinals,
};

/// Every type of frame, and some that do not exist.
const TYPES: [u8; 18] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 24, 28, 29, 30, 255];

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..2_000), at in 0..TYPES.len()) {
        let bytes = Bytes::from(bytes);
        if let Ok(frame) = Frame::decode(TYPES[at], bytes.clone()) {
            let written = frame.encode();
            let head = frame_head(written[..FRAME_HEAD].try_into().unwrap()).unwrap();
            prop_assert_eq!(Frame::decode(head.kind, written.slice(FRAME_HEAD..)), Ok(frame));
        }
        let _ = Header::decode(bytes.clone());
        let _ = Body::decode(bytes.clone());
        let _ = VolumeBody::decode(bytes.clone());
        let _ = KeyBody::decode(bytes.clone());
        let _ = SealBody::decode(bytes.clone());
        let _ = refused_ordinals(bytes.clone());
        if let Ok(leaf) = Leaf::parse(bytes.clone()) {
            prop_assert_eq!(leaf.bytes(), &bytes, "a leaf is kept verbatim");
        }
    }

    #[test]
    fn arbitrary_records_never_stop_the_fold(records in vec(vec(any::<u8>(), 0..300), 0..20)) {
        let mut fold = Fold::default();
        for (number, bytes) in records.into_iter().enumerate() {
            let bytes = Bytes::from(bytes);
            let record = Record::decode(&bytes);
            if let Act::Unknown(kept) = &record.act {
                prop_assert_eq!(kept, &bytes, "what is not understood is kept");
            }
            fold.apply(number as u64, &record);
        }
    }

    #[test]
    fn an_entry_whose_bytes_were_changed_is_refused_or_does_not_open(
        body in vec(any::<u8>(), 0..200),
        at in 0..1_000_usize,
        bit in 0..8_u8,
    ) {
        let salt = [7; 32];
        let header = vec![1, 2, 3];
        let leaf = Leaf::new(commitment(&salt, &body), body.len(), &header).unwrap();
        let body = Bytes::from(body);
        let payload = Payload::Present { salt, body: body.clone() };
        let frame = Frame::Entry(Box::new(EntryFrame { index: 5, leaf: leaf.clone(), payload }));
        let mut bytes = frame.encode().to_vec();
        let at = FRAME_HEAD + at % (bytes.len() - FRAME_HEAD);
        bytes[at] ^= 1 << bit;
        match Frame::decode(16, Bytes::from(bytes).slice(FRAME_HEAD..)) {
            Ok(Frame::Entry(entry)) => {
                let opened = match entry.payload {
                    Payload::Present { salt, body } if entry.leaf.is_opened_by(&salt, &body) => Some((salt, body)),
                    _ => None,
                };
                // The commitment binds salt, body and length; index and header are bound by the tree.
                if entry.leaf.commitment() == leaf.commitment() {
                    prop_assert!(opened.is_none_or(|opened| opened == (salt, body)));
                } else {
                    prop_assert_eq!(opened, None);
                }
            }
            Ok(other) => prop_assert!(false, "another frame: {:?}", other),
            Err(_) => {}
        }
    }
}

#[test]
fn a_frame_at_the_limit_passes_and_one_byte_over_or_none_does_not() {
    let head = |length: usize| {
        let [a, b, c, d] = u32::try_from(length).unwrap().to_be_bytes();
        frame_head([a, b, c, d, 16])
    };
    assert_eq!(head(MAX_FRAME).map(|head| head.length), Ok(MAX_FRAME - 1));
    assert!(matches!(head(MAX_FRAME + 1), Err(WireError::TooLarge { .. })));
    assert_eq!(head(0), Err(WireError::Length("frame")));
    assert!(frame_head([255; 5]).is_err());
}

#[test]
fn the_largest_entry_fits_a_frame() {
    let (salt, body) = ([1; 32], vec![0; MAX_BODY]);
    let leaf = Leaf::new(commitment(&salt, &body), body.len(), &[0; MAX_HEADER]).unwrap();
    let payload = Payload::Present { salt, body: body.into() };
    let frame = Frame::Entry(Box::new(EntryFrame { index: u64::MAX, leaf, payload }));
    assert!(frame.encode().len() < FRAME_HEAD + MAX_FRAME, "{}", frame.encode().len());
}

#[test]
fn the_largest_hello_fits_a_frame_and_a_larger_one_is_refused() {
    let origin = Some("verbale/XA.diplomatic/XB.diplomatic/4294967295.5f0c9a3e7b2d4410".parse().unwrap());
    let state = LogState { origin, size: u64::MAX, note: vec![b'x'; MAX_NOTE].into() };
    let mut hello = Hello {
        version_min: u32::MAX,
        version_max: u32::MAX,
        boot: BootNonce([255; 16]),
        last_boot: Some(BootNonce([255; 16])),
        last_heard: Some(Millis(u64::MAX)),
        clock: Millis(u64::MAX),
        window: u64::MAX,
        enclosure_max: u64::MAX,
        enclosures_total_max: u64::MAX,
        kinds: vec![u32::MAX; MAX_KINDS],
        crl_number: u64::MAX,
        certificate_digests: vec![Hash([255; 32]); 32],
        mine: state.clone(),
        yours: state,
    };
    let read = |hello: &Hello| {
        let bytes = Frame::Hello(Box::new(hello.clone())).encode();
        assert!(bytes.len() < FRAME_HEAD + MAX_FRAME, "{}", bytes.len());
        Frame::decode(1, bytes.slice(FRAME_HEAD..))
    };
    assert_eq!(read(&hello), Ok(Frame::Hello(Box::new(hello.clone()))));
    hello.kinds.push(1);
    assert!(read(&hello).is_err());
    hello.kinds.pop();
    hello.certificate_digests.push(Hash::default());
    assert!(read(&hello).is_err());
    hello.certificate_digests.pop();
    hello.mine.note = vec![b'x'; MAX_NOTE + 1].into();
    assert!(read(&hello).is_err());
}

#[test]
fn deep_nesting_and_truncation_are_refused() {
    // Field 7 (enclosures) nested in itself a thousand times: an unknown field of an unknown field, never a stack.
    let mut bytes = Vec::new();
    for _ in 0..1_000 {
        let mut outer = vec![0x3a];
        let mut length = bytes.len();
        while length >= 0x80 {
            outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap());
        outer.extend(&bytes);
        bytes = outer;
    }
    assert!(Body::decode(bytes.into()).is_err(), "an enclosure without a hash");
    let id = EntryId([1; 16]);
    let frame = Frame::EnclosureRequest { entry: id, ordinal: 3, offset: 9 }.encode();
    for end in FRAME_HEAD..frame.len() - 1 {
        let cut = Frame::decode(28, frame.slice(FRAME_HEAD..end));
        assert_ne!(cut, Ok(Frame::EnclosureRequest { entry: id, ordinal: 3, offset: 9 }));
    }
}
