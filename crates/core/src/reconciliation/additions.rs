//! Memberships that a run may add: users of complete groups who have signed in before.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Reconciler;
use super::types::{ServicePrincipalState, TenantSnapshot};
use crate::domain::{GroupId, Identity, ObjectId};
use crate::entra_facts::{AccountState, MemberList};
use crate::plan::{Directory, GroupList, Groups};

/// A user who is in an assigned group, and in whose managed memberships the group's team is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Addition {
    /// The group, and so its team.
    pub group: GroupId,
    /// Name of the group.
    pub name: Option<String>,
    pub user: ObjectId,
    pub user_name: Option<String>,
    #[serde(skip)]
    pub identity: Identity,
}

impl Reconciler<'_> {
    /// The memberships that could be missing, in the order of users and groups. Manual memberships are among them: the
    /// database knows which users are in the team already.
    ///
    /// Only users who have signed in, and only groups whose member list is complete: an incomplete list adds nothing. Accounts
    /// that are known to be disabled are left out.
    #[must_use]
    pub fn additions(&self) -> Vec<Addition> {
        let mut additions = Vec::new();
        for (tenant_id, tenant) in self.snapshot {
            for (group, name, members) in complete_groups(tenant) {
                let managed = self.managed_in(group);
                let missing = members.iter().filter(|user| !managed.contains(user));
                additions.extend(missing.filter_map(|user| {
                    let stored = self.stored.users.get(user)?;
                    let known = stored.identity.tenant_id == *tenant_id && !is_disabled(tenant, *user);
                    known.then(|| Addition {
                        group,
                        name: name.cloned(),
                        user: *user,
                        user_name: stored.name.clone(),
                        identity: stored.identity,
                    })
                }));
            }
        }
        additions.sort_by_key(|addition| (addition.user, addition.group));
        additions
    }

    fn managed_in(&self, group: GroupId) -> BTreeSet<ObjectId> {
        let team = self.stored.teams.get(&group.to_string());
        team.map(|team| team.members.iter().map(|member| member.user).collect()).unwrap_or_default()
    }
}

/// What Entra says of one user, as far as it adds memberships: the groups of these additions.
#[must_use]
pub fn directory_of(additions: &[Addition]) -> Directory {
    let groups: Groups = additions.iter().map(|addition| (addition.group, addition.name.clone())).collect();
    Directory { assigned: Some(GroupList::Known(groups.clone())), member_of: GroupList::Known(groups) }
}

/// Assigned groups with complete member lists. None without a service principal: then all groups of Entra would count.
fn complete_groups(tenant: &TenantSnapshot) -> impl Iterator<Item = (GroupId, Option<&String>, &[ObjectId])> {
    let assigned: Option<&BTreeMap<_, _>> = match (&tenant.service_principal, &tenant.assigned) {
        (ServicePrincipalState::Exists, GroupList::Known(assigned)) => Some(assigned),
        _ => None,
    };
    assigned.into_iter().flatten().filter_map(|(group, name)| match tenant.members.get(group)? {
        MemberList::Complete(members) => Some((*group, name.as_ref(), members.as_slice())),
        MemberList::Gone | MemberList::Unknown(_) => None,
    })
}

fn is_disabled(tenant: &TenantSnapshot, user: ObjectId) -> bool {
    matches!(
        tenant.accounts.get(&user),
        Some(AccountState::Disabled | AccountState::SoftDeleted | AccountState::Deleted)
    )
}
