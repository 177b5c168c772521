//! See `entraway::session::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entraway::session::fuzzing::identity_headers(data));
