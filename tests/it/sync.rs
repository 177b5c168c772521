//! The rules of the sync, one by one: what groups become, what is left alone, what fails without harm, and what it costs.

mod access;
mod existing;
mod groups;
mod names;
mod organization_roles;
mod orgs_setting;
mod principals;
mod record;
mod rejected_rows;
mod role_rules;
mod roles;
mod rollout;
mod slow;
mod statement_counts;
mod support;
mod triggers;
mod users;
