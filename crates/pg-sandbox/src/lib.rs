//! Private Postgres clusters for `entraway demo`, tests and benchmarks. They run the installed Postgres programs in a
//! temporary folder and end with the process that started them.

mod cluster;
mod error;
mod folder;
mod install;
mod migrations;
mod quoting;

pub use cluster::{Durability, PrivateCluster};
pub use error::ClusterError;
pub use migrations::litellm_migrations;
