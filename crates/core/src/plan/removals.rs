//! Memberships that end because the user left the group that gave them (rules 11, 12, 14, 15 and 16).

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use super::types::{Current, KeptReason, ManagedTeam, Note, Plan, Removal, RemovalCause, source};
use crate::domain::{GroupId, Identity, UserRole};
use crate::policy::{MembershipSync, Policy};

impl Planner<'_> {
    /// Plans the removals of this sign-in, after its additions. `effective`: organizations of the effective groups.
    pub(super) fn plan_removals(&self, plan: &mut Plan, current: &Current, effective: &BTreeMap<String, UserRole>) {
        if self.directory.unknown().is_some() {
            return;
        }
        let gone = current.managed_teams.iter().filter(|(_, managed)| !managed.present);
        plan.forget_teams = gone.map(|(team, _)| team.clone()).collect();
        plan_keys(plan, current);
        if self.policy.memberships == MembershipSync::Additive {
            return;
        }
        for (team, managed) in current.managed_teams.iter().filter(|(_, managed)| managed.present) {
            self.plan_team(plan, current, team, managed);
        }
        for (id, managed) in &current.managed_organizations {
            // A team that stays in the organization, or that the user was just added to, keeps the membership.
            let added = plan.add_to_teams.iter().any(|group| organization_of(current, *group) == Some(id));
            let stays = managed.teams.iter().any(|team| !plan.remove_from_teams.contains_key(team));
            // Without a team, a group's organization shows only that the user is not in the group.
            let unproven = managed.teams.is_empty() && id.parse().is_ok_and(|group| !self.directory.has_left(group));
            if added || stays || unproven || effective.contains_key(id) {
                continue;
            }
            let role = current.organization_members.get(id).and_then(|member| member.user_role.clone());
            if let Some(reason) = self.guard(current, managed.last_admin) {
                plan.notes.push(Note::RemovalKept { kind: "organization", id: id.clone(), reason });
            } else {
                let name = managed.organization_alias.clone();
                let removal = Removal { cause: RemovalCause::LastTeamLeft, name, role };
                plan.remove_from_organizations.insert(id.clone(), removal);
            }
        }
    }

    /// Plans one managed team membership. With several sources, it ends with the last one.
    fn plan_team(&self, plan: &mut Plan, current: &Current, team: &str, managed: &ManagedTeam) {
        let groups = own_groups(&self.policy.client_id, team, &managed.sources);
        let Some(left) = groups.iter().find(|group| self.directory.has_left(**group)) else {
            if groups.is_empty() && team.parse().is_ok_and(|group| self.directory.has_left(group)) {
                let reason = KeptReason::OtherInstallation;
                plan.notes.push(Note::RemovalKept { kind: "team", id: team.to_owned(), reason });
            }
            self.plan_source(plan, team, managed);
            return;
        };
        let mut sources = managed.sources.clone();
        for group in groups.iter().filter(|group| self.directory.has_left(**group)) {
            sources.remove(&source(&self.policy.client_id, *group));
        }
        if !sources.is_empty() {
            plan.sources.insert(team.to_owned(), sources);
            return;
        }
        if let Some(reason) = self.guard(current, managed.last_admin) {
            plan.notes.push(Note::RemovalKept { kind: "team", id: team.to_owned(), reason });
        } else {
            let (name, role) = (managed.team_alias.clone(), Some(managed.role.clone()));
            let removal = Removal { cause: RemovalCause::LeftGroup(*left), name, role };
            plan.remove_from_teams.insert(team.to_owned(), removal);
        }
    }

    /// Adds this installation to the sources of a membership that another one gave and that this one gives, too.
    fn plan_source(&self, plan: &mut Plan, team: &str, managed: &ManagedTeam) {
        let Some(group) = team.parse().ok().filter(|group| self.directory.effective_groups().contains(group)) else {
            return;
        };
        let own = source(&self.policy.client_id, group);
        if !managed.sources.is_empty() && !managed.sources.contains(&own) {
            let sources = managed.sources.iter().cloned().chain([own]).collect();
            plan.sources.insert(team.to_owned(), sources);
        }
    }

    /// Why a membership must stay.
    fn guard(&self, current: &Current, last_admin: bool) -> Option<KeptReason> {
        guard(self.policy, self.entra_user.identity, current.can_remove, last_admin)
    }
}

/// The groups of this installation that gave a membership. Versions without sources gave a team only to the members of the
/// group with its ID.
pub(crate) fn own_groups<'s>(
    client_id: &str,
    team: &str,
    sources: impl IntoIterator<Item = &'s String>,
) -> BTreeSet<GroupId> {
    let mut sources = sources.into_iter().peekable();
    if sources.peek().is_none() {
        return team.parse().into_iter().collect();
    }
    let own = sources.filter_map(|text| text.split_once(':'));
    own.filter(|(id, _)| *id == client_id).filter_map(|(_, id)| id.parse().ok()).collect()
}

/// Why a membership must stay (rules 15 and 16).
pub(crate) fn guard(policy: &Policy, user: Identity, can_remove: bool, last_admin: bool) -> Option<KeptReason> {
    if policy.is_listed_admin(user) {
        Some(KeptReason::ListedAdmin)
    } else if !can_remove {
        Some(KeptReason::MissingPrivileges)
    } else {
        last_admin.then_some(KeptReason::LastAdmin)
    }
}

/// Plans the restoration of keys in teams that the user is in again, however the user returned.
pub(super) fn plan_keys(plan: &mut Plan, current: &Current) {
    let is_member = |group: &GroupId| current.team_members.contains(group) || plan.add_to_teams.contains(group);
    let returned: BTreeSet<GroupId> = current.blocked_keys.iter().copied().filter(is_member).collect();
    if current.can_restore_keys {
        plan.restore_keys = returned;
    } else {
        plan.notes.extend(returned.into_iter().map(|team| Note::KeysStayBlocked { team }));
    }
}

/// The organization of an existing team.
fn organization_of(current: &Current, group: GroupId) -> Option<&String> {
    current.teams.get(&group)?.as_ref()
}
