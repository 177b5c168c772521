//! What has to be written so that the store agrees with Entra: a pure function of what the store holds, what Entra says
//! and what the operator decided. No I/O, no clock, nothing that can fail.

mod roles;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{EntraUser, GroupId, Redacted, StoreKind, UserRole};
use crate::policy::{BudgetDuration, Limits, OrgTeamModels, Policy};

use roles::Roles;
pub use roles::organization_role;
pub use types::{
    Applied, Budget, BudgetReset, Current, CurrentOrganizationMember, CurrentTeamModels, CurrentUserRow, Directory,
    Failure, GivenRoles, Groups, ModelsChange, NewOrganization, NewTeam, NewUser, Note, Plan, Reading, RoleChange,
    RoleScope, Unknown, UserChange, UserUpdate,
};

/// LiteLLM's name for "whatever the organization may use".
pub const ALL_ORG_MODELS: &str = "all-org-models";

/// All that a plan depends on besides what the store holds: one person's sign-in.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'a> {
    pub person: &'a EntraUser,
    pub directory: &'a Directory,
    pub policy: &'a Policy,
    /// Whose tables the plan is for.
    pub store: StoreKind,
    /// When new budgets start.
    pub now: DateTime<Utc>,
}

impl Planner<'_> {
    /// Plans the sign-in. `current` has to be the store's answer for this person and for all of the directory's
    /// `group_ids()`. What exists is never in the plan: nothing is renamed, re-scoped, re-limited or removed. The one
    /// exception are the models of a team that the sync has written and that only it has written.
    #[must_use]
    pub fn plan(&self, current: &Current) -> Plan {
        let Self { person, directory, policy, now, .. } = *self;
        let mut plan = Plan { user_id: user_id(current, person), ..Plan::default() };
        let roles = Roles::of(self, current.user.as_ref());
        self.plan_user(&mut plan, current, &roles);
        let effective_groups = directory.effective_groups();
        plan_groups(&mut plan, current, directory, &effective_groups, policy, now);
        plan_team_models(&mut plan, current, directory, policy);
        let effective = effective_organizations(current, &effective_groups, roles.in_organizations);
        plan_memberships(&mut plan, current, &effective_groups, policy, &effective);
        plan_member_budgets(&mut plan, current, now);
        roles::plan_organization_roles(&mut plan, current, &effective, roles.in_organizations);
        note_others(&mut plan, current);
        note_unknown(&mut plan, directory);
        plan
    }

    /// What is left of a plan when these organizations could not be created (rule 4): their teams are standalone, and
    /// nobody joins them. No other group is affected.
    #[must_use]
    pub fn without_organizations(&self, mut plan: Plan, failed: &BTreeSet<GroupId>) -> Plan {
        for group in failed {
            plan.organizations.remove(group);
            plan.join_organizations.remove(&group.to_string());
            if let Some(team) = plan.teams.get_mut(group) {
                *team = new_team(team.alias.clone(), TeamPlace::Default, self.policy, self.now);
            }
        }
        plan
    }

    /// What is left of a plan when these teams could not be created: nobody joins them.
    #[must_use]
    pub fn without_teams(&self, mut plan: Plan, failed: &BTreeSet<GroupId>) -> Plan {
        for group in failed {
            plan.teams.remove(group);
            plan.join_teams.remove(group);
        }
        plan
    }

    /// Creates the user, or refreshes what Entra says of them.
    fn plan_user(&self, plan: &mut Plan, current: &Current, roles: &Roles) {
        let Self { person, policy, store, now, .. } = *self;
        roles.note(plan, store, current.user.as_ref());
        let Some(user) = &current.user else {
            let limits = policy.user_params.limits.clone();
            plan.user = Some(UserChange::Create(NewUser {
                email: person.email.clone(),
                alias: person.name.clone(),
                role: roles.given.role.unwrap_or_else(|| policy.default_role()).in_row(store),
                given: roles.given.clone(),
                models: policy.user_params.models.clone(),
                budget_reset_at: limits.budget_duration.as_ref().map(|duration| duration.next_reset(now)),
                limits,
            }));
            return;
        };

        let mut update = UserUpdate { adopted: user.tenant_id.is_none(), ..UserUpdate::default() };
        // An address that Entra no longer tells is kept; an alias is only ever filled in, as in LiteLLM.
        if let Some(email) = &person.email
            && user.email.as_ref().map(Redacted::as_str) != Some(email.as_str())
        {
            update.email = Some(email.clone());
        }
        if user.alias.as_deref().is_none_or(|alias| alias.trim().is_empty()) {
            update.alias.clone_from(&person.name);
        }
        if user.role.as_ref() != Some(&roles.row) {
            update.role = Some(roles.row.clone());
        }
        // What was remembered of the row may have been another user's: with its owner it is written anew.
        if !roles.are_remembered(user) || (update.adopted && roles.given != GivenRoles::default()) {
            update.given = Some(roles.given.clone());
        }
        if update != UserUpdate::default() {
            plan.user = Some(UserChange::Update(update));
        }
    }
}

/// The organization that a group's team belongs to, if it is not the group's own.
fn elsewhere(current: &Current, group: GroupId) -> Option<&String> {
    let mut text = Uuid::encode_buffer();
    let own: &str = group.as_uuid().as_hyphenated().encode_lower(&mut text);
    current.teams.get(&group)?.as_ref().filter(|id| id.as_str() != own)
}

/// The organizations that effective groups lead to, with the user's role in each. An organization of the group's id is the
/// group's own. Another one, to which the group's team was moved, holds other teams as well: a member of one of
/// them does not become its administrator.
fn effective_organizations(current: &Current, effective: &[GroupId], role: UserRole) -> BTreeMap<String, UserRole> {
    let others = effective.iter().filter_map(|group| elsewhere(current, *group));
    let mut roles: BTreeMap<String, UserRole> =
        others.map(|id| (id.clone(), role.min(UserRole::InternalUser))).collect();
    roles.extend(effective.iter().map(|group| (group.to_string(), role)));
    roles
}

/// Rules 1, 2, 3 and 8: every assigned group gets its organization (with the flag) and its team, at every user's sign-in. A team
/// that belongs to another organization needs none of its own.
fn plan_groups(
    plan: &mut Plan,
    current: &Current,
    directory: &Directory,
    effective_groups: &[GroupId],
    policy: &Policy,
    now: DateTime<Utc>,
) {
    let Some(Reading::Known(assigned)) = &directory.assigned else { return };
    for (&group, name) in assigned {
        let alias = || alias(group, name.as_ref(), directory);
        let exists = current.organizations.contains(&group);
        if policy.also_create_orgs && !exists && elsewhere(current, group).is_none() {
            plan.organizations.insert(group, new_organization(alias(), policy, now));
        }
        match current.teams.get(&group) {
            None => {
                let place = if !policy.also_create_orgs {
                    TeamPlace::Default
                } else if exists {
                    TeamPlace::Existing(group, current.organization_models.get(&group))
                } else {
                    TeamPlace::New(group)
                };
                plan.teams.insert(group, new_team(alias(), place, policy, now));
            }
            Some(None) if policy.also_create_orgs && effective_groups.binary_search(&group).is_ok() => {
                plan.notes.push(Note::TeamStaysStandalone { team: group });
            }
            Some(_) => {}
        }
    }
}

/// `litellm.org_team_models: expand`: the models that the sync wrote follow the organization's, and the word
/// `all-org-models` of an earlier version is replaced. A team with any other models is left alone.
fn plan_team_models(plan: &mut Plan, current: &Current, directory: &Directory, policy: &Policy) {
    if policy.org_team_models == OrgTeamModels::Inherit || current.team_models.is_empty() {
        return;
    }
    for group in directory.group_ids() {
        let Some(CurrentTeamModels { models, expanded, organization }) = current.team_models.get(&group) else {
            continue;
        };
        let ours = *models == [ALL_ORG_MODELS] || expanded.as_ref().is_some_and(|ours| same_models(ours, models));
        if ours && !same_models(models, organization) {
            plan.team_models.insert(group, ModelsChange { from: models.clone(), to: organization.clone() });
        }
    }
}

/// Lists of models are compared as sets: LiteLLM's pages write a list again in another order.
fn same_models(one: &[String], other: &[String]) -> bool {
    let set = |models: &[String]| -> BTreeSet<String> { models.iter().cloned().collect() };
    set(one) == set(other)
}

/// The person joins the teams (and, with the flag, the organizations) of the groups they are in and that pass. A team in
/// another organization leads to that one.
fn plan_memberships(
    plan: &mut Plan,
    current: &Current,
    effective_groups: &[GroupId],
    policy: &Policy,
    effective: &BTreeMap<String, UserRole>,
) {
    let mut text = Uuid::encode_buffer();
    for &group in effective_groups {
        let team = current.teams.contains_key(&group) || plan.teams.contains_key(&group);
        if team && !current.team_members.contains(&group) {
            plan.join_teams.insert(group);
        }
        if !policy.also_create_orgs {
            continue;
        }
        let own = current.organizations.contains(&group) || plan.organizations.contains_key(&group);
        let own = own.then(|| &*group.as_uuid().as_hyphenated().encode_lower(&mut text));
        let organization = elsewhere(current, group).map(String::as_str).or(own);
        let organization = organization.filter(|id| !current.organization_members.contains_key(*id));
        if let Some((id, role)) = organization.and_then(|id| effective.get_key_value(id)) {
            plan.join_organizations.insert(id.clone(), *role);
        }
    }
}

/// A member with a budget of their own has the cap of the team's default member budget. LiteLLM resets their spend only if
/// their own row has its duration, counted from when they join (`_resolve_member_budget_id`, 1.110.2).
fn plan_member_budgets(plan: &mut Plan, current: &Current, now: DateTime<Utc>) {
    let resets = plan.join_teams.iter().filter_map(|group| {
        let duration = current.member_budget_durations.get(group)?.as_ref().filter(|text| !text.is_empty())?;
        let next = duration.parse::<BudgetDuration>().ok().map(|duration| duration.next_reset(now));
        Some((*group, BudgetReset { budget_duration: duration.clone(), budget_reset_at: next }))
    });
    plan.member_budgets = resets.collect();
}

fn note_others(plan: &mut Plan, current: &Current) {
    let own = plan.user_id.clone();
    if !current.same_email.is_empty() {
        plan.notes.push(Note::SameEmail { own: own.clone(), user_ids: current.same_email.clone() });
    }
    if !current.same_sso_user_id.is_empty() {
        plan.notes.push(Note::SameSsoUserId { own, user_ids: current.same_sso_user_id.clone() });
    }
}

fn note_unknown(plan: &mut Plan, directory: &Directory) {
    if let Some(Reading::Unknown(unknown)) = &directory.assigned {
        plan.notes.push(Note::AssignedGroupsUnknown { code: unknown.code.clone() });
    }
    if let Reading::Unknown(unknown) = &directory.member_of {
        plan.notes.push(Note::MemberOfUnknown { code: unknown.code.clone() });
    }
}

/// The name in the assignments; else the one in the person's groups; else the id, so that a group without a readable
/// name still has its team.
fn alias(group: GroupId, assigned: Option<&String>, directory: &Directory) -> String {
    let member_of = || match &directory.member_of {
        Reading::Known(groups) => groups.get(&group).and_then(Option::as_ref),
        Reading::Unknown(_) => None,
    };
    assigned.or_else(member_of).cloned().unwrap_or_else(|| group.to_string())
}

fn new_organization(alias: String, policy: &Policy, now: DateTime<Utc>) -> NewOrganization {
    let params = policy.team_params.clone().unwrap_or_default();
    let budget_reset_at = params.limits.budget_duration.as_ref().map(|duration| duration.next_reset(now));
    NewOrganization { alias, models: params.models, limits: params.limits, budget_reset_at }
}

/// Where a new team belongs.
#[derive(Clone, Copy)]
enum TeamPlace<'a> {
    /// In no organization of its own.
    Default,
    /// In one of the group's id that is made with it.
    New(GroupId),
    /// In one of the group's id that exists, with the models that it has; `None` where they are no list.
    Existing(GroupId, Option<&'a Vec<String>>),
}

/// A team in an organization of its own, which gives it its models, or one with the operator's defaults.
fn new_team(alias: String, place: TeamPlace<'_>, policy: &Policy, now: DateTime<Utc>) -> NewTeam {
    let params = policy.team_params.clone().unwrap_or_default();
    let reset = |limits: &Limits| limits.budget_duration.as_ref().map(|duration| duration.next_reset(now));
    // Models that cannot be read must not become `[]`, which is all models.
    let in_organization = |id: GroupId, models: Option<&Vec<String>>| {
        let expanded = models.filter(|_| policy.org_team_models == OrgTeamModels::Expand);
        let models = expanded.cloned().unwrap_or_else(|| vec![ALL_ORG_MODELS.to_owned()]);
        (Some(id.to_string()), models, expanded.is_some())
    };
    let (organization_id, models, follows_organization) = match place {
        TeamPlace::New(id) => in_organization(id, Some(&params.models)),
        TeamPlace::Existing(id, models) => in_organization(id, models),
        // With the flag a team that has no organization of its own stands alone, as rule 4 says.
        TeamPlace::Default => (params.organization_id.filter(|_| !policy.also_create_orgs), params.models, false),
    };
    NewTeam {
        alias,
        organization_id,
        models,
        follows_organization,
        budget_reset_at: reset(&params.limits),
        limits: params.limits,
        access_group_ids: params.access_group_ids,
        team_member_permissions: params.team_member_permissions,
        member_budget: params.member_limits.map(|limits| Budget { reset_at: reset(&limits), limits }),
        metadata: params.metadata,
    }
}

/// The key of the person's row: the one that is there, else the object id.
fn user_id(current: &Current, person: &EntraUser) -> Redacted {
    let object_id = || Redacted::from(person.identity.object_id.to_string());
    current.user.as_ref().map_or_else(object_id, |user| user.user_id.clone())
}

impl Plan {
    /// Whether there is nothing to write. Notes are no writing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.creates() && self.team_models.is_empty() && !self.writes_person()
    }

    /// Whether the person's own rows change.
    #[must_use]
    pub fn writes_person(&self) -> bool {
        self.user.is_some()
            || !self.join_organizations.is_empty()
            || !self.organization_roles.is_empty()
            || !self.join_teams.is_empty()
    }

    /// Whether organizations or teams are created, which other people's sign-ins may be doing too.
    #[must_use]
    pub fn creates(&self) -> bool {
        !self.organizations.is_empty() || !self.teams.is_empty()
    }
}

impl Directory {
    /// What the store has to be asked about, in order: the assigned groups, and those that pass, which are among them
    /// where there are any.
    #[must_use]
    pub fn group_ids(&self) -> Vec<GroupId> {
        match &self.assigned {
            Some(Reading::Known(assigned)) => assigned.keys().copied().collect(),
            _ => self.effective_groups(),
        }
    }

    /// The groups that count for this person, in order: those they are in and that are assigned to the app. Without a
    /// service principal nothing is assigned, and those that have a team count. If one of the two lists is unknown, none
    /// does.
    #[must_use]
    pub fn effective_groups(&self) -> Vec<GroupId> {
        match (&self.assigned, &self.member_of) {
            (None, Reading::Known(member_of)) => member_of.keys().copied().collect(),
            (Some(Reading::Known(assigned)), Reading::Known(member_of)) => {
                member_of.keys().filter(|group| assigned.contains_key(group)).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Why a list is not known, where one is not.
    #[must_use]
    pub fn unknown(&self) -> Option<&Unknown> {
        match (&self.assigned, &self.member_of) {
            (Some(Reading::Unknown(unknown)), _) | (_, Reading::Unknown(unknown)) => Some(unknown),
            _ => None,
        }
    }

    /// Whether the person is in an assigned group; `None` where Entra did not tell.
    #[must_use]
    pub fn in_assigned_group(&self) -> Option<bool> {
        match (&self.assigned, &self.member_of) {
            (Some(Reading::Unknown(_)), _) | (_, Reading::Unknown(_)) => None,
            // Nobody is in one of no groups, whatever the person's own are.
            _ => Some(self.assigned.is_some() && !self.effective_groups().is_empty()),
        }
    }
}
