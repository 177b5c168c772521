//! Entraway signs people in with Microsoft Entra ID, turns the Entra groups that an administrator assigned to the
//! enterprise app into organizations, teams and memberships in Postgres, and only then hands the browser a session.
//!
//! The modules in reading order; each may use those above it. `docs/explanation/request-flow.md` draws the picture.

// Decisions, in a crate that can do no I/O.
pub use entraway_core::{audit, domain, entra_facts, explain, permissions, plan, policy, reconciliation, sync_run};

// Helpers that every layer below may use.
pub mod util;

pub mod client_auth;
pub mod config;
pub mod observability;

// Clients of Entra, Graph, Postgres and LiteLLM's cache. They do not know each other.
pub mod db;
pub mod graph;
pub mod litellm_cache;
pub mod oidc;

// Messages for operators.
pub mod notifications;

// Use cases: sessions, what upstreams learn of a user, the sync of a sign-in, health checks.
pub mod identity_headers;
pub mod session;

pub mod assertion;
pub mod sync;

pub mod reconcile;

pub mod check;

// Routes, pages, middleware and the server.
pub mod http;

// The program.
pub mod cli;

#[cfg(test)]
mod corpus;
