//! A stream of bytes as frames: what can be read is written again and read back as the same.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use verbale::wire::{FRAME_HEAD, Frame, frame_head};

fuzz_target!(|data: &[u8]| {
    let mut rest = Bytes::copy_from_slice(data);
    while let Some(first) = rest.first_chunk::<FRAME_HEAD>() {
        let Ok(head) = frame_head(*first) else { return };
        // A stream that ends early is read as far as it goes, so that short inputs reach the messages too.
        let end = (FRAME_HEAD + head.length).min(rest.len());
        let message = rest.slice(FRAME_HEAD..end);
        rest = rest.slice(end..);
        let Ok(frame) = Frame::decode(head.kind, message) else { continue };
        let written = frame.encode();
        let again = frame_head(*written.first_chunk().expect("a frame has a head")).expect("we wrote it");
        let read = Frame::decode(again.kind, written.slice(FRAME_HEAD..)).expect("we wrote it");
        assert_eq!(read, frame);
    }
});
