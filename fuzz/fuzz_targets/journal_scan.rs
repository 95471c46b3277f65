//! Arbitrary bytes as a journal segment.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    verbale::journal::fuzz_scan(data);
});
