//! The circuit breaker: holds removals that are so many that a mistake in Entra or in the configuration is likely.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::{Limits, Tripped};
use super::types::{ReconciliationPlan, ServicePrincipalState, TenantSnapshot};
use super::{KeptBecause, PlanHash, Reconciler, SettingsState};
use crate::domain::{GroupId, ObjectId, TenantId};
use crate::plan::GroupList;

/// Managed memberships of a group, organization or run.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Those whose groups are complete.
    compared: usize,
    /// Of these, those that no group gives any longer, removed or kept.
    not_given: usize,
    /// Of these, those that the plan removes.
    removals: usize,
    /// Of these, those that are kept because the account's state is unknown.
    unknown: usize,
}

impl Count {
    /// Memberships that count as ended for a percentage. None if the plan removes nothing here.
    fn ended(self) -> usize {
        if self.removals == 0 { 0 } else { self.removals + self.unknown }
    }

    fn is_emptied(self, limits: &Limits) -> bool {
        self.removals > 0 && self.not_given == self.compared && self.compared >= limits.emptied_minimum as usize
    }

    fn exceeds_group_limit(self, limits: &Limits) -> bool {
        self.ended() >= limits.group_minimum as usize && exceeds(self.ended(), limits.group_percent, self.compared)
    }
}

/// Counts for the limits. A membership in an organization counts for a run only if the user has no team in it, because it
/// follows the team otherwise.
#[derive(Debug, Default)]
pub(super) struct Counts {
    groups: BTreeMap<GroupId, Count>,
    /// Organizations of a group whose members are known.
    organizations: BTreeMap<String, Count>,
    run: Count,
}

impl Counts {
    /// Counts a team membership that these groups gave.
    pub(super) fn compare(&mut self, groups: &BTreeSet<GroupId>) {
        self.run.compared += 1;
        for group in groups {
            self.groups.entry(*group).or_default().compared += 1;
        }
    }

    /// Counts a team membership that no group gives any longer. `kept`: why it stays, if that is known before the guards.
    pub(super) fn not_given(&mut self, group: GroupId, kept: Option<&KeptBecause>) {
        not_given([self.groups.entry(group).or_default(), &mut self.run], kept);
    }

    /// Counts a team membership that the plan removes.
    pub(super) fn remove(&mut self, group: GroupId) {
        self.groups.entry(group).or_default().removals += 1;
        self.run.removals += 1;
    }

    /// As [`Self::compare`], of an organization whose group's members are known.
    pub(super) fn compare_in_organization(&mut self, id: &str, has_team: bool) {
        self.in_organization(id, has_team).into_iter().flatten().for_each(|count| count.compared += 1);
    }

    /// As [`Self::not_given`].
    pub(super) fn not_given_in_organization(&mut self, id: &str, has_team: bool, kept: Option<&KeptBecause>) {
        not_given(self.in_organization(id, has_team).into_iter().flatten(), kept);
    }

    /// As [`Self::remove`].
    pub(super) fn remove_in_organization(&mut self, id: &str, has_team: bool) {
        self.in_organization(id, has_team).into_iter().flatten().for_each(|count| count.removals += 1);
    }

    fn in_organization(&mut self, id: &str, has_team: bool) -> [Option<&mut Count>; 2] {
        if !self.organizations.contains_key(id) {
            self.organizations.insert(id.to_owned(), Count::default());
        }
        [self.organizations.get_mut(id), (!has_team).then_some(&mut self.run)]
    }
}

fn not_given<'a>(counts: impl IntoIterator<Item = &'a mut Count>, kept: Option<&KeptBecause>) {
    for count in counts {
        count.not_given += 1;
        count.unknown += usize::from(matches!(kept, Some(KeptBecause::AccountUnknown(_))));
    }
}

/// Finds exceeded limits, marks the changes that they hold, and releases those that an operator approved.
pub(super) fn apply(reconciler: &Reconciler<'_>, plan: &mut ReconciliationPlan, counts: &Counts) {
    let limits = &reconciler.gate.limits;
    plan.limits = *limits;
    if plan.changes.is_empty() {
        return;
    }
    let mut held_groups = BTreeSet::new();
    for (&group, count) in &counts.groups {
        let Count { removals, unknown, compared: memberships, .. } = *count;
        if count.is_emptied(limits) {
            plan.tripped.push(Tripped::GroupEmptied { group, removals, memberships });
        } else if count.exceeds_group_limit(limits) {
            plan.tripped.push(Tripped::Group { group, removals, unknown, memberships });
        } else {
            continue;
        }
        held_groups.insert(group);
    }
    let of_run = tripped_by_run(reconciler, counts.run);
    let all = !of_run.is_empty();
    plan.tripped.extend(of_run);
    let unassigned: BTreeSet<TenantId> =
        reconciler.snapshot.iter().filter(|(_, tenant)| nothing_assigned(tenant)).map(|(id, _)| *id).collect();
    let tenant = |user: ObjectId| reconciler.stored.users.get(&user).map(|user| user.identity.tenant_id);
    let empty: BTreeSet<TenantId> =
        plan.changes.iter().filter_map(|change| tenant(change.user)).filter(|id| unassigned.contains(id)).collect();
    let mut held_teams = BTreeSet::new();
    for change in &mut plan.changes {
        let organization = change.target.kind == "organization";
        change.held = all
            || held_groups.contains(&change.group)
            || tenant(change.user).is_some_and(|id| empty.contains(&id))
            || organization
                && !held_teams.is_empty()
                && depends_on_held(reconciler, &change.target.id, change.user, &held_teams);
        if change.held && !organization {
            held_teams.insert((change.user, change.target.id.clone()));
        }
    }
    plan.tripped.extend(empty.into_iter().map(|tenant| Tripped::NothingAssigned { tenant }));
    hold_organizations(plan, counts, limits);
    release(reconciler, plan);
}

/// Exceeded limits that hold all removals.
fn tripped_by_run(reconciler: &Reconciler<'_>, count: Count) -> Vec<Tripped> {
    let gate = reconciler.gate;
    let limits = &gate.limits;
    let Count { removals, unknown, compared: memberships, .. } = count;
    let mut tripped = Vec::new();
    let minimum = limits.run_minimum as usize;
    let run = count.ended() >= minimum && exceeds(count.ended(), limits.run_percent, memberships);
    if run {
        tripped.push(Tripped::Run { removals, unknown, memberships });
    }
    let removed = gate.removed_last_day;
    let (ended, memberships) = (count.ended().saturating_add(removed), memberships.saturating_add(removed));
    let is_same = run && removed == 0;
    if removals > 0 && !is_same && ended >= minimum && exceeds(ended, limits.day_percent, memberships) {
        tripped.push(Tripped::Day { removals, unknown, removed, memberships });
    }
    match gate.settings {
        SettingsState::Accepted => {}
        SettingsState::First => tripped.push(Tripped::FirstRun),
        SettingsState::Changed => tripped.push(Tripped::SettingsChanged),
    }
    tripped
}

/// Holds organizations that lose too many members, unless their teams' limits do already.
fn hold_organizations(plan: &mut ReconciliationPlan, counts: &Counts, limits: &Limits) {
    let mut exceeded = BTreeMap::new();
    for (id, count) in &counts.organizations {
        let Count { removals, unknown, compared: memberships, .. } = *count;
        let organization = id.clone();
        if count.is_emptied(limits) {
            exceeded.insert(id.as_str(), Tripped::OrganizationEmptied { organization, removals, memberships });
        } else if count.exceeds_group_limit(limits) {
            exceeded.insert(id.as_str(), Tripped::Organization { organization, removals, unknown, memberships });
        }
    }
    let mut tripped = BTreeSet::new();
    for change in plan.changes.iter_mut().filter(|change| change.target.kind == "organization") {
        if let Some((id, _)) = exceeded.get_key_value(change.target.id.as_str())
            && !change.held
        {
            change.held = true;
            tripped.insert(*id);
        }
    }
    exceeded.retain(|id, _| tripped.contains(id));
    plan.tripped.extend(exceeded.into_values());
}

/// Releases the held changes if they are approved, or few enough for `max_removals`; otherwise gives them a hash.
fn release(reconciler: &Reconciler<'_>, plan: &mut ReconciliationPlan) {
    let gate = reconciler.gate;
    let Some(hash) = PlanHash::of(plan.changes.iter().filter(|change| change.held)) else { return };
    if gate.approved.contains(&hash) {
        plan.approved = Some(hash);
    } else if gate.max_removals.is_some_and(|max| plan.changes.len() <= max) {
        plan.max_removals = gate.max_removals;
    } else {
        plan.hash = Some(hash);
        return;
    }
    plan.changes.iter_mut().for_each(|change| change.held = false);
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
    tenant.service_principal == ServicePrincipalState::Exists
        && matches!(&tenant.assigned, GroupList::Known(groups) if groups.is_empty())
}

/// Whether `part` is more than this percentage of `whole`.
fn exceeds(part: usize, percent: u32, whole: usize) -> bool {
    part.saturating_mul(100) > whole.saturating_mul(percent as usize)
}
