//! What the documentation says is tried: configurations are read, queries asked, commands exist with their options, links
//! lead somewhere, and the example names every key.

mod certificate;
mod commands;
mod configurations;
mod image;
mod install;
mod limits;
mod links;
pub(crate) mod markdown;
mod queries;
mod references;
mod security;
mod slow;
