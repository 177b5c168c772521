//! The store in a LiteLLM proxy's own tables, on the proxy's real schema and with the rights of docs/litellm-grants.sql
//! alone: its rows as the proxy writes them, and nothing else of the proxy's touched.

mod apart;
mod budgets;
mod defaults;
mod grants;
mod large;
mod leftovers;
mod locks;
mod memberships;
mod odd;
mod organizations;
mod people;
mod premade;
mod roles;
mod rosters;
mod rows;
mod start;
pub(crate) mod support;
mod team_models;
mod whose;
