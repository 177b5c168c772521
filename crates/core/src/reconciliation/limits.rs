//! Limits of the circuit breaker, and which of them a plan exceeds.

use serde::{Deserialize, Serialize};

use crate::domain::{GroupId, TenantId};

/// `sync.removal_limits`. Percentages are exceeded only by more.
///
/// All of them compare the managed memberships that end with those that could be compared. A membership ends if no group of
/// this installation gives it any longer. It counts although it is kept because the account's state is unknown: it would end
/// as soon as the state is known. Memberships that a guard keeps, or whose account can be restored, do not count, because
/// they stay; only for `emptied_minimum` they count, since it asks whether Entra still lists a single member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Ended memberships of a group or organization, in percent of its managed memberships.
    pub group_percent: u32,
    /// Fewer of them are never held for `group_percent`.
    pub group_minimum: u32,
    /// A group or organization that loses all of at least this many managed memberships is held.
    pub emptied_minimum: u32,
    /// Ended memberships of a run, in percent of the managed memberships in complete groups.
    pub run_percent: u32,
    /// Fewer of them are never held for `run_percent` or `day_percent`.
    pub run_minimum: u32,
    /// Ended memberships of a run and of the runs in the last 24 hours, in percent of the managed memberships before these.
    pub day_percent: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            group_percent: 50,
            group_minimum: 5,
            emptied_minimum: 3,
            run_percent: 20,
            run_minimum: 10,
            day_percent: 30,
        }
    }
}

/// Why the circuit breaker holds removals. `removals` are those of the plan; `unknown` counts more memberships that would
/// end, but are kept because the account's state is unknown; `memberships` is what the limit is a percentage of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "limit", rename_all = "snake_case")]
pub enum Tripped {
    /// The group loses too many of its managed memberships. Holds the group.
    Group { group: GroupId, removals: usize, unknown: usize, memberships: usize },
    /// Entra gives none of the group's managed memberships any longer. Holds the group.
    GroupEmptied { group: GroupId, removals: usize, memberships: usize },
    /// The organization loses too many of its managed memberships. Holds the organization.
    Organization { organization: String, removals: usize, unknown: usize, memberships: usize },
    /// Entra gives none of the organization's managed memberships any longer. Holds the organization.
    OrganizationEmptied { organization: String, removals: usize, memberships: usize },
    /// Too many of the managed memberships in complete groups would end. Holds all removals.
    Run { removals: usize, unknown: usize, memberships: usize },
    /// Too many would end with those that runs removed in the last 24 hours (`removed`). Holds all removals.
    Day { removals: usize, unknown: usize, removed: usize, memberships: usize },
    /// No run has accepted the settings yet. Holds all removals.
    FirstRun,
    /// Settings that decide about removals differ from those of the last run that accepted some. Holds all removals.
    SettingsChanged,
    /// The list of assigned groups is complete, but empty. Holds all removals in the tenant.
    NothingAssigned { tenant: TenantId },
}

impl Tripped {
    /// What exceeds which limit, for operators.
    #[must_use]
    pub fn message(&self, limits: &Limits) -> String {
        let Limits { group_percent, group_minimum, emptied_minimum, run_percent, run_minimum, day_percent } = limits;
        let of_group = |what: &str, removals, unknown, memberships| {
            let ended = ended(removals, unknown, memberships);
            format!("{what}: {ended}. The limit is {group_percent} %, from {group_minimum} on")
        };
        let emptied = |what: &str, memberships| {
            format!(
                "{what}: Entra gives none of its {memberships} memberships any longer. The limit is {emptied_minimum}"
            )
        };
        match self {
            Self::Group { group, removals, unknown, memberships } => {
                of_group(&format!("Group {group}"), *removals, *unknown, *memberships)
            }
            Self::GroupEmptied { group, memberships, .. } => emptied(&format!("Group {group}"), *memberships),
            Self::Organization { organization, removals, unknown, memberships } => {
                of_group(&format!("Organization {organization}"), *removals, *unknown, *memberships)
            }
            Self::OrganizationEmptied { organization, memberships, .. } => {
                emptied(&format!("Organization {organization}"), *memberships)
            }
            Self::Run { removals, unknown, memberships } => {
                let ended = ended(*removals, *unknown, *memberships);
                format!("All groups: {ended}. The limit is {run_percent} %, from {run_minimum} on")
            }
            Self::Day { removals, unknown, removed, memberships } => {
                let ended = ended(*removals, *unknown, *memberships);
                format!(
                    "Last 24 hours: {removed} memberships were removed, and {ended}. The limit is {day_percent} %, from \
                     {run_minimum} on"
                )
            }
            Self::FirstRun => "No run has removed memberships with these settings yet. Check the removals".to_owned(),
            Self::SettingsChanged => {
                "Settings that decide about removals have changed since the last run. Check the removals".to_owned()
            }
            Self::NothingAssigned { tenant } => {
                format!("Tenant {tenant}: no group is assigned to the app. Check the assignments in Entra")
            }
        }
    }
}

fn ended(removals: usize, unknown: usize, memberships: usize) -> String {
    let more = match unknown {
        0 => String::new(),
        1 => ", and 1 more with an unknown account".to_owned(),
        _ => format!(", and {unknown} more with unknown accounts"),
    };
    format!("{removals} of {memberships} memberships would end{more}")
}
