//! See `entraway::web::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entraway::web::fuzzing::cookies(data));
