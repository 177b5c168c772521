//! Uses the generator, the model and the property of the tests.
#![no_main]
#![expect(dead_code, reason = "only the tests use all of these files")]

#[path = "../../tests/it/plan/from_bytes.rs"]
mod from_bytes;
#[path = "../../tests/it/plan/generate.rs"]
mod generate;
#[path = "../../tests/it/plan/model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|data: &[u8]| from_bytes::plan_and_apply(data));
