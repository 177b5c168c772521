//! The store in a LiteLLM proxy's own tables, on the proxy's real schema and with the rights of docs/litellm-grants.sql
//! alone: its rows as the proxy writes them, and nothing else of the proxy's touched.

mod budgets;
mod defaults;
mod grants;
mod identity_binding;
mod isolation;
mod leftovers;
mod locks;
mod malformed_rows;
mod memberships;
mod organizations;
mod premade;
mod roles;
mod rosters;
mod rows;
mod scale;
mod schema_check;
pub(crate) mod support;
mod team_models;
mod user_rows;
