//! Plans a sign-in's writes from the current state, the directory and the policy. Pure: no I/O, no clock, no errors.

mod events;
pub(crate) mod removals;
mod roles;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{EntraUser, GroupId, Redacted, StoreKind, UserRole};
use crate::policy::{BudgetDuration, OrgTeamModels, Policy};

use roles::Roles;
pub use roles::organization_role;
pub use types::{
    Applied, Budget, BudgetReset, Current, CurrentOrganizationMember, CurrentTeamModels, CurrentUserRow, Directory,
    Failure, GrantedRoles, GroupList, Groups, KeptReason, ManagedOrganization, ManagedTeam, ModelsChange,
    NewOrganization, NewTeam, NewUser, Note, Plan, Removal, RemovalCause, RoleChange, RoleScope, Unknown, UserChange,
    UserUpdate, source,
};

/// LiteLLM's name for all models of the organization.
pub const ALL_ORG_MODELS: &str = "all-org-models";

/// Input of a plan apart from the current state.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'a> {
    pub entra_user: &'a EntraUser,
    pub directory: &'a Directory,
    pub policy: &'a Policy,
    /// Which program's tables the plan is for.
    pub store: StoreKind,
    /// Start of the sync, and of new budgets.
    pub now: DateTime<Utc>,
    /// ID of the sync record.
    pub run_id: Uuid,
    pub scope: PlanScope,
}

/// What a plan may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanScope {
    /// A sign-in: everything.
    SignIn,
    /// A sign-in that the policy denied: memberships are only removed.
    DeniedSignIn,
    /// A reconciliation run, without a token of the user: memberships are only added, of a user who has signed in before.
    Additions,
}

impl Planner<'_> {
    /// Plans the sign-in. `current` must be the state of this user and of the directory's
    /// [`group_ids`](Directory::group_ids).
    ///
    /// Existing rows are never renamed, moved or limited, and of the memberships only those are removed that the sync
    /// gave. A team's models change if only the sync has written them.
    #[must_use]
    pub fn plan(&self, current: &Current) -> Plan {
        let mut plan = Plan { user_id: user_id(current, self.entra_user), ..Plan::default() };
        let effective_groups = self.directory.effective_groups();
        match self.scope {
            PlanScope::SignIn => {}
            PlanScope::DeniedSignIn => {
                if !current.superseded {
                    self.plan_removals(&mut plan, current, &BTreeMap::new());
                }
                return plan;
            }
            PlanScope::Additions => {
                self.plan_additions(&mut plan, current, &effective_groups);
                return plan;
            }
        }
        let roles = Roles::of(self, current.user.as_ref());
        let organizations = effective_organizations(current, &effective_groups, roles.in_organizations);
        self.plan_groups(&mut plan, current, &effective_groups);
        self.plan_team_models(&mut plan, current);
        if !current.superseded || current.user.is_none() {
            self.plan_user(&mut plan, current, &roles);
        }
        if current.superseded {
            plan.notes.push(Note::Superseded);
        } else {
            self.plan_memberships(&mut plan, current, &effective_groups, &organizations);
            self.plan_removals(&mut plan, current, &organizations);
            self.plan_member_budgets(&mut plan, current);
            roles::plan_organization_roles(&mut plan, current, &organizations, roles.in_organizations);
        }
        self.note_others(&mut plan, current);
        plan
    }

    /// Adds memberships, with the role of the last token. A user without a row signs in first, and a sign-in that started
    /// later has decided already.
    fn plan_additions(&self, plan: &mut Plan, current: &Current, effective_groups: &[GroupId]) {
        let Some(user) = current.user.as_ref().filter(|_| !current.superseded) else { return };
        let role = user.sso_role.as_deref().and_then(UserRole::parse).unwrap_or_else(|| self.policy.default_role());
        let organizations = effective_organizations(current, effective_groups, organization_role(role));
        self.plan_groups(plan, current, effective_groups);
        self.plan_memberships(plan, current, effective_groups, &organizations);
        removals::plan_keys(plan, current);
        self.plan_member_budgets(plan, current);
    }

    /// The plan if these organizations could not be created (rule 4): their teams become standalone and get no
    /// organization memberships. Other groups are not affected.
    #[must_use]
    pub fn without_organizations(&self, mut plan: Plan, failed: &BTreeSet<GroupId>) -> Plan {
        for group in failed {
            plan.organizations.remove(group);
            plan.add_to_organizations.remove(&group.to_string());
            if let Some(team) = plan.teams.get_mut(group) {
                *team = self.new_team(team.alias.clone(), TeamParent::Default);
            }
        }
        plan
    }

    /// The plan if these teams could not be created: without memberships in them.
    #[must_use]
    pub fn without_teams(&self, mut plan: Plan, failed: &BTreeSet<GroupId>) -> Plan {
        for group in failed {
            plan.teams.remove(group);
            plan.add_to_teams.remove(group);
        }
        plan
    }

    /// Creates or updates the user's own row.
    fn plan_user(&self, plan: &mut Plan, current: &Current, roles: &Roles) {
        let Self { entra_user, policy, store, now, .. } = *self;
        roles.note(plan, store, current.user.as_ref());
        let Some(user) = &current.user else {
            let limits = policy.user_params.limits.clone();
            plan.user = Some(UserChange::Create(NewUser {
                email: entra_user.email.clone(),
                alias: entra_user.name.clone(),
                role: roles.granted.role.unwrap_or_else(|| policy.default_role()).in_row(store),
                granted: roles.granted.clone(),
                models: policy.user_params.models.clone(),
                budget_reset_at: limits.next_reset(now),
                limits,
            }));
            return;
        };

        let mut update = UserUpdate { adopted: user.tenant_id.is_none(), ..UserUpdate::default() };
        // An address that Entra no longer returns is kept. An alias is only set if it is empty, as in LiteLLM.
        if let Some(email) = &entra_user.email
            && user.email.as_ref().map(Redacted::as_str) != Some(email.as_str())
        {
            update.email = Some(email.clone());
        }
        if user.alias.as_deref().is_none_or(|alias| alias.trim().is_empty()) {
            update.alias.clone_from(&entra_user.name);
        }
        if user.role.as_ref() != Some(&roles.row) {
            update.role = Some(roles.row.clone());
        }
        // Stored roles of an adopted row may be another user's, so they are always replaced.
        if !roles.match_stored(user) || (update.adopted && roles.granted != GrantedRoles::default()) {
            update.granted = Some(roles.granted.clone());
        }
        if update != UserUpdate::default() {
            plan.user = Some(UserChange::Update(update));
        }
    }

    /// Rules 1, 2, 3 and 8: plans the organization (with `also_create_orgs`) and team of every assigned group, at every
    /// user's sign-in. A team in another organization needs none of its own.
    fn plan_groups(&self, plan: &mut Plan, current: &Current, effective_groups: &[GroupId]) {
        let also_create_orgs = self.policy.also_create_orgs;
        let Some(GroupList::Known(assigned)) = &self.directory.assigned else { return };
        for (&group, name) in assigned {
            let alias = || self.alias(group, name.as_ref());
            let exists = current.organizations.contains(&group);
            if also_create_orgs && !exists && other_organization(current, group).is_none() {
                plan.organizations.insert(group, self.new_organization(alias()));
            }
            match current.teams.get(&group) {
                None => {
                    let parent = if !also_create_orgs {
                        TeamParent::Default
                    } else if exists {
                        TeamParent::Existing(group, current.organization_models.get(&group))
                    } else {
                        TeamParent::New(group)
                    };
                    plan.teams.insert(group, self.new_team(alias(), parent));
                }
                Some(None) if also_create_orgs && effective_groups.binary_search(&group).is_ok() => {
                    plan.notes.push(Note::TeamStaysStandalone { team: group });
                }
                Some(_) => {}
            }
        }
    }

    /// Name of a new team: from the assignments, else from the user's groups, else the ID.
    fn alias(&self, group: GroupId, assigned: Option<&String>) -> String {
        let member_of = || match &self.directory.member_of {
            GroupList::Known(groups) => groups.get(&group).and_then(Option::as_ref),
            GroupList::Unknown(_) => None,
        };
        assigned.or_else(member_of).cloned().unwrap_or_else(|| group.to_string())
    }

    fn new_organization(&self, alias: String) -> NewOrganization {
        let params = self.policy.team_params.clone().unwrap_or_default();
        let budget_reset_at = params.limits.next_reset(self.now);
        NewOrganization { alias, models: params.models, limits: params.limits, budget_reset_at }
    }

    /// A team that follows its organization, or one with the operator's defaults.
    fn new_team(&self, alias: String, parent: TeamParent<'_>) -> NewTeam {
        let Self { policy, now, .. } = *self;
        let params = policy.team_params.clone().unwrap_or_default();
        // Unreadable models must not become `[]`, which means all models.
        let in_organization = |id: GroupId, models: Option<&Vec<String>>| {
            let expanded = models.filter(|_| policy.org_team_models == OrgTeamModels::Expand);
            let models = expanded.cloned().unwrap_or_else(|| vec![ALL_ORG_MODELS.to_owned()]);
            (Some(id.to_string()), models, expanded.is_some())
        };
        let (organization_id, models, follows_organization) = match parent {
            TeamParent::New(id) => in_organization(id, Some(&params.models)),
            TeamParent::Existing(id, models) => in_organization(id, models),
            // With `also_create_orgs`, a team without an organization of its own is standalone (rule 4).
            TeamParent::Default => (params.organization_id.filter(|_| !policy.also_create_orgs), params.models, false),
        };
        NewTeam {
            alias,
            organization_id,
            models,
            follows_organization,
            budget_reset_at: params.limits.next_reset(now),
            limits: params.limits,
            access_group_ids: params.access_group_ids,
            team_member_permissions: params.team_member_permissions,
            member_budget: params.member_limits.map(|limits| Budget { reset_at: limits.next_reset(now), limits }),
            metadata: params.metadata,
        }
    }

    /// `litellm.org_team_models: expand`: models written by the sync follow the organization's, and `all-org-models` of
    /// an earlier version is replaced. Other models are left alone.
    fn plan_team_models(&self, plan: &mut Plan, current: &Current) {
        if self.policy.org_team_models == OrgTeamModels::Inherit {
            return;
        }
        for group in self.directory.group_ids() {
            let Some(CurrentTeamModels { models, expanded, organization }) = current.team_models.get(&group) else {
                continue;
            };
            let managed =
                *models == [ALL_ORG_MODELS] || expanded.as_ref().is_some_and(|managed| same_models(managed, models));
            if managed && !same_models(models, organization) {
                plan.team_models.insert(group, ModelsChange { from: models.clone(), to: organization.clone() });
            }
        }
    }

    /// Adds the user to the teams (and, with `also_create_orgs`, to the organizations) of the effective groups. For a
    /// team in another organization, to that organization. `organizations`: those of the effective groups, with roles.
    fn plan_memberships(
        &self,
        plan: &mut Plan,
        current: &Current,
        effective_groups: &[GroupId],
        organizations: &BTreeMap<String, UserRole>,
    ) {
        for &group in effective_groups {
            let team = current.teams.contains_key(&group) || plan.teams.contains_key(&group);
            if team && !current.team_members.contains(&group) {
                plan.add_to_teams.insert(group);
            }
            if !self.policy.also_create_orgs {
                continue;
            }
            let own = current.organizations.contains(&group) || plan.organizations.contains_key(&group);
            let organization = other_organization(current, group).cloned().or(own.then(|| group.to_string()));
            let organization = organization.filter(|id| !current.organization_members.contains_key(id));
            if let Some((id, role)) = organization.and_then(|id| organizations.get_key_value(&id)) {
                plan.add_to_organizations.insert(id.clone(), *role);
            }
        }
    }

    /// Sets the budget reset of new members with a budget of their own, limited by the team's default member budget.
    ///
    /// LiteLLM resets the spend only if the member's row has the duration, counted from the time of joining
    /// (`_resolve_member_budget_id`, 1.110.2).
    fn plan_member_budgets(&self, plan: &mut Plan, current: &Current) {
        let resets = plan.add_to_teams.iter().filter_map(|group| {
            let duration = current.member_budget_durations.get(group)?.as_ref().filter(|text| !text.is_empty())?;
            let next = duration.parse::<BudgetDuration>().ok().map(|duration| duration.next_reset(self.now));
            Some((*group, BudgetReset { budget_duration: duration.clone(), budget_reset_at: next }))
        });
        plan.member_budgets = resets.collect();
    }

    /// Notes other rows of the same user, and unknown lists.
    fn note_others(&self, plan: &mut Plan, current: &Current) {
        let own = plan.user_id.clone();
        if !current.same_email.is_empty() {
            plan.notes.push(Note::SameEmail { own: own.clone(), user_ids: current.same_email.clone() });
        }
        if !current.same_sso_user_id.is_empty() {
            plan.notes.push(Note::SameSsoUserId { own, user_ids: current.same_sso_user_id.clone() });
        }
        if let Some(GroupList::Unknown(unknown)) = &self.directory.assigned {
            plan.notes.push(Note::AssignedGroupsUnknown { code: unknown.code.clone() });
        }
        if let GroupList::Unknown(unknown) = &self.directory.member_of {
            plan.notes.push(Note::MemberOfUnknown { code: unknown.code.clone() });
        }
    }
}

/// The organization of a group's team, if it is not the group's own.
fn other_organization(current: &Current, group: GroupId) -> Option<&String> {
    current.teams.get(&group)?.as_ref().filter(|id| **id != group.to_string())
}

/// Organizations of the effective groups, with the user's role in each.
///
/// In a group's own organization the user has `role`. A team that was moved to another organization shares it with
/// other teams, so its members do not become administrators there.
fn effective_organizations(current: &Current, effective: &[GroupId], role: UserRole) -> BTreeMap<String, UserRole> {
    let others = effective.iter().filter_map(|group| other_organization(current, *group));
    let mut roles: BTreeMap<String, UserRole> =
        others.map(|id| (id.clone(), role.min(UserRole::InternalUser))).collect();
    roles.extend(effective.iter().map(|group| (group.to_string(), role)));
    roles
}

/// Compares models as sets, because LiteLLM's pages reorder them.
fn same_models(one: &[String], other: &[String]) -> bool {
    one.iter().collect::<BTreeSet<_>>() == other.iter().collect()
}

/// Organization of a new team.
#[derive(Clone, Copy)]
enum TeamParent<'a> {
    /// No organization of its own.
    Default,
    /// An organization with the group's ID, created in the same plan.
    New(GroupId),
    /// An existing organization with the group's ID and its models; `None` if they are unreadable.
    Existing(GroupId, Option<&'a Vec<String>>),
}

/// Key of the user's row: the existing one, else the object ID.
fn user_id(current: &Current, entra_user: &EntraUser) -> Redacted {
    let object_id = || Redacted::from(entra_user.identity.object_id.to_string());
    current.user.as_ref().map_or_else(object_id, |user| user.user_id.clone())
}

impl Plan {
    /// Whether nothing is written. Notes do not count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.creates()
            && self.team_models.is_empty()
            && !self.writes_user()
            && !self.removes()
            && self.restore_keys.is_empty()
    }

    /// Whether the user's own rows are written.
    #[must_use]
    pub fn writes_user(&self) -> bool {
        self.user.is_some()
            || !self.add_to_organizations.is_empty()
            || !self.organization_roles.is_empty()
            || !self.add_to_teams.is_empty()
            || !self.sources.is_empty()
            || !self.forget_teams.is_empty()
    }

    /// Whether memberships are removed.
    #[must_use]
    pub fn removes(&self) -> bool {
        !self.remove_from_teams.is_empty() || !self.remove_from_organizations.is_empty()
    }

    /// Whether an administrator of a team or organization is removed.
    #[must_use]
    pub fn removes_admin(&self) -> bool {
        let removals = self.remove_from_teams.values().chain(self.remove_from_organizations.values());
        removals.filter_map(|removal| removal.role.as_deref()).any(|role| role == "admin" || role == "org_admin")
    }

    /// Whether organizations or teams are created, which other sign-ins may be doing at the same time.
    #[must_use]
    pub fn creates(&self) -> bool {
        !self.organizations.is_empty() || !self.teams.is_empty()
    }
}

impl Directory {
    /// The groups whose state the plan needs, in order: the assigned ones, else the effective ones.
    #[must_use]
    pub fn group_ids(&self) -> Vec<GroupId> {
        match &self.assigned {
            Some(GroupList::Known(assigned)) => assigned.keys().copied().collect(),
            _ => self.effective_groups(),
        }
    }

    /// The groups that count for this user, in order: assigned to the app, and the user is a member.
    ///
    /// Without a service principal, all of the user's groups. None if one of the lists is unknown.
    #[must_use]
    pub fn effective_groups(&self) -> Vec<GroupId> {
        match (&self.assigned, &self.member_of) {
            (None, GroupList::Known(member_of)) => member_of.keys().copied().collect(),
            (Some(GroupList::Known(assigned)), GroupList::Known(member_of)) => {
                member_of.keys().filter(|group| assigned.contains_key(group)).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether the user is certainly not in this group although it is assigned: both lists are known, and only the
    /// assigned one contains it. Without a service principal, all groups count as assigned.
    #[must_use]
    pub fn has_left(&self, group: GroupId) -> bool {
        match (&self.assigned, &self.member_of) {
            (None, GroupList::Known(member_of)) => !member_of.contains_key(&group),
            (Some(GroupList::Known(assigned)), GroupList::Known(member_of)) => {
                assigned.contains_key(&group) && !member_of.contains_key(&group)
            }
            _ => false,
        }
    }

    /// Why a list is unknown, if one is.
    #[must_use]
    pub fn unknown(&self) -> Option<&Unknown> {
        match (&self.assigned, &self.member_of) {
            (Some(GroupList::Unknown(unknown)), _) | (_, GroupList::Unknown(unknown)) => Some(unknown),
            _ => None,
        }
    }

    /// Whether the user is in an assigned group; `None` if a list is unknown.
    #[must_use]
    pub fn in_assigned_group(&self) -> Option<bool> {
        match (&self.assigned, &self.member_of) {
            (Some(GroupList::Unknown(_)), _) | (_, GroupList::Unknown(_)) => None,
            // If no groups can be assigned, no user is in an assigned one.
            _ => Some(self.assigned.is_some() && !self.effective_groups().is_empty()),
        }
    }
}
