//! A world for a test: a database of its own in the private Postgres, a simulated Entra, and any number of instances of
//! the real service, talked to over HTTP by a browser that keeps cookies.

mod browser;
pub(crate) mod by_hand;
mod certificates;
mod database;
mod log;
mod lure;
pub(crate) mod redis;
mod rows;
pub(crate) mod scene;
mod secrets;
mod together;
mod traces;
mod world;

/// A test that takes `#[values(Native, LiteLlm)] store: StoreKind` runs once with each.
pub(crate) use entraway::domain::StoreKind::{self, LiteLlm, Native};

pub(crate) use browser::{Answer, Browser};
pub(crate) use certificates::{Certified, pem};
pub(crate) use log::Log;
pub(crate) use lure::Lure;
pub(crate) use rows::{Rows, models_of_team};
pub(crate) use secrets::{Secrets, no_address_is_in};
pub(crate) use together::together;
pub(crate) use traces::Traces;
pub(crate) use world::{Service, World, as_entraway, cluster, furnish, litellm_database, tenants};
