//! The circuit breaker: holds removals that are so many that a mistake in Entra or in the configuration is likely.

use std::collections::BTreeSet;

use serde::Serialize;

use super::types::{ReconciliationPlan, TenantSnapshot};
use super::{ByGroup, Reconciler};
use crate::domain::{GroupId, ObjectId, TenantId};
use crate::plan::GroupList;

/// Limits of the circuit breaker. Percentages are exceeded only by more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Removals per group, in percent of its managed memberships.
    pub group_percent: usize,
    /// Fewer removals per group are never held for `group_percent`.
    pub group_minimum: usize,
    /// A group that loses all of at least this many managed memberships is held.
    pub emptied_minimum: usize,
    /// Removals per run, in percent of the managed memberships in complete groups.
    pub run_percent: usize,
    /// Fewer removals per run are never held for `run_percent`.
    pub run_minimum: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { group_percent: 50, group_minimum: 5, emptied_minimum: 3, run_percent: 20, run_minimum: 10 }
    }
}

/// Why the circuit breaker holds removals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "limit", rename_all = "snake_case")]
pub enum Tripped {
    /// The group loses too many of its managed memberships.
    Group { group: GroupId, removals: usize, memberships: usize },
    /// The group loses all of its managed memberships.
    GroupEmptied { group: GroupId, removals: usize, memberships: usize },
    /// Too many of the managed memberships in complete groups would end. Holds all removals.
    Run { removals: usize, memberships: usize },
    /// The list of assigned groups is complete, but empty. Holds all removals in the tenant.
    NothingAssigned { tenant: TenantId },
}

/// Managed team memberships by complete group.
#[derive(Debug, Default)]
pub(super) struct Counts {
    compared: ByGroup,
    /// Memberships that no source gives any longer, including those that a guard keeps.
    ended: ByGroup,
}

impl Counts {
    /// Counts a membership that these groups gave.
    pub(super) fn compare(&mut self, groups: &BTreeSet<GroupId>) {
        for group in groups {
            *self.compared.entry(*group).or_default() += 1;
        }
    }

    /// Counts a membership of this group that ended.
    pub(super) fn end(&mut self, group: GroupId) {
        *self.ended.entry(group).or_default() += 1;
    }
}

/// Finds exceeded limits, and marks the changes that they hold.
pub(super) fn apply(reconciler: &Reconciler<'_>, plan: &mut ReconciliationPlan, counts: &Counts) {
    let limits = reconciler.limits;
    let mut removed = ByGroup::new();
    for change in plan.changes.iter().filter(|change| change.target.kind == "team") {
        *removed.entry(change.group).or_default() += 1;
    }
    let mut held_groups = BTreeSet::new();
    for (&group, &removals) in &removed {
        let memberships = counts.compared.get(&group).copied().unwrap_or_default();
        let ended = counts.ended.get(&group).copied().unwrap_or_default();
        let tripped = if ended == memberships && memberships >= limits.emptied_minimum {
            Tripped::GroupEmptied { group, removals, memberships }
        } else if removals >= limits.group_minimum && exceeds(removals, limits.group_percent, memberships) {
            Tripped::Group { group, removals, memberships }
        } else {
            continue;
        };
        held_groups.insert(group);
        plan.tripped.push(tripped);
    }
    let removals: usize = removed.values().sum();
    let run = removals >= limits.run_minimum && exceeds(removals, limits.run_percent, plan.compared);
    if run {
        plan.tripped.push(Tripped::Run { removals, memberships: plan.compared });
    }
    let unassigned: BTreeSet<TenantId> =
        reconciler.snapshot.iter().filter(|(_, tenant)| nothing_assigned(tenant)).map(|(id, _)| *id).collect();
    let tenant = |user: ObjectId| reconciler.stored.users.get(&user).map(|user| user.identity.tenant_id);
    let empty: BTreeSet<TenantId> =
        plan.changes.iter().filter_map(|change| tenant(change.user)).filter(|id| unassigned.contains(id)).collect();
    let mut held_teams = BTreeSet::new();
    for change in &mut plan.changes {
        let organization = change.target.kind == "organization";
        change.held = run
            || held_groups.contains(&change.group)
            || tenant(change.user).is_some_and(|id| empty.contains(&id))
            || organization && depends_on_held(reconciler, &change.target.id, change.user, &held_teams);
        if change.held && !organization {
            held_teams.insert((change.user, change.target.id.clone()));
        }
    }
    plan.tripped.extend(empty.into_iter().map(|tenant| Tripped::NothingAssigned { tenant }));
}

/// Whether a held change keeps the user in a team of the organization.
fn depends_on_held(
    reconciler: &Reconciler<'_>,
    organization: &str,
    user: ObjectId,
    held_teams: &BTreeSet<(ObjectId, String)>,
) -> bool {
    let members = reconciler.stored.organizations.get(organization).map(|found| found.members.as_slice());
    let member = members.unwrap_or_default().iter().find(|member| member.user == user);
    member.is_some_and(|member| member.teams.iter().any(|team| held_teams.contains(&(user, team.clone()))))
}

fn nothing_assigned(tenant: &TenantSnapshot) -> bool {
    tenant.service_principal == super::ServicePrincipalState::Exists
        && matches!(&tenant.assigned, GroupList::Known(groups) if groups.is_empty())
}

/// Whether `part` is more than this percentage of `whole`.
fn exceeds(part: usize, percent: usize, whole: usize) -> bool {
    part.saturating_mul(100) > whole.saturating_mul(percent)
}
