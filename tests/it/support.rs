//! The test environment: a database in the private Postgres, a simulated Entra, and instances of the real service,
//! accessed over HTTP by a browser with cookies.

mod audit;
mod browser;
mod certificates;
mod database;
mod join_all;
mod log;
mod phishing_site;
mod reconciliation;
pub(crate) mod redis;
mod rows;
pub(crate) mod scene;
mod secrets;
pub(crate) mod sql_fixtures;
mod store_snapshot;
mod world;

/// A test that takes `#[values(Native, LiteLlm)] store: StoreKind` runs once with each.
pub(crate) use entraway::domain::StoreKind::{self, LiteLlm, Native};

pub(crate) use browser::{Answer, Browser};
pub(crate) use certificates::{Certified, pem};
pub(crate) use join_all::join_all;
pub(crate) use log::Log;
pub(crate) use phishing_site::PhishingSite;
pub(crate) use rows::{Rows, models_of_team};
pub(crate) use secrets::{Secrets, no_address_is_in};
pub(crate) use store_snapshot::RowCounts;
pub(crate) use world::{REMOVAL_GRANTS, Service, World, as_entraway, cluster, furnish, litellm_database, tenants};
