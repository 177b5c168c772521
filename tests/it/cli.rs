//! The real program, started as an operator starts it: what it prints, how it ends, and what it must never say.

pub(crate) mod check;
mod check_litellm;
mod database;
mod explain;
mod help;
mod logs;
mod migrate;
mod output;
pub(crate) mod program;
mod redis;
mod serve;
mod sessions;
mod start;
mod users;
