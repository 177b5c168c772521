//! The rules of the sync: rows of groups, existing rows, partial failures, and cost.

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
