//! A real LiteLLM proxy on the same database: it reads our rows, and the service reads its rows.
//!
//! Slow: the proxy takes 30 to 150 s to start and uses about 750 MB. `cargo test --test it -- --skip slow::` skips it.

mod fixture;
mod members;
mod models;
mod proxy;
mod removal;
mod roles;

use fixture::{Scene, key_of, scene, scene_without_redis};
use proxy::{Proxy, proxy};
