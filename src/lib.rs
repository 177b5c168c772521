//! Entraway signs people in with Microsoft Entra ID, turns the Entra groups that an administrator assigned to the
//! enterprise app into organizations, teams and memberships in Postgres, and only then hands the browser a session.
//!
//! The modules in reading order; each may use those above it. `docs/explanation/request-flow.md` draws the picture.

// Words and decisions: no I/O.
pub mod domain;
pub mod policy;
pub mod rights;

pub mod plan;

pub mod explain;

// What everything below leans on.
pub mod clock;
pub mod credential;
pub mod metrics;
pub mod trace;

pub mod config;
pub mod http_client;
pub mod random;
pub mod shared;
pub mod text;

// The world outside: Entra, Graph, Postgres, the caches of LiteLLM. They do not know of each other.
pub mod entra;
pub mod graph;
pub mod litellm_cache;
pub mod store;

// The use cases: who is signed in, how upstreams are told, the sync at a sign-in, and whether all it needs is there. Then
// the browser's side of them.
pub mod session;

pub mod assertion;
pub mod sync;

pub mod check;
pub mod web;

pub mod server;

// A Postgres and an Entra of our own, for the demo and the tests.
#[cfg(feature = "demo")]
pub mod fake;
#[cfg(feature = "demo")]
pub mod pg;

// The program.
mod telemetry;

pub mod cli;

#[cfg(test)]
mod corpus;
