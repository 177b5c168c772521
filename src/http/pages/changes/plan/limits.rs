//! Exceeded limits of the circuit breaker in words.

use serde::Deserialize;

use super::Names;
use crate::http::formatting::pluralize;

/// An exceeded limit.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct StoredLimit {
    limit: String,
    pub(super) group: Option<String>,
    pub(super) organization: Option<String>,
    tenant: Option<String>,
    removals: Option<usize>,
    memberships: Option<usize>,
    /// More memberships that would end, but whose accounts are unknown.
    unknown: usize,
    /// Memberships that runs removed in the last 24 hours.
    removed: usize,
}

/// `sync.removal_limits` at the time.
#[derive(Deserialize)]
pub(super) struct StoredLimits {
    group_percent: u32,
    group_minimum: u32,
    run_percent: u32,
    run_minimum: u32,
    day_percent: u32,
}

impl StoredLimit {
    /// What exceeds the limit. One of a newer version is shown by its name.
    pub(super) fn in_words(&self, names: &Names, limits: Option<&StoredLimits>) -> String {
        let ended = self.ended();
        let group = || self.group.as_deref().map(|id| names.group(id, None).name).unwrap_or_default();
        let organization = || {
            let id = self.organization.as_deref().unwrap_or_default();
            names.groups.get(id).map_or(id, String::as_str).to_owned()
        };
        let limit = |percent: fn(&StoredLimits) -> u32, minimum: fn(&StoredLimits) -> u32| match limits {
            Some(limits) => format!(" The limit is {} %, from {} on.", percent(limits), minimum(limits)),
            None => String::new(),
        };
        let of_group = || limit(|limits| limits.group_percent, |limits| limits.group_minimum);
        match self.limit.as_str() {
            "group" => format!("Group {}: {ended}.{}", group(), of_group()),
            "organization" => format!("Organization {}: {ended}.{}", organization(), of_group()),
            "group_emptied" => format!("Group {}: it would lose all of its memberships. {ended}.", group()),
            "organization_emptied" => {
                format!("Organization {}: it would lose all of its memberships. {ended}.", organization())
            }
            "run" => {
                format!("All groups: {ended}.{}", limit(|limits| limits.run_percent, |limits| limits.run_minimum))
            }
            "day" => {
                let limit = limit(|limits| limits.day_percent, |limits| limits.run_minimum);
                let removed = pluralize(self.removed, "membership");
                format!("Last 24 hours: {removed} removed already, and {ended}.{limit}")
            }
            "first_run" => "No run has removed memberships with these settings yet. Check the removals.".to_owned(),
            "settings_changed" => {
                "Settings that decide about removals have changed since the last run. Check the removals.".to_owned()
            }
            "nothing_assigned" => {
                let tenant = self.tenant.as_deref().unwrap_or_default();
                format!("Tenant {tenant}: no group is assigned to the app. Check the assignments in Entra.")
            }
            other => {
                let ended = if ended.is_empty() { ended } else { format!(": {ended}") };
                format!("Limit {}{ended}.", other.replace('_', " "))
            }
        }
    }

    /// How many memberships would end.
    fn ended(&self) -> String {
        let Self { removals, memberships, unknown, .. } = self;
        let more = if *unknown > 0 { format!(", and {unknown} more with an unknown account") } else { String::new() };
        match (removals, memberships) {
            (Some(removals), Some(memberships)) => {
                format!("{removals} of {} would end{more}", pluralize(*memberships, "membership"))
            }
            (Some(removals), None) => format!("{} would end{more}", pluralize(*removals, "membership")),
            (None, _) => String::new(),
        }
    }
}
