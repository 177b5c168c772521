//! Checks of the configuration, and a summary of what the sync creates.

use chrono::{DateTime, Utc};

use super::Report;
use crate::config::Config;
use crate::policy::{Limits, Policy};
use crate::util::sanitize::pluralize;

/// Message for an https URL without trusted proxies.
pub const NO_TRUSTED_PROXY: &str = "server.public_url is https, so a proxy terminates TLS, but none is listed. All requests have the proxy's address, \
     and limits.sign_ins_per_address is not applied";
pub const NO_TRUSTED_PROXY_HELP: &str = "List the addresses or networks of the proxies in server.trusted_proxies";

/// Reports questionable settings and summarizes the policy.
pub fn configuration(report: &mut Report, config: &Config, now: DateTime<Utc>) {
    for note in &config.warnings {
        report.warn("configuration", note.to_string(), "");
    }
    if !config.server.knows_client_addresses() {
        report.warn("server.trusted_proxies", NO_TRUSTED_PROXY, NO_TRUSTED_PROXY_HELP);
    }
    summarize_policy(report, &config.policy, now);
}

fn summarize_policy(report: &mut Report, policy: &Policy, now: DateTime<Utc>) {
    let groups = if policy.also_create_orgs {
        "each assigned group becomes an organization and a team in it"
    } else {
        "each assigned group becomes a standalone team, because entra_groups_also_create_orgs is off"
    };
    report.ok("groups", groups);
    match &policy.team_params {
        Some(params) => {
            let models = if params.models.is_empty() { "all models".to_owned() } else { params.models.join(", ") };
            let members = params.member_limits.as_ref().map(|each| format!("; each member: {}", limits(each, now)));
            let members = members.unwrap_or_default();
            report.ok("default_team_params", format!("{models}; {}{members}", limits(&params.limits, now)));
        }
        None => report.warn(
            "default_team_params",
            "not set: new teams and organizations have no budget, no limits and all models",
            "Set litellm_settings.default_team_params to change this",
        ),
    }
    let params = &policy.user_params;
    let models = if params.models.is_empty() { "all models".to_owned() } else { params.models.join(", ") };
    let role = policy.default_role();
    let limits = limits(&params.limits, now);
    report.ok("new users", format!("role {role} unless Entra grants an app role; {models}; {limits}"));
}

fn limits(limits: &Limits, now: DateTime<Utc>) -> String {
    let mut parts = Vec::new();
    match (limits.max_budget, &limits.budget_duration) {
        (Some(budget), Some(duration)) => {
            let reset = duration.next_reset(now);
            parts.push(format!("budget ${budget} per {duration}, next reset {}", reset.format("%Y-%m-%d %H:%M UTC")));
        }
        (Some(budget), None) => parts.push(format!("budget ${budget}, never reset")),
        (None, _) => parts.push("no budget".to_owned()),
    }
    parts.extend(limits.tpm_limit.map(|limit| format!("{} per minute", pluralize(limit, "token"))));
    parts.extend(limits.rpm_limit.map(|limit| format!("{} per minute", pluralize(limit, "request"))));
    parts.join(", ")
}
