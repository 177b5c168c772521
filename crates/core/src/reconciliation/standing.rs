//! Whether a group still gives a user's membership, and what has to be read to tell.

use std::collections::BTreeSet;

use super::types::{
    Cause, Evidence, GroupsToRead, KeptBecause, ServicePrincipalState, Snapshot, StoredMemberships, StoredUser,
    TenantSnapshot,
};
use super::{Incomplete, Reconciler};
use crate::domain::{GroupId, ObjectId, TenantId};
use crate::entra_facts::{AccountState, GroupState, MemberList, Members};
use crate::plan::GroupList;
use crate::plan::removals::own_groups;

/// A user's standing in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Member,
    /// The group no longer gives the membership.
    Ended(Cause, Evidence),
    /// The user is not on the complete list, but that does not show that the user left.
    Kept(KeptBecause),
    Incomplete(Incomplete),
}

/// What a tenant's snapshot says about a group.
enum Finding<'a> {
    Listed(&'a Members),
    Ended(Cause, Evidence),
    Incomplete(Incomplete),
}

impl Reconciler<'_> {
    /// The user's standing in a group of the user's tenant.
    pub(super) fn standing(&self, user: &StoredUser, group: GroupId) -> Standing {
        let Some(tenant) = self.snapshot.get(&user.identity.tenant_id) else {
            return Standing::Incomplete(Incomplete::TenantNotConfigured);
        };
        let members = match finding(tenant, group) {
            Finding::Listed(members) => members,
            Finding::Ended(cause, evidence) => return Standing::Ended(cause, evidence),
            Finding::Incomplete(reason) => return Standing::Incomplete(reason),
        };
        let user = user.identity.object_id;
        if members.contains(user) {
            return Standing::Member;
        }
        let evidence = Evidence::MemberList { members: members.as_slice().len() };
        match tenant.accounts.get(&user) {
            Some(AccountState::Enabled | AccountState::Disabled) => Standing::Ended(Cause::LeftGroup, evidence),
            Some(AccountState::Deleted) => Standing::Ended(Cause::AccountDeleted, evidence),
            // Graph's lists omit soft-deleted users, whose memberships come back with a restore.
            Some(AccountState::SoftDeleted) => Standing::Kept(KeptBecause::AccountSoftDeleted),
            Some(AccountState::Unknown(unknown)) => Standing::Kept(KeptBecause::AccountUnknown(unknown.clone())),
            None => Standing::Incomplete(Incomplete::NotRead),
        }
    }
}

/// What the snapshot says about a group. A group is unassigned or deleted only if the list of assigned groups is complete
/// and does not contain it.
fn finding(tenant: &TenantSnapshot, group: GroupId) -> Finding<'_> {
    match &tenant.service_principal {
        ServicePrincipalState::Exists | ServicePrincipalState::NotConfigured => {}
        ServicePrincipalState::Missing => return Finding::Incomplete(Incomplete::ServicePrincipalMissing),
        ServicePrincipalState::NoToken(unknown) => return Finding::Incomplete(Incomplete::NoToken(unknown.clone())),
        ServicePrincipalState::Unknown(unknown) => {
            return Finding::Incomplete(Incomplete::ServicePrincipal(unknown.clone()));
        }
    }
    let assigned = match &tenant.assigned {
        GroupList::Known(assigned) => assigned,
        GroupList::Unknown(unknown) => return Finding::Incomplete(Incomplete::AssignedGroups(unknown.clone())),
    };
    if all_assigned(tenant) || assigned.contains_key(&group) {
        return match tenant.members.get(&group) {
            Some(MemberList::Complete(members)) => Finding::Listed(members),
            Some(MemberList::Gone) => Finding::Incomplete(Incomplete::AssignedButDeleted),
            Some(MemberList::Unknown(unknown)) => Finding::Incomplete(Incomplete::Members(unknown.clone())),
            None => Finding::Incomplete(Incomplete::NotRead),
        };
    }
    let evidence = Evidence::Assignments { assigned: assigned.len() };
    match tenant.groups.get(&group) {
        Some(GroupState::Exists { .. }) => Finding::Ended(Cause::GroupUnassigned, evidence),
        Some(GroupState::Gone) => Finding::Ended(Cause::GroupDeleted, evidence),
        Some(GroupState::Unknown(unknown)) => Finding::Incomplete(Incomplete::Group(unknown.clone())),
        None => Finding::Incomplete(Incomplete::NotRead),
    }
}

/// Whether all groups count as assigned.
fn all_assigned(tenant: &TenantSnapshot) -> bool {
    tenant.service_principal == ServicePrincipalState::NotConfigured
}

/// The assigned groups, and those of a tenant's managed memberships that this installation gave. Nothing if the snapshot has no complete list of
/// assigned groups: then no group can be compared.
#[must_use]
pub fn groups_to_read(
    stored: &StoredMemberships,
    client_id: &str,
    tenant: TenantId,
    snapshot: &TenantSnapshot,
) -> GroupsToRead {
    let mut groups = GroupsToRead::default();
    let comparable =
        matches!(snapshot.service_principal, ServicePrincipalState::Exists | ServicePrincipalState::NotConfigured);
    let GroupList::Known(assigned) = &snapshot.assigned else { return groups };
    if !comparable {
        return groups;
    }
    let is_assigned = |group: &GroupId| all_assigned(snapshot) || assigned.contains_key(group);
    // Users who have signed in are added to the teams of all assigned groups.
    groups.members.extend(assigned.keys());
    let in_tenant = |user: &ObjectId| stored.users.get(user).is_some_and(|user| user.identity.tenant_id == tenant);
    for (id, team) in &stored.teams {
        for member in team.members.iter().filter(|member| in_tenant(&member.user)) {
            for group in own_groups(client_id, id, &member.sources) {
                if is_assigned(&group) {
                    groups.members.insert(group)
                } else {
                    groups.states.insert(group)
                };
            }
        }
    }
    for (id, organization) in &stored.organizations {
        let group = id.parse().ok().filter(|group| is_assigned(group));
        if organization.members.iter().any(|member| in_tenant(&member.user)) {
            groups.members.extend(group);
        }
    }
    groups
}

/// The accounts in a tenant whose state the plan depends on: users missing from a complete list, and the administrators of
/// their teams and organizations.
#[must_use]
pub fn accounts_to_read(
    stored: &StoredMemberships,
    client_id: &str,
    tenant: TenantId,
    snapshot: &Snapshot,
) -> BTreeSet<ObjectId> {
    let mut accounts = BTreeSet::new();
    let Some(facts) = snapshot.get(&tenant) else { return accounts };
    let in_tenant = |user: &ObjectId| stored.users.get(user).is_some_and(|user| user.identity.tenant_id == tenant);
    let is_absent = |user: ObjectId, group: GroupId| match finding(facts, group) {
        Finding::Listed(members) => !members.contains(user),
        Finding::Ended(..) => true,
        Finding::Incomplete(_) => false,
    };
    for (id, team) in &stored.teams {
        let absent: Vec<_> = team
            .members
            .iter()
            .filter(|member| in_tenant(&member.user))
            .filter(|member| {
                own_groups(client_id, id, &member.sources).iter().any(|group| is_absent(member.user, *group))
            })
            .collect();
        if absent.iter().any(|member| member.is_admin) {
            accounts.extend(team.admins.iter().copied().filter(in_tenant));
        }
        accounts.extend(absent.iter().map(|member| member.user));
    }
    for (id, organization) in &stored.organizations {
        let group: Option<GroupId> = id.parse().ok();
        let members = || organization.members.iter().filter(|member| in_tenant(&member.user));
        let absent: BTreeSet<ObjectId> = members()
            .map(|member| member.user)
            .filter(|user| accounts.contains(user) || group.is_some_and(|group| is_absent(*user, group)))
            .collect();
        if members().any(|member| member.is_admin && absent.contains(&member.user)) {
            accounts.extend(organization.admins.iter().copied().filter(in_tenant));
        }
        accounts.extend(absent);
    }
    accounts
}
