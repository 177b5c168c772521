//! The integration tests: one binary, so that they share one private Postgres. Each test has its own database.
#![cfg(feature = "demo")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers of tests"
)]

mod support;

mod attacks;
mod audit;
mod callback;
mod cli;
mod client_auth;
mod clock_steps;
mod config;
mod docs;
mod errors;
mod explain;
mod forward_auth;
mod graph;
mod id_token;
mod layers;
mod limits;
mod litellm;
mod metrics;
mod pages;
mod plan;
mod reconciliation;
mod removal;
mod session;
mod sign_in;
mod simulator;
mod slow;
mod sync;
mod trace;
