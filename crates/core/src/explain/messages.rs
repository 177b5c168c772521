//! Texts about groups and memberships, for pages, JSON and the terminal.

mod user;

use chrono::{DateTime, Utc};

use super::facts::{Kind, Places, TeamFacts};
use super::report::{GroupReport, MembershipWhy, Message, OrganizationVerdict, Standalone, Verdict};
use crate::domain::StoreKind;

/// How to assign a group.
pub(super) const ASSIGN: &str =
    "In the Entra admin center: Enterprise apps → your app → Users and groups → Add user/group. Then sign in again.";
const NEXT: &str = "Sign in again.";
const ADDS_ONLY: &str = "Entraway adds memberships but does not remove them.";
const LOOK: &str =
    "Remove the cause in the database (a trigger, a constraint), then sign in again. Each sign-in retries.";

pub(super) fn at(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn words(what: impl Into<String>, rule: &str, remedy: Option<&str>) -> Message {
    Message { what: what.into(), rule: rule.to_owned(), remedy: remedy.map(str::to_owned) }
}

/// The database's message, for readers who may see it.
fn said(why: Option<&String>) -> String {
    why.map_or_else(|| "an operator finds the reason in the sync record".to_owned(), |why| format!("“{why}”"))
}

/// Names of the missing places of a membership.
fn missing(places: Places) -> String {
    let all = [
        (places.roster, "the team's members_with_roles"),
        (places.person, "the user's own teams"),
        (places.membership, "LiteLLM_TeamMembership"),
    ];
    let missing: Vec<&str> = all.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect();
    missing.join(" and ")
}

impl GroupReport {
    /// Combines the texts about the team, the organization, and why the team is standalone.
    pub(super) fn words(&self, team: Option<&TeamFacts>, organizations_on: bool) -> Message {
        let mut parts = vec![self.verdict.words()];
        parts.extend(self.organization.as_ref().map(OrganizationVerdict::words));
        parts.extend(self.standalone.as_ref().map(Standalone::words));
        let elsewhere = team.and_then(|team| {
            let id = team.organization_id.as_ref().filter(|id| organizations_on && **id != self.id)?;
            let name = team.organization_name.as_ref().unwrap_or(id);
            Some(words(
                format!("Its team is in another organization, {name}."),
                "Existing rows are left as they are.",
                None,
            ))
        });
        parts.extend(elsewhere);
        let joined = |pick: fn(&Message) -> &String| {
            let texts = parts.iter().map(pick).filter(|text| !text.is_empty());
            texts.map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let (what, rule) = (joined(|words| &words.what), joined(|words| &words.rule));
        Message { what, rule, remedy: parts.into_iter().find_map(|words| words.remedy) }
    }
}

impl Verdict {
    fn words(&self) -> Message {
        let stays =
            |in_team: &bool| if *in_team { " The user is still in its team from an earlier sign-in." } else { "" };
        match self {
            Self::NotAssigned { in_team } => words(
                format!("The group is not assigned to the app, so it has no effect.{}", stays(in_team)),
                "Only groups that an administrator assigned to the enterprise app become teams.",
                Some(ASSIGN),
            ),
            Self::AssignmentUnknown { in_team } => words(
                format!(
                    "When the user signed in, it was unknown whether the group is assigned to the app, so no \
                     membership was added.{}",
                    stays(in_team)
                ),
                "If one of the two lists is unknown, nothing is created, added or removed.",
                Some("See under Readings why the list is unknown, then sign in again."),
            ),
            Self::NoServicePrincipal => words(
                "The group has no team, and none is created: no service principal is configured.",
                "Without entra.service_principal_id nothing is created; users are added to existing teams with the \
                 IDs of their groups.",
                Some("Set entra.service_principal_id, assign the group to the app, and sign in again."),
            ),
            Self::Joined => words(
                "The user is in its team.",
                "Members of a group that is assigned to the app are added to its team at sign-in. Without a service \
                 principal, every group with a team counts.",
                None,
            ),
            Self::PartialMembership { places } => words(
                format!("The user is only partially in its team: the membership is missing in {}.", missing(*places)),
                "LiteLLM stores a membership in three places. A partial membership does not count; the next sign-in \
                 completes it.",
                Some(NEXT),
            ),
            Self::NotInTeam => words(
                "Its team exists, but the user is not in it: since the last sign-in, the user was removed or the team \
                 was created.",
                "Members of a group that counts are added to its team at the next sign-in.",
                Some(NEXT),
            ),
            Self::TeamRefused { at: time, why } => words(
                format!("The database rejected the team at {}: {}.", at(*time), said(why.as_ref())),
                "A rejected row does not affect other groups.",
                Some(LOOK),
            ),
            Self::NoTeam => words(
                "The group has no team: it was deleted since the last sign-in, or that sign-in did not complete.",
                "Each assigned group gets a team at the next sign-in.",
                Some(NEXT),
            ),
            Self::UserDenied { at: time } => words(
                format!("The user was denied at {}, so nothing was written.", at(*time)),
                "Memberships are written only when a sign-in is allowed.",
                Some("See under Last sign-in why the user was denied."),
            ),
        }
    }
}

impl OrganizationVerdict {
    fn words(&self) -> Message {
        match self {
            Self::Joined => words("The user is also in its organization.", "", None),
            Self::NotInIt => words(
                "The user is not in its organization.",
                "Members of a group that counts are added to its organization at the next sign-in.",
                Some(NEXT),
            ),
            Self::NotMade => words(
                "Its organization does not exist.",
                "entra_groups_also_create_orgs: each assigned group gets an organization at the next sign-in.",
                Some(NEXT),
            ),
            Self::Refused { at: time, why } => words(
                format!("The database rejected its organization at {}: {}.", at(*time), said(why.as_ref())),
                "If an organization is rejected, the team is standalone.",
                Some(LOOK),
            ),
        }
    }
}

impl Standalone {
    /// Why the team is standalone.
    #[must_use]
    pub fn words(&self) -> Message {
        let stays = "Existing rows are left as they are: a standalone team stays standalone.";
        let by_hand = Some("To put the team in an organization, change it in LiteLLM or in the database.");
        match self {
            Self::OrganizationsOff => words(
                "The team is standalone: groups do not become organizations (entra_groups_also_create_orgs is off).",
                "",
                None,
            ),
            Self::OrganizationsWereOff { at: time } => words(
                format!("The team is standalone: it was created at {}, when organizations were off.", at(*time)),
                stays,
                by_hand,
            ),
            Self::OrganizationRefused { at: time, why } => words(
                format!(
                    "The team is standalone: when it was created at {}, its organization could not be created: {}.",
                    at(*time),
                    said(why.as_ref())
                ),
                stays,
                by_hand,
            ),
            Self::NotOurs => words(
                "The team is standalone: it was created by hand, or by a version of Entraway that kept no record of \
                 it.",
                stays,
                by_hand,
            ),
            Self::TakenOut { at: time } => words(
                format!(
                    "The team is standalone: it was created at {} in an organization; since then, it was removed from \
                     the organization or the organization was deleted.",
                    at(*time)
                ),
                stays,
                by_hand,
            ),
        }
    }
}

impl MembershipWhy {
    pub(super) fn words(&self, kind: Kind, store: StoreKind) -> Message {
        let added = "Added by Entraway at a sign-in";
        let remove = Some(match (kind, store) {
            (Kind::Team, StoreKind::LiteLlm) => "In LiteLLM, remove the user from the team.",
            (Kind::Organization, StoreKind::LiteLlm) => "In LiteLLM, remove the user from the organization.",
            (Kind::Team, StoreKind::Native) => "An operator can delete the row in entraway.team_members.",
            (Kind::Organization, StoreKind::Native) => {
                "An operator can delete the row in entraway.organization_members."
            }
        });
        match self {
            Self::FromEntra => words(
                format!("{added}: the user is in the group with this ID, and the group counts."),
                "Members of a group that counts are added to its team and, if there is one, its organization.",
                None,
            ),
            Self::GroupLeft => {
                words(format!("{added}, for a group that the user is no longer in. It stays."), ADDS_ONLY, remove)
            }
            Self::GroupNotAssigned => words(
                format!("{added}, for a group that is no longer assigned to the app. It stays."),
                ADDS_ONLY,
                remove,
            ),
            Self::GroupUnknown => words(
                format!("{added}. It is currently unknown whether the group still counts."),
                "If a list of groups is unknown, nothing is removed.",
                None,
            ),
            Self::ByHand { of_their_group } => {
                let maker = match store {
                    StoreKind::Native => "Added by hand, not by Entraway.",
                    StoreKind::LiteLlm => "Added by hand or by LiteLLM itself, not by Entraway.",
                };
                let group = if *of_their_group { " The user is also in the group with this ID." } else { "" };
                words(format!("{maker}{group}"), "A membership added by hand is left as it is.", None)
            }
            Self::Partial { places } => words(
                format!("It does not count: it is missing in {}.", missing(*places)),
                "LiteLLM stores a membership in three places. A partial membership does not count. If its group \
                 counts, the next sign-in completes it.",
                Some("Sign in again, or remove the user from the team in LiteLLM and add them again."),
            ),
        }
    }
}
