//! A world for a test: a database of its own in the private Postgres, a simulated Entra, and any number of instances of
//! the real service, talked to over HTTP by a browser that keeps cookies.

mod browser;
mod rows;
mod world;

pub use browser::{Answer, Browser};
pub use rows::Rows;
pub use world::{Service, World};
