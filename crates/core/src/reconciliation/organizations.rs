//! Memberships in organizations that end (rule 14).

use std::collections::BTreeSet;

use super::breaker::Counts;
use super::incomplete::IncompleteGroups;
use super::standing::{Standing, is_assigned};
use super::types::{Cause, Evidence, ReconciliationPlan, StoredMember, StoredOrganization, StoredUser, Target};
use super::{Ended, Incomplete, Reconciler, kept_member};
use crate::domain::{GroupId, ObjectId};
use crate::plan::removals::own_groups;

impl Reconciler<'_> {
    /// Rule 14: an organization membership ends if the user has no other membership in the organization, and left a team in
    /// it or its group. `left`: the removed team memberships.
    pub(super) fn plan_organization(
        &self,
        plan: &mut ReconciliationPlan,
        counts: &mut Counts,
        unknown: &mut IncompleteGroups,
        id: &str,
        organization: &StoredOrganization,
        left: &BTreeSet<(ObjectId, &str)>,
    ) {
        let target = Target { kind: "organization", id: id.to_owned(), name: organization.name.clone() };
        let mut ended = Vec::new();
        // Members whose own group is complete, which the limits count.
        let mut counted = BTreeSet::new();
        for member in &organization.members {
            let Some(user) = self.stored.users.get(&member.user) else { continue };
            // An organization membership has no source. Only an assigned group shows that it was this installation's.
            let own = id.parse::<GroupId>().ok().map(|group| (group, self.standing(user, group)));
            let has_team = !member.teams.is_empty();
            if own.as_ref().is_some_and(|(_, standing)| is_complete(standing)) {
                counts.compare_in_organization(id, has_team);
                plan.compared_without_team += usize::from(!has_team);
                counted.insert(member.user);
            }
            if !member.teams.iter().all(|team| left.contains(&(member.user, team.as_str()))) {
                continue;
            }
            // The own group if the user left it; `None` if only the user's teams show whether the membership ends.
            let own = match own {
                None => None,
                Some((_, Standing::Member)) => continue,
                Some((group, standing @ Standing::Ended(..))) => is_complete(&standing).then_some(group),
                Some((group, Standing::Kept(reason))) => {
                    counts.not_given_in_organization(id, has_team, Some(&reason));
                    plan.kept.push(kept_member(&target, user, reason, Some(group), None));
                    continue;
                }
                Some((_, Standing::Incomplete(Incomplete::NotRead))) if has_team => None,
                Some((group, Standing::Incomplete(reason))) => {
                    if reason != Incomplete::NotRead || self.is_assigned_to(user, group) {
                        unknown.add(group, &reason, id, member.user);
                    }
                    continue;
                }
            };
            let Some(group) = own.or_else(|| self.first_group(member)) else { continue };
            if counted.contains(&member.user) {
                counts.not_given_in_organization(id, has_team, None);
            }
            ended.push(Ended { user, member, cause: Cause::LastTeamLeft, group, evidence: Evidence::Organization });
        }
        let (removed, kept) = self.guarded(&ended, &organization.admins);
        plan.kept.extend(kept.into_iter().map(|(ended, reason)| ended.kept(&target, reason.into())));
        for ended in removed {
            if counted.contains(&ended.member.user) {
                counts.remove_in_organization(id, !ended.member.teams.is_empty());
            }
            plan.changes.push(ended.change(&target));
        }
    }

    /// The group of the first team that the user left in an organization.
    fn first_group(&self, member: &StoredMember) -> Option<GroupId> {
        let team = member.teams.first()?;
        let stored = self.stored.teams.get(team)?.members.iter().find(|other| other.user == member.user)?;
        own_groups(&self.policy.client_id, team, &stored.sources).first().copied()
    }

    fn is_assigned_to(&self, user: &StoredUser, group: GroupId) -> bool {
        self.snapshot.get(&user.identity.tenant_id).is_some_and(|tenant| is_assigned(tenant, group))
    }
}

/// Whether the group is assigned, and its members and the user's account are known well enough to compare.
fn is_complete(standing: &Standing) -> bool {
    match standing {
        Standing::Member | Standing::Kept(_) => true,
        Standing::Ended(cause, _) => matches!(cause, Cause::LeftGroup | Cause::AccountDeleted),
        Standing::Incomplete(_) => false,
    }
}
