//! The integration tests: one binary, so that one private Postgres serves them all. Each test has a database of its own.
#![cfg(feature = "demo")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, but not the helpers of tests")]

mod support;

mod attacks;
mod browser;
mod callback;
mod cli;
mod client_auth;
mod clock_steps;
mod config;
mod deploy;
mod docs;
mod errors;
mod explain;
mod forward_auth;
mod graph_faults;
mod id_token;
mod layers;
mod limits;
mod litellm;
mod litellm_cache;
mod litellm_proxy;
mod metrics;
mod ops;
mod outage;
mod pages;
mod pg;
mod plan;
mod proxies;
mod session;
mod side_by_side;
mod sign_in;
mod simulator;
mod sync;
mod trace;
