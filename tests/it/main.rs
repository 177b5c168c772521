//! The integration tests: one binary, so that one private Postgres serves them all. Each test has a database of its own.
#![cfg(feature = "demo")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, but not the helpers of tests")]

mod support;

mod config;
mod fake;
mod pg;
mod sign_in;
mod sync;
