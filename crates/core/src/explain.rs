//! Explains a user's memberships, and why others are missing.
//!
//! A pure function of the stored state, Entra's last answer and the policy. Must agree with [`crate::plan`].

mod facts;
mod messages;
mod report;
mod team;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::domain::{Identity, StoreKind, UserRole};
use crate::policy::Policy;

use messages::{disabled_message, in_other_organization, list_message, removal_message};

pub use facts::{
    DisabledFacts, Facts, FailureFacts, GroupFacts, Kind, KnownTeam, ListFacts, ListState, MemberFacts,
    OrganizationFacts, Outcome, Places, ReadingFacts, RemovalFacts, RunFacts, Source, TeamFacts, TeamOrigin, UserFacts,
};
pub use report::{
    AccountReport, Explanation, GroupReport, ListReport, MembershipReport, MembershipWhy, Message, OrganizationVerdict,
    Readings, RemovalReport, RoleReport, RoleWhy, SignIn, SignInReport, Standalone, UserReport, Verdict,
};
pub use team::{Answer, Case, TeamFinding, explain_team};

/// Rules and options of an explanation.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub policy: &'a Policy,
    pub store: StoreKind,
    /// `sync.nested_groups`.
    pub nested_groups: bool,
    /// Whether an operator reads it; only operators see database messages.
    pub for_operator: bool,
}

/// Explains a user.
#[must_use]
pub fn explain(facts: &Facts, rules: Rules<'_>) -> Explanation {
    let explainer = Explainer::new(facts, rules);
    let user = &facts.user;
    Explanation {
        person: UserReport {
            user_id: user.user_id.clone(),
            object_id: user.object_id.clone(),
            tenant_id: user.tenant_id.clone(),
            email: user.email.clone(),
            name: user.name.clone(),
        },
        account: facts.disabled.map(|DisabledFacts { cause, since }| AccountReport {
            cause,
            since,
            message: disabled_message(cause, since),
        }),
        role: role(user, rules.policy),
        sign_in: sign_in(facts),
        readings: readings(facts),
        groups: explainer.groups(),
        memberships: explainer.memberships(),
        removals: explainer.removals(),
    }
}

/// Why a team is standalone. Only operators get the database's message.
#[must_use]
pub fn standalone(origin: Option<&TeamOrigin>, organizations_on: bool, for_operator: bool) -> Standalone {
    match origin {
        Some(TeamOrigin { made_at, organization_refused: Some(why), .. }) => {
            Standalone::OrganizationRefused { at: *made_at, why: for_operator.then(|| why.clone()) }
        }
        Some(origin) if origin.organizations_on => Standalone::TakenOut { at: origin.made_at },
        Some(origin) if organizations_on => Standalone::OrganizationsWereOff { at: origin.made_at },
        None if organizations_on => Standalone::NotOurs,
        _ => Standalone::OrganizationsOff,
    }
}

/// Why a user has their role.
#[must_use]
pub fn role(user: &UserFacts, policy: &Policy) -> RoleReport {
    let default = || policy.default_role().as_str().to_owned();
    let listed = identity(user).is_some_and(|identity| policy.is_listed_admin(identity));
    let role = user.role.as_deref().map(str::trim).filter(|role| !role.is_empty());
    // Ignored if the role was set by hand since.
    let withheld = user.withheld_role.as_ref().filter(|withheld| role != Some(withheld.as_str()));
    let why = match (role, &user.sso_role) {
        _ if !user.has_row => RoleWhy::NoRow,
        _ if !user.from_here => RoleWhy::NotFromHere,
        (Some(role), Some(_)) if listed && role == UserRole::ProxyAdmin.as_str() => RoleWhy::AdminUserIds,
        _ if withheld.is_some() => RoleWhy::OperatorRoleWithheld { withheld: withheld.cloned().unwrap_or_default() },
        _ if listed => RoleWhy::AdminUserIdsPending,
        (Some(role), Some(given)) if role == given => RoleWhy::AppRole,
        (Some(role), Some(given)) if user.offered_roles.contains(role) => RoleWhy::AlsoOffered { given: given.clone() },
        (_, Some(given)) => RoleWhy::ChangedByHand { given: given.clone() },
        (Some(role), None) if role == policy.default_role().as_str() => RoleWhy::Default { default: default() },
        (_, None) => RoleWhy::SetByHand { default: default() },
    };
    RoleReport { role: role.map(str::to_owned), message: why.message(role), why }
}

/// The user's identity; `None` if it is not known.
fn identity(user: &UserFacts) -> Option<Identity> {
    let object_id = user.object_id.as_ref()?.as_str().parse().ok()?;
    Some(Identity { tenant_id: user.tenant_id.as_ref()?.parse().ok()?, object_id })
}

fn sign_in(facts: &Facts) -> SignInReport {
    let state = match &facts.newest {
        None => SignIn::Never,
        Some(RunFacts { started_at, outcome: Outcome::SignedIn, .. }) => SignIn::SignedIn { at: *started_at },
        Some(RunFacts { started_at, outcome: Outcome::Denied(denial), .. }) => {
            SignIn::Refused { at: *started_at, outcome: *denial }
        }
    };
    SignInReport { message: state.message(facts.user.has_row), state }
}

fn readings(facts: &Facts) -> Readings {
    let (newest, reading) = (facts.newest.as_ref(), facts.reading.as_ref());
    // An older list counts only if it was stored.
    let report = |list: &str, times: &ListFacts, stored: bool, state: Option<ListState>, why: Option<&String>| {
        let state = state.unwrap_or(ListState::NotRead);
        let times = ListFacts { as_of: times.as_of.filter(|_| stored), ..*times };
        let message = list_message(list, state, &times, why);
        ListReport { state, as_of: times.as_of, unknown_since: times.unknown_since, why: why.cloned(), message }
    };
    Readings {
        member_of: report(
            "The user's groups",
            &facts.member_of,
            reading.is_some(),
            newest.map(|run| run.member_of),
            newest.and_then(|run| run.member_of_why.as_ref()),
        ),
        assigned_groups: report(
            "The groups assigned to the app",
            &facts.assigned_groups,
            reading.is_some_and(|reading| reading.assigned_groups != ListState::Unknown),
            newest.map(|run| run.assigned_groups),
            newest.and_then(|run| run.assigned_groups_why.as_ref()),
        ),
    }
}

/// The facts, indexed by ID.
struct Explainer<'a> {
    facts: &'a Facts,
    rules: Rules<'a>,
    teams: BTreeMap<&'a str, &'a TeamFacts>,
    team_members: BTreeMap<&'a str, &'a MemberFacts>,
    organizations: BTreeMap<&'a str, &'a OrganizationFacts>,
    organization_members: BTreeSet<&'a str>,
}

impl<'a> Explainer<'a> {
    fn new(facts: &'a Facts, rules: Rules<'a>) -> Self {
        Self {
            facts,
            rules,
            teams: facts.teams.iter().map(|team| (&*team.id, team)).collect(),
            team_members: facts.team_members.iter().map(|member| (&*member.id, member)).collect(),
            organizations: facts.organizations.iter().map(|one| (&*one.id, one)).collect(),
            organization_members: facts.organization_members.iter().map(|member| &*member.id).collect(),
        }
    }

    fn groups(&self) -> Vec<GroupReport> {
        let reading = self.facts.reading.iter();
        let each = reading.flat_map(|reading| reading.groups.iter().map(|(id, group)| self.group(reading, id, group)));
        let mut groups: Vec<GroupReport> = each.collect();
        groups.sort_by_key(|group| (group.name.as_ref().unwrap_or(&group.id).to_lowercase(), group.id.clone()));
        groups
    }

    fn group(&self, reading: &ReadingFacts, id: &str, group: &GroupFacts) -> GroupReport {
        let verdict = self.verdict(reading, id, group);
        let counts = !matches!(verdict, Verdict::NotAssigned { .. } | Verdict::AssignmentUnknown { .. });
        let organization = if counts { self.organization(reading, id) } else { None };
        let standalone = self.teams.get(id).filter(|team| counts && team.organization_id.is_none());
        let standalone = standalone.map(|team| {
            self::standalone(team.made.as_ref(), self.rules.policy.also_create_orgs, self.rules.for_operator)
        });
        let elsewhere = self.other_organization(id).filter(|_| self.rules.policy.also_create_orgs);
        // A run that is newer than the list knows better than the list.
        let removal = (verdict == Verdict::NotInTeam).then(|| self.removal_by_run(id)).flatten();
        let organization_message = organization.as_ref().filter(|_| removal.is_none());
        let message = [
            Some(removal.map_or_else(|| verdict.message(), removal_message)),
            organization_message.map(OrganizationVerdict::message),
            standalone.as_ref().map(Standalone::message),
            elsewhere.map(|(_, name)| in_other_organization(name)),
        ];
        GroupReport {
            id: id.to_owned(),
            name: group.name.clone(),
            assigned: group.assigned,
            verdict,
            organization,
            standalone,
            message: Message::join(message.into_iter().flatten().collect()),
        }
    }

    /// The removal from a team by a reconciliation run after Entra last listed the user's groups.
    fn removal_by_run(&self, team: &str) -> Option<&'a RemovalFacts> {
        let as_of = self.facts.member_of.as_of;
        let mut removals = self.facts.removals.iter().filter(|one| one.kind == Kind::Team && one.id == team);
        removals.find(|removal| removal.is_by_run() && as_of.is_none_or(|as_of| removal.at > as_of))
    }

    /// ID and name of a team's organization, if it is not the group's own; the ID if it has no name.
    fn other_organization(&self, group: &str) -> Option<(&'a str, &'a str)> {
        let team = self.teams.get(group)?;
        let id = team.organization_id.as_deref().filter(|id| *id != group)?;
        Some((id, team.organization_name.as_deref().unwrap_or(id)))
    }

    fn verdict(&self, reading: &ReadingFacts, id: &str, group: &GroupFacts) -> Verdict {
        let team_exists = self.teams.contains_key(id);
        let member = self.team_members.get(id);
        let partial = member.and_then(|member| member.partial());
        let in_team = member.is_some() && partial.is_none();
        match (reading.assigned_groups, group.assigned) {
            (ListState::NotConfigured, _) if !team_exists => return Verdict::NoServicePrincipal,
            (ListState::NotConfigured, _) | (_, Some(true)) => {}
            (_, Some(false)) => return Verdict::NotAssigned { in_team },
            (_, None) => return Verdict::AssignmentUnknown { in_team },
        }
        let denied = self.facts.complete.as_ref().filter(|run| run.outcome != Outcome::SignedIn);
        if in_team {
            Verdict::Joined
        } else if let Some(places) = partial.filter(|_| team_exists) {
            Verdict::PartialMembership { places }
        } else if let Some(run) = denied {
            Verdict::UserDenied { at: run.started_at }
        } else if team_exists {
            Verdict::NotInTeam
        } else if let Some((at, why)) = self.failure(Kind::Team, id) {
            Verdict::TeamRefused { at, why }
        } else {
            Verdict::NoTeam
        }
    }

    fn organization(&self, reading: &ReadingFacts, id: &str) -> Option<OrganizationVerdict> {
        if !self.rules.policy.also_create_orgs {
            return None;
        }
        // A team in another organization: no own organization is created.
        let other = self.other_organization(id).map(|(other, _)| other);
        if other.is_some() || self.organizations.contains_key(id) {
            let joined = self.organization_members.contains(other.unwrap_or(id));
            return Some(if joined { OrganizationVerdict::Joined } else { OrganizationVerdict::NotInIt });
        }
        // Without a service principal, no organization is created.
        if reading.assigned_groups == ListState::NotConfigured {
            return None;
        }
        let failure = self.failure(Kind::Organization, id);
        Some(failure.map_or(OrganizationVerdict::NotMade, |(at, why)| OrganizationVerdict::Refused { at, why }))
    }

    /// When and why the database rejected a row at the last complete sync. Only operators get its message.
    fn failure(&self, kind: Kind, id: &str) -> Option<(DateTime<Utc>, Option<String>)> {
        let run = self.facts.complete.as_ref()?;
        let failure = run.failures.iter().find(|failure| failure.kind == kind && failure.id == id)?;
        Some((run.started_at, self.rules.for_operator.then(|| failure.why.clone())))
    }

    fn memberships(&self) -> Vec<MembershipReport> {
        let report = |kind, member: &MemberFacts, name: Option<&String>, organization: Option<&String>, group: &str| {
            let why = match member.partial() {
                Some(places) => MembershipWhy::Partial { places },
                None => self.membership_why(group, member.source),
            };
            MembershipReport {
                kind,
                id: member.id.clone(),
                name: name.cloned(),
                role: member.role.clone(),
                organization: organization.cloned(),
                source: member.source,
                message: why.message(kind, self.rules.store, self.rules.policy.memberships),
                why,
            }
        };
        let organizations = self.facts.organization_members.iter().map(|member| {
            let name = self.organizations.get(&*member.id).and_then(|organization| organization.name.as_ref());
            report(Kind::Organization, member, name, None, self.group_of(&member.id))
        });
        let teams = self.facts.team_members.iter().map(|member| {
            let team = self.teams.get(&*member.id);
            let name = team.and_then(|team| team.name.as_ref());
            let organization = team.and_then(|team| team.organization_name.as_ref().or(team.organization_id.as_ref()));
            report(Kind::Team, member, name, organization, &member.id)
        });
        let mut all: Vec<MembershipReport> = organizations.chain(teams).collect();
        all.sort_by_key(|one| (one.name.as_ref().unwrap_or(&one.id).to_lowercase(), one.id.clone(), one.kind));
        all
    }

    fn removals(&self) -> Vec<RemovalReport> {
        let is_member = |removal: &RemovalFacts| match removal.kind {
            Kind::Team => self.team_members.contains_key(&*removal.id),
            Kind::Organization => self.organization_members.contains(&*removal.id),
        };
        let gone = self.facts.removals.iter().filter(|removal| !is_member(removal));
        let mut all: Vec<RemovalReport> = gone
            .map(|removal| RemovalReport {
                kind: removal.kind,
                id: removal.id.clone(),
                name: removal.name.clone(),
                at: removal.at,
                reconciliation_run: removal.run_id.filter(|_| removal.is_by_run()),
                message: removal_message(removal),
            })
            .collect();
        all.sort_by_key(|removal| (std::cmp::Reverse(removal.at), removal.kind, removal.id.clone()));
        all
    }

    /// The group of an organization: the one with its ID, else one of the user's groups whose team is in it.
    fn group_of<'b>(&'b self, organization: &'b str) -> &'b str {
        let Some(reading) = &self.facts.reading else { return organization };
        let teams = self.facts.teams.iter().filter(|team| team.organization_id.as_deref() == Some(organization));
        let mut groups = std::iter::once(organization).chain(teams.map(|team| &*team.id));
        groups.find(|id| reading.groups.contains_key(*id)).unwrap_or(organization)
    }

    fn membership_why(&self, group: &str, source: Source) -> MembershipWhy {
        let reading = self.facts.reading.as_ref();
        let group = reading.and_then(|reading| reading.groups.get(group));
        let assigned = group.and_then(|group| group.assigned);
        let all_count = reading.is_some_and(|reading| reading.assigned_groups == ListState::NotConfigured);
        let counts = group.is_some() && (all_count || assigned == Some(true));
        match source {
            Source::Manual => MembershipWhy::ByHand { of_their_group: counts },
            Source::Entra if counts => MembershipWhy::FromEntra,
            Source::Entra if assigned == Some(false) => MembershipWhy::GroupNotAssigned,
            Source::Entra if reading.is_some() && group.is_none() => MembershipWhy::GroupLeft,
            Source::Entra => MembershipWhy::GroupUnknown,
        }
    }
}
