//! See `entraway::config::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entraway::config::fuzzing::config(data));
