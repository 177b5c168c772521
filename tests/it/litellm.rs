//! The store in a LiteLLM proxy's tables, on the proxy's real schema and with only the privileges of
//! docs/litellm-grants.sql. Rows look as if the proxy wrote them, and its other rows stay unchanged.

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
