//! The HTTP service: routes, middleware, pages, shared state and the server. The only module that uses axum.
//!
//! The groups below are in reading order: a module imports only from its own group and from those above it, and no two
//! modules import each other.

// Values read from requests and written into responses.
mod cookies;
mod error;
mod formatting;
mod list_query;
mod log_once;
mod paths;
mod query;
mod return_to;
mod trace_context;

// Parts of the shared state. They do not import `state`.
mod assets;
mod checks;
mod health;
mod limits;

// The shared state.
mod state;

// What handlers and middleware take from a request.
mod extract;
mod session_cookie;

// Middleware, and what error pages need.
mod layout;
mod metrics;
mod middleware;

// Data of pages and of the API.
mod view_model;

// Handlers.
mod api;
mod forward_auth;
mod pages;
mod sso;

mod router;

pub mod server;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use state::{App, StartError};

/// The stable names of errors. Rejected ID tokens and queries have more specific ones in place of `id_token`, `query` and
/// `requirement`.
pub const ERROR_CODES: &[&str] = <error::ErrorCode as strum::VariantNames>::VARIANTS;
