//! Compares all managed memberships with Entra and plans their removal. Pure: no I/O, no clock, no errors.
//!
//! The same rules as at a sign-in (`plan/removals.rs`), for users who do not sign in, for groups that are no longer assigned,
//! and for deleted groups and accounts. Unknown is never empty: an incomplete group removes no membership.

mod accounts;
mod additions;
mod breaker;
mod incomplete;
mod plan_hash;
mod removals;
mod standing;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{GroupId, ObjectId};
use crate::entra_facts::AccountState;
use crate::plan::KeptReason;
use crate::plan::removals::{guard, own_groups};
use crate::policy::Policy;

use standing::Standing;

pub use accounts::{
    AccountAction, AccountChange, AccountOutcome, DisabledAccount, DisabledCause, StoredAccounts, account_events,
    accounts_to_check, lowered_role, plan_accounts,
};
pub use additions::{Addition, directory_of};
pub use breaker::{Limits, Tripped};
pub use incomplete::Incomplete;
pub use plan_hash::{InvalidPlanHash, PlanHash};
pub use removals::{MemberRemoval, TargetRemovals};
pub use standing::{accounts_to_read, groups_to_read};
pub use types::{
    Cause, Change, Evidence, GroupsToRead, IncompleteGroup, Kept, KeptBecause, ReconciliationPlan,
    ServicePrincipalState, Snapshot, StoredMember, StoredMemberships, StoredOrganization, StoredTeam, StoredUser,
    Target, TenantSnapshot,
};

/// Input of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Reconciler<'a> {
    pub snapshot: &'a Snapshot,
    pub stored: &'a StoredMemberships,
    pub policy: &'a Policy,
    pub limits: Limits,
}

/// A membership that no source gives any longer, before the guards.
struct Ended<'a> {
    user: &'a StoredUser,
    member: &'a StoredMember,
    cause: Cause,
    group: GroupId,
    evidence: Evidence,
}

impl Reconciler<'_> {
    /// Plans all removals, in the order of teams, organizations and users.
    ///
    /// `sync.memberships` is not considered: the plan shows what `follow` removes, also before it is switched on.
    #[must_use]
    pub fn plan(&self) -> ReconciliationPlan {
        let mut plan = ReconciliationPlan::default();
        let mut counts = breaker::Counts::default();
        let mut left = BTreeSet::new();
        let mut unknown = BTreeMap::new();
        for (id, team) in &self.stored.teams {
            let target = Target { kind: "team", id: id.clone(), name: team.name.clone() };
            let ended = self.ended_in_team(&mut plan, &mut counts, &mut unknown, &target, team);
            let (removed, kept) = self.guarded(&ended, &team.admins);
            for (ended, reason) in kept {
                plan.kept.push(ended.kept(&target, reason.into()));
            }
            for ended in removed {
                left.insert((ended.member.user, id.as_str()));
                plan.changes.push(ended.change(&target));
            }
        }
        for (id, organization) in &self.stored.organizations {
            self.plan_organization(&mut plan, id, organization, &left);
        }
        let name = |group: GroupId| self.stored.teams.get(&group.to_string())?.name.clone();
        let incomplete =
            unknown.into_iter().map(|(group, reason)| IncompleteGroup { group, name: name(group), reason });
        plan.incomplete = incomplete.collect();
        breaker::apply(self, &mut plan, &counts);
        plan
    }

    /// The memberships of a team that no source gives any longer. Notes incomplete groups, and what else is kept.
    fn ended_in_team<'s>(
        &'s self,
        plan: &mut ReconciliationPlan,
        counts: &mut breaker::Counts,
        unknown: &mut BTreeMap<GroupId, Incomplete>,
        target: &Target,
        team: &'s StoredTeam,
    ) -> Vec<Ended<'s>> {
        let mut all_ended = Vec::new();
        for member in &team.members {
            let Some(user) = self.stored.users.get(&member.user) else { continue };
            let groups = own_groups(&self.policy.client_id, &target.id, &member.sources);
            let standings: Vec<(GroupId, Standing)> =
                groups.iter().map(|group| (*group, self.standing(user, *group))).collect();
            let mut incomplete = false;
            for (group, standing) in &standings {
                if let Standing::Incomplete(reason) = standing {
                    incomplete = true;
                    unknown.entry(*group).or_insert_with(|| reason.clone());
                }
            }
            if standings.is_empty() || incomplete {
                continue;
            }
            plan.compared += 1;
            counts.compare(&groups);
            let mut ended = Vec::new();
            let mut kept = None;
            for (group, standing) in standings {
                match standing {
                    Standing::Ended(cause, evidence) => ended.push(Ended { user, member, cause, group, evidence }),
                    Standing::Kept(reason) => kept = Some((group, reason)),
                    Standing::Member | Standing::Incomplete(_) => {}
                }
            }
            let all = ended.len() == groups.len();
            let Some(first) = ended.into_iter().next() else {
                if let Some((group, reason)) = kept {
                    plan.kept.push(kept_member(target, user, reason, Some(group), None));
                }
                continue;
            };
            let other = member.sources.iter().any(|text| !is_own(&self.policy.client_id, text));
            if all && other {
                plan.kept.push(first.kept(target, KeptBecause::OtherInstallation));
            } else if all {
                counts.end(first.group);
                all_ended.push(first);
            }
        }
        all_ended
    }

    /// Splits ended memberships into those to remove and those that a guard keeps (rule 16). `admins`: all
    /// administrators of the team or organization who have signed in.
    fn guarded<'e, 's>(
        &self,
        ended: &'e [Ended<'s>],
        admins: &BTreeSet<ObjectId>,
    ) -> (Vec<&'e Ended<'s>>, Vec<(&'e Ended<'s>, KeptReason)>) {
        let can_remove = self.stored.missing_privileges.is_empty();
        let guard = |ended: &Ended<'_>, last| guard(self.policy, ended.user.identity, can_remove, last);
        let (kept, removed): (Vec<_>, Vec<_>) = ended.iter().partition(|ended| guard(ended, false).is_some());
        let leaving: BTreeSet<ObjectId> = removed.iter().map(|ended| ended.member.user).collect();
        let stays = admins.iter().any(|user| !leaving.contains(user) && self.is_enabled(*user) == Some(true));
        // Of administrators who would all go at once, the first one whose account may be enabled stays.
        let last = removed
            .iter()
            .map(|ended| ended.member.user)
            .filter(|user| admins.contains(user) && !stays)
            .filter_map(|user| Some((self.is_enabled(user) != Some(true), user)).filter(|_| self.may_be_enabled(user)))
            .min()
            .map(|(_, user)| user);
        let (last, removed): (Vec<_>, Vec<_>) = removed.into_iter().partition(|ended| Some(ended.member.user) == last);
        let kept = kept.into_iter().map(|ended| (ended, false)).chain(last.into_iter().map(|ended| (ended, true)));
        let kept = kept.filter_map(|(ended, last)| Some((ended, guard(ended, last)?))).collect();
        (removed, kept)
    }

    /// Rule 14: an organization membership ends if the user has no other membership in the organization, and left a team in
    /// it or its group. `left`: the removed team memberships.
    fn plan_organization(
        &self,
        plan: &mut ReconciliationPlan,
        id: &str,
        organization: &StoredOrganization,
        left: &BTreeSet<(ObjectId, &str)>,
    ) {
        let target = Target { kind: "organization", id: id.to_owned(), name: organization.name.clone() };
        let mut ended = Vec::new();
        for member in &organization.members {
            let Some(user) = self.stored.users.get(&member.user) else { continue };
            let is_left = |team: &String| left.contains(&(member.user, team.as_str()));
            if !member.teams.iter().all(is_left) {
                continue;
            }
            // An organization membership has no source. Only an assigned group shows that it was this installation's.
            let own = id.parse::<GroupId>().ok().map(|group| (group, self.standing(user, group)));
            let (group, left_group) = match own {
                Some((group, Standing::Ended(Cause::LeftGroup | Cause::AccountDeleted, _))) => (Some(group), true),
                None | Some((_, Standing::Ended(..))) => (None, false),
                Some((_, Standing::Incomplete(Incomplete::NotRead))) if !member.teams.is_empty() => (None, false),
                Some(_) => continue,
            };
            if left_group || !member.teams.is_empty() {
                let group = group.or_else(|| self.first_group(member));
                let Some(group) = group else { continue };
                let evidence = Evidence::Organization;
                ended.push(Ended { user, member, cause: Cause::LastTeamLeft, group, evidence });
            }
        }
        let (removed, kept) = self.guarded(&ended, &organization.admins);
        plan.kept.extend(kept.into_iter().map(|(ended, reason)| ended.kept(&target, reason.into())));
        plan.changes.extend(removed.into_iter().map(|ended| ended.change(&target)));
    }

    /// The group of the first team that the user left in an organization.
    fn first_group(&self, member: &StoredMember) -> Option<GroupId> {
        let team = member.teams.first()?;
        let stored = self.stored.teams.get(team)?.members.iter().find(|other| other.user == member.user)?;
        own_groups(&self.policy.client_id, team, &stored.sources).first().copied()
    }

    fn account(&self, user: ObjectId) -> Option<&AccountState> {
        let tenant = self.stored.users.get(&user)?.identity.tenant_id;
        self.snapshot.get(&tenant)?.accounts.get(&user)
    }

    /// Whether the account is enabled; `None` if that is unknown.
    fn is_enabled(&self, user: ObjectId) -> Option<bool> {
        match self.account(user)? {
            AccountState::Enabled => Some(true),
            AccountState::Disabled | AccountState::SoftDeleted | AccountState::Deleted => Some(false),
            AccountState::Unknown(_) => None,
        }
    }

    fn may_be_enabled(&self, user: ObjectId) -> bool {
        self.is_enabled(user) != Some(false)
    }
}

impl Ended<'_> {
    fn change(&self, target: &Target) -> Change {
        Change {
            target: target.clone(),
            user: self.user.identity.object_id,
            user_name: self.user.name.clone(),
            is_admin: self.member.is_admin,
            cause: self.cause,
            group: self.group,
            evidence: self.evidence,
            held: false,
        }
    }

    fn kept(&self, target: &Target, because: KeptBecause) -> Kept {
        kept_member(target, self.user, because, Some(self.group), Some(self.cause))
    }
}

fn kept_member(
    target: &Target,
    user: &StoredUser,
    because: KeptBecause,
    group: Option<GroupId>,
    cause: Option<Cause>,
) -> Kept {
    let (id, user_name) = (user.identity.object_id, user.name.clone());
    Kept { target: target.clone(), user: id, user_name, because, group, cause }
}

/// Whether this installation is the source.
fn is_own(client_id: &str, source: &str) -> bool {
    source.split_once(':').is_some_and(|(id, _)| id == client_id)
}

/// Memberships by group, for the circuit breaker.
type ByGroup = BTreeMap<GroupId, usize>;
