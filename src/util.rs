//! Helpers that know nothing about the product: time, randomness, outgoing HTTP, shared remote reads, log sanitizing.

pub mod clock;
pub mod http_client;
pub mod random;
pub mod sanitize;
pub mod single_flight;
