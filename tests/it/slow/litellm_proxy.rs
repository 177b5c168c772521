//! A real LiteLLM proxy on the database that Entraway writes: what it makes of our rows, and we of its.
//!
//! The slow tier: the proxy takes 30 to 150 s to start and about 750 MB. `cargo test --test it -- --skip slow::` leaves
//! it out.

mod fixture;
mod members;
mod models;
mod proxy;
mod roles;

use fixture::{Scene, key_of, scene};
use proxy::{Proxy, proxy};
