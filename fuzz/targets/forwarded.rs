//! See `entraway::http::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entraway::http::fuzzing::forwarded(data));
