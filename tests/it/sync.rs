//! The rules of the sync, one by one: what groups become, what is left alone, what fails without harm, and what it costs.

mod access;
mod concurrency;
mod cost;
mod degradation;
mod existing;
mod flag;
mod groups;
mod names;
mod odd_databases;
mod organization_roles;
mod people;
mod principals;
mod races;
mod record;
mod role_rules;
mod roles;
mod rollout;
mod support;
