//! Helpers that know nothing about the product: time, randomness, outgoing HTTP, public addresses, shared remote reads, log
//! sanitizing.

pub mod clock;
pub mod http_client;
pub mod public_address;
pub mod random;
pub mod sanitize;
pub mod single_flight;
