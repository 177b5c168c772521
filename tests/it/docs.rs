//! The documents are tested: configurations are loaded, queries run, commands exist with their options, links lead
//! somewhere, and the example has every key.

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
