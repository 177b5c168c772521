//! Tests of the documents: configurations load, queries run, commands and their options exist, links resolve, and the
//! example has every key.

mod certificate;
mod commands;
mod configurations;
mod image;
mod install;
mod limits;
mod links;
pub(crate) mod markdown;
mod notifications;
mod queries;
mod references;
mod security;
mod slow;
