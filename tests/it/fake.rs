//! The simulator over HTTP: sign-in, tokens, Graph's lists, every fault, the pages.
#![cfg(feature = "demo")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, but not the helpers of tests")]

#[path = "fake/faults.rs"]
mod faults;
#[path = "fake/pages.rs"]
mod pages;
#[path = "fake/sign_in.rs"]
mod sign_in;
#[path = "fake/support.rs"]
mod support;
