//! What the configuration amounts to, in words: so that one sees whether that is what one thinks.

use chrono::{DateTime, Utc};

use super::Report;
use crate::config::Config;
use crate::policy::{Limits, Policy};
use crate::util::sanitize::count;

/// What is the matter where people come by https and no proxy is trusted, and what to do.
pub const UNNAMED_PROXY: (&str, &str) = (
    "public_url is https, so a proxy stands in front, but none is named: everybody seems to come from its address, and \
     limits.sign_ins_per_address is not applied",
    "name the addresses or networks of the proxies",
);

/// What may not be meant so, and what the flag and the default params amount to.
pub fn configuration(report: &mut Report, config: &Config, now: DateTime<Utc>) {
    for note in &config.warnings {
        report.warn("configuration", &format!("{} {}", note.place, note.said), "");
    }
    if !config.server.tells_clients_apart() {
        report.warn("server.trusted_proxies", UNNAMED_PROXY.0, UNNAMED_PROXY.1);
    }
    tell_policy(report, &config.policy, now);
}

fn tell_policy(report: &mut Report, policy: &Policy, now: DateTime<Utc>) {
    let groups = if policy.also_create_orgs {
        "each assigned group becomes an organization and a team inside it"
    } else {
        "each assigned group becomes a standalone team; entra_groups_also_create_orgs is off, so no organizations"
    };
    report.ok("groups", groups);
    match &policy.team_params {
        Some(params) => {
            let models = if params.models.is_empty() { "all models".to_owned() } else { params.models.join(", ") };
            let members = params.member_limits.as_ref().map(|each| format!("; each member: {}", limits(each, now)));
            let members = members.unwrap_or_default();
            report.ok("default_team_params", &format!("{models}; {}{members}", limits(&params.limits, now)));
        }
        None => report.warn(
            "default_team_params",
            "none: new teams and organizations have no budget, no limits and all models",
            "set litellm_settings.default_team_params if that is not what you want",
        ),
    }
    let person = &policy.user_params;
    let models = if person.models.is_empty() { "all models".to_owned() } else { person.models.join(", ") };
    let role = policy.default_role();
    let limits = limits(&person.limits, now);
    report.ok("new people", &format!("{role} unless an app role says otherwise; {models}; {limits}"));
}

fn limits(limits: &Limits, now: DateTime<Utc>) -> String {
    let mut parts = Vec::new();
    match (limits.max_budget, &limits.budget_duration) {
        (Some(budget), Some(duration)) => {
            let reset = duration.next_reset(now);
            parts.push(format!("budget {budget} each {duration}, next reset {}", reset.format("%Y-%m-%d %H:%M UTC")));
        }
        (Some(budget), None) => parts.push(format!("budget {budget}, never reset")),
        (None, _) => parts.push("no budget".to_owned()),
    }
    parts.extend(limits.tpm_limit.map(|limit| format!("{} a minute", count(limit, "token"))));
    parts.extend(limits.rpm_limit.map(|limit| format!("{} a minute", count(limit, "request"))));
    parts.join(", ")
}
