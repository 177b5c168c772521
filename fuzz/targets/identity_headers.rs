//! See `entraway::identity_headers::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entraway::identity_headers::fuzzing::identity_headers(data));
