//! Explains a user's memberships, and why others are missing.
//!
//! A pure function of the stored state, Entra's last answer and the policy. Must agree with [`crate::plan`].

mod facts;
mod messages;
mod report;
mod team;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Identity, StoreKind, UserRole};
use crate::policy::Policy;

pub use facts::{
    AssignedGroups, Facts, FailureFacts, GroupFacts, Kind, KnownTeam, ListFacts, ListState, OrganizationFacts,
    OrganizationMemberFacts, Outcome, Places, ReadingFacts, RunFacts, Source, TeamFacts, TeamMemberFacts, TeamOrigin,
    UserFacts,
};
pub use report::{
    Explanation, GroupReport, ListReport, MembershipReport, MembershipWhy, Message, OrganizationVerdict, Readings,
    RoleReport, RoleWhy, SignIn, SignInReport, Standalone, UserReport, Verdict,
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
        role: role(user, rules.policy),
        sign_in: sign_in(facts),
        readings: explainer.readings(),
        groups: explainer.groups(),
        memberships: explainer.memberships(),
    }
}

/// Why a team is standalone.
#[must_use]
pub fn standalone(origin: Option<&TeamOrigin>, organizations_on: bool) -> Standalone {
    match origin {
        Some(TeamOrigin { made_at, organization_refused: Some(why), .. }) => {
            Standalone::OrganizationRefused { at: *made_at, why: Some(why.clone()) }
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
    RoleReport { role: role.map(str::to_owned), words: why.words(role), why }
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
        Some(RunFacts { started_at, outcome, .. }) => SignIn::Refused { at: *started_at, outcome: *outcome },
    };
    SignInReport { words: state.words(facts.user.has_row), state }
}

/// The facts, indexed by ID.
struct Explainer<'a> {
    facts: &'a Facts,
    rules: Rules<'a>,
    teams: BTreeMap<&'a str, &'a TeamFacts>,
    team_members: BTreeMap<&'a str, &'a TeamMemberFacts>,
    organizations: BTreeMap<&'a str, &'a OrganizationFacts>,
    organization_members: BTreeSet<&'a str>,
    /// Rows that the database rejected at the last complete sync.
    failures: BTreeMap<(bool, &'a str), &'a FailureFacts>,
}

impl<'a> Explainer<'a> {
    fn new(facts: &'a Facts, rules: Rules<'a>) -> Self {
        let failures = facts.complete.iter().flat_map(|run| &run.failures);
        Self {
            facts,
            rules,
            teams: facts.teams.iter().map(|team| (&*team.id, team)).collect(),
            team_members: facts.team_members.iter().map(|member| (&*member.team_id, member)).collect(),
            organizations: facts.organizations.iter().map(|one| (&*one.id, one)).collect(),
            organization_members: facts.organization_members.iter().map(|one| &*one.organization_id).collect(),
            failures: failures.map(|failure| ((failure.kind == Kind::Team, &*failure.id), failure)).collect(),
        }
    }

    fn readings(&self) -> Readings {
        let newest = self.facts.newest.as_ref();
        let reading = self.facts.reading.as_ref();
        let list = |list: &ListFacts, state: Option<ListState>, why: Option<&String>, assigned: bool| {
            let stored = reading.is_some_and(|stored| !assigned || stored.assigned_groups != AssignedGroups::Unknown);
            let state = state.unwrap_or(ListState::NotRead);
            let mut report = ListReport {
                state,
                // An older list counts only if it was stored.
                as_of: list.as_of.filter(|_| stored),
                unknown_since: list.unknown_since,
                why: why.cloned(),
                words: Message::default(),
            };
            report.words = report.words(assigned);
            report
        };
        let Facts { member_of, assigned_groups, .. } = self.facts;
        let state = |pick: fn(&RunFacts) -> ListState| newest.map(pick);
        Readings {
            member_of: list(
                member_of,
                state(|run| run.member_of),
                newest.and_then(|run| run.member_of_why.as_ref()),
                false,
            ),
            assigned_groups: list(
                assigned_groups,
                state(|run| run.assigned_groups),
                newest.and_then(|run| run.assigned_groups_why.as_ref()),
                true,
            ),
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
        let team = self.teams.get(id).copied();
        let counts = !matches!(verdict, Verdict::NotAssigned { .. } | Verdict::AssignmentUnknown { .. });
        let mut report = GroupReport {
            id: id.to_owned(),
            name: group.name.clone(),
            assigned: group.assigned,
            organization: if counts { self.organization(reading, id) } else { None },
            standalone: team.filter(|_| counts).and_then(|team| self.standalone(team)),
            verdict,
            words: Message::default(),
        };
        report.words = report.words(team, self.rules.policy.also_create_orgs);
        report
    }

    fn verdict(&self, reading: &ReadingFacts, id: &str, group: &GroupFacts) -> Verdict {
        let member = self.team_members.get(id).copied();
        let in_team = member.is_some_and(is_complete);
        match (reading.assigned_groups, group.assigned) {
            (AssignedGroups::NotConfigured, _) if !self.teams.contains_key(id) => return Verdict::NoServicePrincipal,
            (AssignedGroups::NotConfigured, _) | (_, Some(true)) => {}
            (_, Some(false)) => return Verdict::NotAssigned { in_team },
            (_, None) => return Verdict::AssignmentUnknown { in_team },
        }
        let complete = self.facts.complete.as_ref();
        let denied = complete.filter(|run| run.outcome != Outcome::SignedIn);
        match (self.teams.get(id), member, denied) {
            (_, Some(_), _) if in_team => Verdict::Joined,
            (Some(_), Some(TeamMemberFacts { places: Some(places), .. }), _) => {
                Verdict::PartialMembership { places: *places }
            }
            (_, _, Some(run)) => Verdict::UserDenied { at: run.started_at },
            (Some(_), ..) => Verdict::NotInTeam,
            (None, ..) => match (self.failures.get(&(true, id)), complete) {
                (Some(failure), Some(run)) => {
                    Verdict::TeamRefused { at: run.started_at, why: self.database_message(&failure.why) }
                }
                _ => Verdict::NoTeam,
            },
        }
    }

    fn organization(&self, reading: &ReadingFacts, id: &str) -> Option<OrganizationVerdict> {
        if !self.rules.policy.also_create_orgs {
            return None;
        }
        // A team in another organization: no own organization is created.
        if let Some(elsewhere) =
            self.teams.get(id).and_then(|team| team.organization_id.as_deref()).filter(|o| *o != id)
        {
            let joined = self.organization_members.contains(elsewhere);
            return Some(if joined { OrganizationVerdict::Joined } else { OrganizationVerdict::NotInIt });
        }
        let exists = self.organizations.contains_key(id);
        match (self.failures.get(&(false, id)), &self.facts.complete) {
            _ if exists && self.organization_members.contains(id) => Some(OrganizationVerdict::Joined),
            _ if exists => Some(OrganizationVerdict::NotInIt),
            // Without a service principal, no organization is created.
            _ if reading.assigned_groups == AssignedGroups::NotConfigured => None,
            (Some(failure), Some(run)) => {
                Some(OrganizationVerdict::Refused { at: run.started_at, why: self.database_message(&failure.why) })
            }
            _ => Some(OrganizationVerdict::NotMade),
        }
    }

    fn standalone(&self, team: &TeamFacts) -> Option<Standalone> {
        if team.organization_id.is_some() {
            return None;
        }
        Some(match standalone(team.made.as_ref(), self.rules.policy.also_create_orgs) {
            Standalone::OrganizationRefused { at, why } => {
                Standalone::OrganizationRefused { at, why: why.and_then(|why| self.database_message(&why)) }
            }
            other => other,
        })
    }

    fn database_message(&self, why: &str) -> Option<String> {
        self.rules.for_operator.then(|| why.to_owned())
    }

    fn memberships(&self) -> Vec<MembershipReport> {
        let store = self.rules.store;
        let report = |kind, id: &str, source, why: MembershipWhy| MembershipReport {
            kind,
            id: id.to_owned(),
            name: None,
            role: None,
            organization: None,
            source,
            words: why.words(kind, store),
            why,
        };
        let teams = self.facts.team_members.iter().map(|member| {
            let team = self.teams.get(&*member.team_id);
            let why = match member.places.filter(|places| !places.all()) {
                Some(places) => MembershipWhy::Partial { places },
                None => self.membership_why(&member.team_id, member.source),
            };
            MembershipReport {
                name: team.and_then(|team| team.name.clone()),
                role: member.role.clone(),
                organization: team
                    .and_then(|team| team.organization_name.clone().or_else(|| team.organization_id.clone())),
                ..report(Kind::Team, &member.team_id, member.source, why)
            }
        });
        let organizations = self.facts.organization_members.iter().map(|member| {
            let organization = self.organizations.get(&*member.organization_id);
            MembershipReport {
                name: organization.and_then(|organization| organization.name.clone()),
                role: member.role.clone(),
                ..report(
                    Kind::Organization,
                    &member.organization_id,
                    member.source,
                    self.membership_why(self.group_of(&member.organization_id), member.source),
                )
            }
        });
        let mut all: Vec<MembershipReport> = organizations.chain(teams).collect();
        all.sort_by_key(|one| {
            (one.name.as_ref().unwrap_or(&one.id).to_lowercase(), one.id.clone(), one.kind == Kind::Team)
        });
        all
    }

    /// The group of an organization: the one with its ID, else one of the user's groups whose team is in it.
    fn group_of<'b>(&'b self, organization: &'b str) -> &'b str {
        let Some(reading) = &self.facts.reading else { return organization };
        let teams = self.facts.teams.iter().filter(|team| team.organization_id.as_deref() == Some(organization));
        let mut groups = std::iter::once(organization).chain(teams.map(|team| &*team.id));
        groups.find(|id| reading.groups.contains_key(*id)).unwrap_or(organization)
    }

    fn membership_why(&self, id: &str, source: Source) -> MembershipWhy {
        let reading = self.facts.reading.as_ref();
        let group = reading.and_then(|reading| reading.groups.get(id));
        let counts = |reading: &ReadingFacts, group: &GroupFacts| {
            reading.assigned_groups == AssignedGroups::NotConfigured || group.assigned == Some(true)
        };
        match (source, reading, group) {
            (Source::Manual, Some(reading), Some(group)) => {
                MembershipWhy::ByHand { of_their_group: counts(reading, group) }
            }
            (Source::Manual, ..) => MembershipWhy::ByHand { of_their_group: false },
            (Source::Entra, Some(reading), Some(group)) if counts(reading, group) => MembershipWhy::FromEntra,
            (Source::Entra, _, Some(GroupFacts { assigned: Some(false), .. })) => MembershipWhy::GroupNotAssigned,
            (Source::Entra, Some(_), None) => MembershipWhy::GroupLeft,
            (Source::Entra, ..) => MembershipWhy::GroupUnknown,
        }
    }
}

/// Whether a membership is complete in all its places.
fn is_complete(member: &TeamMemberFacts) -> bool {
    member.places.is_none_or(Places::all)
}
