//! Whatever a peer signs: leaves, headers, bodies, notes, proofs, introductions. The first byte picks the reader.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use verbale::identity::Introduction;
use verbale::note::{Checkpoint, ForeignCheckpoint, Proof, VerifierKey};
use verbale::wire::{Body, ErasedBody, Header, KeyBody, Leaf, SealBody, VolumeBody, refused_ordinals};

fuzz_target!(|data: &[u8]| {
    let Some((reader, data)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(data);
    match reader % 12 {
        0 => leaf(bytes),
        1 => {
            if let Ok(header) = Header::decode(bytes) {
                assert_eq!(Header::decode(header.encode()), Ok(header));
            }
        }
        2 => {
            if let Ok(body) = Body::decode(bytes) {
                // The shortest encoding of what was read is never longer than what came, but for defaults written out.
                if let Ok(written) = body.encode() {
                    assert_eq!(Body::decode(written), Ok(body));
                }
            }
        }
        3 => {
            if let Ok(body) = VolumeBody::decode(bytes) {
                assert_eq!(VolumeBody::decode(body.encode()), Ok(body));
            }
        }
        4 => drop(KeyBody::decode(bytes)),
        5 => drop(SealBody::decode(bytes)),
        6 => drop(ErasedBody::decode(bytes)),
        7 => drop(refused_ordinals(bytes)),
        8 => {
            if let Ok(note) = Checkpoint::<verbale::name::Origin>::parse(data) {
                assert_eq!(note.to_bytes(), data);
            }
            if let Ok(note) = ForeignCheckpoint::parse(data) {
                assert_eq!(note.to_bytes(), data);
            }
        }
        9 => {
            if let Ok(proof) = Proof::<verbale::name::Origin>::parse(data) {
                assert_eq!(proof.to_bytes(), data);
            }
        }
        10 => drop(Introduction::from_signed_bytes(data)),
        _ => {
            if let Some(key) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<VerifierKey>().ok()) {
                assert_eq!(key.to_string().as_bytes(), data);
            }
        }
    }
});

fn leaf(bytes: Bytes) {
    let Ok(leaf) = Leaf::parse(bytes.clone()) else { return };
    assert_eq!(leaf.bytes(), &bytes);
    let again = Leaf::new(leaf.commitment(), leaf.body_len(), &leaf.header_bytes()).expect("it was a leaf");
    assert_eq!(again, leaf);
    drop(leaf.header());
}
