//! The plan of a reconciliation: what it removes, what it keeps, and what it cannot compare.

mod accounts;
mod breaker;
mod causes;
mod gate;
mod guards;
mod incomplete;
mod properties;

use std::collections::BTreeMap;

use entraway::domain::{GroupId, Identity, ObjectId, TenantId};
use entraway::entra_facts::{AccountState, MemberList, Members};
use entraway::plan::{GroupList, Unknown, source};
use entraway::policy::Policy;
use entraway::reconciliation::{
    Cause, Gate, KeptBecause, Reconciler, ReconciliationPlan, ServicePrincipalState, Snapshot, StoredMember,
    StoredMemberships, StoredOrganization, StoredTeam, StoredUser, TenantSnapshot,
};
use uuid::Uuid;

use super::generate::{group, identity};

const OWN: &str = "own-installation";
const OTHER: &str = "another-installation";

fn tenant() -> TenantId {
    identity().tenant_id
}

fn user(n: u8) -> ObjectId {
    ObjectId::from(Uuid::from_u128(0x4100 + u128::from(n)))
}

fn failed(code: &str) -> Unknown {
    Unknown { code: code.to_owned(), message: "Graph did not answer".to_owned() }
}

/// A store and Entra's answers, in one tenant.
#[derive(Clone, Debug)]
struct Scene {
    facts: TenantSnapshot,
    stored: StoredMemberships,
    policy: Policy,
    gate: Gate,
}

impl Scene {
    fn new() -> Self {
        Self {
            facts: TenantSnapshot {
                service_principal: ServicePrincipalState::Exists,
                assigned: GroupList::Known(BTreeMap::new()),
                groups: BTreeMap::new(),
                members: BTreeMap::new(),
                accounts: BTreeMap::new(),
            },
            stored: StoredMemberships::default(),
            policy: Policy { client_id: OWN.to_owned(), ..Policy::default() },
            gate: Gate::default(),
        }
    }

    /// Adds a group that is assigned to the app, with these members in the store and in Entra.
    fn with_group(mut self, number: u8, stored: &[u8], listed: &[u8]) -> Self {
        self.assign(group(number));
        let users: Vec<ObjectId> = listed.iter().map(|n| user(*n)).collect();
        self.facts.members.insert(group(number), MemberList::Complete(Members::from(users)));
        let team = group(number).to_string();
        self.stored.teams.entry(team.clone()).or_default();
        for n in stored {
            self.put(&team, *n, vec![source(OWN, group(number))]);
        }
        self
    }

    fn assign(&mut self, group: GroupId) {
        if let GroupList::Known(assigned) = &mut self.facts.assigned {
            assigned.insert(group, None);
        }
    }

    fn unassign(&mut self, group: GroupId) {
        if let GroupList::Known(assigned) = &mut self.facts.assigned {
            assigned.remove(&group);
        }
        self.facts.members.remove(&group);
    }

    /// Adds a managed membership of a user whose account is enabled.
    fn put(&mut self, team: &str, n: u8, sources: Vec<String>) {
        self.know(n);
        let member = StoredMember { user: user(n), is_admin: false, sources, teams: vec![] };
        self.stored.teams.entry(team.to_owned()).or_default().members.push(member);
    }

    fn know(&mut self, n: u8) {
        let identity = Identity { tenant_id: tenant(), object_id: user(n) };
        self.stored.users.insert(user(n), StoredUser { identity, name: None });
        self.facts.accounts.entry(user(n)).or_insert(AccountState::Enabled);
    }

    fn team(&mut self, number: u8) -> &mut StoredTeam {
        self.stored.teams.get_mut(&group(number).to_string()).unwrap()
    }

    /// Makes a member, or a user without a managed membership, an administrator of a team.
    fn make_admin(&mut self, number: u8, n: u8) {
        self.know(n);
        let team = self.team(number);
        team.admins.insert(user(n));
        for member in team.members.iter_mut().filter(|member| member.user == user(n)) {
            member.is_admin = true;
        }
    }

    /// Adds a managed organization membership of a user in these teams of the organization.
    fn put_in_organization(&mut self, organization: &str, n: u8, teams: &[String]) {
        let member = StoredMember { user: user(n), is_admin: false, sources: vec![], teams: teams.to_vec() };
        let stored: &mut StoredOrganization = self.stored.organizations.entry(organization.to_owned()).or_default();
        stored.members.push(member);
    }

    fn plan(&self) -> ReconciliationPlan {
        let snapshot = Snapshot::from([(tenant(), self.facts.clone())]);
        let Self { stored, policy, gate, .. } = self;
        Reconciler { snapshot: &snapshot, stored, policy, gate }.plan()
    }

    /// The removals: kind, target, user and cause.
    fn removals(&self) -> Vec<(&'static str, String, ObjectId, Cause)> {
        let changes = self.plan().changes;
        changes.into_iter().map(|change| (change.target.kind, change.target.id, change.user, change.cause)).collect()
    }

    /// Why memberships are kept.
    fn kept(&self) -> Vec<(ObjectId, KeptBecause)> {
        self.plan().kept.into_iter().map(|kept| (kept.user, kept.because)).collect()
    }
}
