//! The real program, started as an operator starts it: its output, its exit codes, and what it must not reveal.

pub(crate) mod check;
mod check_litellm;
mod database;
mod decide;
mod explain;
mod help;
mod logs;
mod migrate;
mod output;
mod plan;
pub(crate) mod program;
mod redis;
mod serve;
mod sessions;
mod start;
mod users;
