//! See `entraway::graph::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entraway::graph::fuzzing::graph_page(data));
