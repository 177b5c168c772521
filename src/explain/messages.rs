//! Texts about groups and memberships, for pages, JSON and the terminal.

mod user;

use chrono::{DateTime, Utc};

use super::facts::{Kind, Places, TeamFacts};
use super::report::{GroupReport, MembershipWhy, OrganizationVerdict, Standalone, Verdict, Words};
use crate::domain::StoreKind;

/// How to assign a group.
pub(super) const ASSIGN: &str =
    "In the Entra admin center: Enterprise apps → your app → Users and groups → Add user/group. Then sign in again.";
const NEXT: &str = "Sign in again.";
const ADDS_ONLY: &str = "Entraway does not take memberships away yet.";
const LOOK: &str = "Remove what refuses it in the database (a trigger, a constraint), then sign in again: each sign-in tries \
                    anew.";

pub(super) fn at(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn words(what: impl Into<String>, rule: &str, remedy: Option<&str>) -> Words {
    Words { what: what.into(), rule: rule.to_owned(), remedy: remedy.map(str::to_owned) }
}

/// The database's message, for readers who may see it.
fn said(why: Option<&String>) -> String {
    why.map_or_else(|| "the sync record tells an operator why".to_owned(), |why| format!("“{why}”"))
}

/// Names of the missing places of a membership.
fn missing(places: Places) -> String {
    let all = [
        (places.roster, "the team's members_with_roles"),
        (places.person, "the person's own teams"),
        (places.membership, "LiteLLM_TeamMembership"),
    ];
    let missing: Vec<&str> = all.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect();
    missing.join(" and ")
}

impl GroupReport {
    /// Combines the texts about the team, the organization, and why the team is standalone.
    pub(super) fn words(&self, team: Option<&TeamFacts>, organizations_on: bool) -> Words {
        let mut parts = vec![self.verdict.words()];
        parts.extend(self.organization.as_ref().map(OrganizationVerdict::words));
        parts.extend(self.standalone.as_ref().map(Standalone::words));
        let elsewhere = team.and_then(|team| {
            let id = team.organization_id.as_ref().filter(|id| organizations_on && **id != self.id)?;
            let name = team.organization_name.as_ref().unwrap_or(id);
            Some(words(format!("Its team is in another organization, {name}."), "What exists is left as it is.", None))
        });
        parts.extend(elsewhere);
        let joined = |pick: fn(&Words) -> &String| {
            let texts = parts.iter().map(pick).filter(|text| !text.is_empty());
            texts.map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let (what, rule) = (joined(|words| &words.what), joined(|words| &words.rule));
        Words { what, rule, remedy: parts.into_iter().find_map(|words| words.remedy) }
    }
}

impl Verdict {
    fn words(&self) -> Words {
        let stays =
            |in_team: &bool| if *in_team { " The person is in its team all the same, from before." } else { "" };
        match self {
            Self::NotAssigned { in_team } => words(
                format!("The group is not assigned to the app, so it counts for nothing.{}", stays(in_team)),
                "Only groups that an administrator assigned to the enterprise app become teams.",
                Some(ASSIGN),
            ),
            Self::AssignmentUnknown { in_team } => words(
                format!(
                    "Whether the group is assigned to the app was not known when the person signed in, so nobody joined \
                     anything.{}",
                    stays(in_team)
                ),
                "If one of the two lists is unknown, nothing is created and nobody joins; nothing is taken away either.",
                Some("See under Readings why Entra did not tell; then sign in again."),
            ),
            Self::NoServicePrincipal => words(
                "There is no team of this group, and none is made: no service principal is configured.",
                "Without entra.service_principal_id nothing is created; people join the teams that exist under the ids of \
                 their groups.",
                Some("Set entra.service_principal_id, assign the group to the app, and sign in again."),
            ),
            Self::Joined => words(
                "The person is in its team.",
                "Whoever is in a group that is assigned to the app joins its team at the sign-in; without a service principal, in any \
                 group that has a team.",
                None,
            ),
            Self::PartialMembership { places } => words(
                format!("The person is in its team by half: {} does not say so.", missing(*places)),
                "LiteLLM keeps a membership in three places. Half a membership is none; the next sign-in completes it.",
                Some(NEXT),
            ),
            Self::NotInTeam => words(
                "Its team is there, but the person is not in it: somebody took them out since the last sign-in, or made \
                 the team since.",
                "Whoever is in a group that counts joins its team at the next sign-in.",
                Some(NEXT),
            ),
            Self::TeamRefused { at: time, why } => words(
                format!("The database refused the team at {}: {}.", at(*time), said(why.as_ref())),
                "A row that is refused costs no other group anything.",
                Some(LOOK),
            ),
            Self::NoTeam => words(
                "There is no team of this group: it was deleted since the last sign-in, or that one did not come so far.",
                "Each assigned group gets its team at the next sign-in.",
                Some(NEXT),
            ),
            Self::UserDenied { at: time } => words(
                format!("The person was refused at {}, so nothing was written.", at(*time)),
                "Groups become memberships at a sign-in that is let in.",
                Some("See under Last sign-in why they were refused."),
            ),
        }
    }
}

impl OrganizationVerdict {
    fn words(&self) -> Words {
        match self {
            Self::Joined => words("They are in its organization, too.", "", None),
            Self::NotInIt => words(
                "They are not in its organization.",
                "Whoever is in a group that counts joins its organization at the next sign-in.",
                Some(NEXT),
            ),
            Self::NotMade => words(
                "Its organization is not there (any more).",
                "entra_groups_also_create_orgs: each assigned group gets its organization at the next sign-in.",
                Some(NEXT),
            ),
            Self::Refused { at: time, why } => words(
                format!("The database refused its organization at {}: {}.", at(*time), said(why.as_ref())),
                "Where an organization is refused, the team stands alone.",
                Some(LOOK),
            ),
        }
    }
}

impl Standalone {
    /// Why the team is standalone.
    #[must_use]
    pub fn words(&self) -> Words {
        let stays = "What exists is left as it is: a standalone team stays standalone.";
        let by_hand = Some("If the team shall be in an organization, put it there in the database or in LiteLLM.");
        match self {
            Self::OrganizationsOff => words(
                "The team stands alone: groups do not become organizations (entra_groups_also_create_orgs is off).",
                "",
                None,
            ),
            Self::OrganizationsWereOff { at: time } => words(
                format!("The team stands alone: it was made at {}, when organizations were off.", at(*time)),
                stays,
                by_hand,
            ),
            Self::OrganizationRefused { at: time, why } => words(
                format!(
                    "The team stands alone: when it was made at {}, its organization could not be: {}.",
                    at(*time),
                    said(why.as_ref())
                ),
                stays,
                by_hand,
            ),
            Self::NotOurs => words(
                "The team stands alone: it was there before, not made by Entraway (or by a version that kept no record \
                 of it).",
                stays,
                by_hand,
            ),
            Self::TakenOut { at: time } => words(
                format!(
                    "The team stands alone: it was made at {} inside an organization, from which it was taken since, or \
                     which was deleted.",
                    at(*time)
                ),
                stays,
                by_hand,
            ),
        }
    }
}

impl MembershipWhy {
    pub(super) fn words(&self, kind: Kind, store: StoreKind) -> Words {
        let gave = "Entraway gave it at a sign-in";
        let take = Some(match (kind, store) {
            (Kind::Team, StoreKind::LiteLlm) => "In LiteLLM, remove the person from the team.",
            (Kind::Organization, StoreKind::LiteLlm) => "In LiteLLM, remove the person from the organization.",
            (Kind::Team, StoreKind::Native) => "Delete the row in entraway.team_members.",
            (Kind::Organization, StoreKind::Native) => "Delete the row in entraway.organization_members.",
        });
        match self {
            Self::FromEntra => words(
                format!("{gave}: the person is in the group of this id, and the group counts."),
                "Whoever is in a group that counts joins its team, and its organization where there is one.",
                None,
            ),
            Self::GroupLeft => {
                words(format!("{gave}, for a group that the person is not in any more. It stays."), ADDS_ONLY, take)
            }
            Self::GroupNotAssigned => words(
                format!("{gave}, for a group that is not assigned to the app any more. It stays."),
                ADDS_ONLY,
                take,
            ),
            Self::GroupUnknown => words(
                format!("{gave}. Whether the group still counts is not known now."),
                "If a list of groups is unknown, nothing is taken away.",
                None,
            ),
            Self::ByHand { of_their_group } => {
                let maker = match store {
                    StoreKind::Native => "Made by hand, not by Entraway.",
                    StoreKind::LiteLlm => "Made by hand or by LiteLLM itself, not by Entraway.",
                };
                let group = if *of_their_group { " The person is in the group of this id as well." } else { "" };
                words(format!("{maker}{group}"), "A membership made by hand is not touched.", None)
            }
            Self::Partial { places } => words(
                format!("It does not count: {} does not say so.", missing(*places)),
                "LiteLLM keeps a membership in three places. Half a membership is none. If it is of a group that counts, the \
                 next sign-in completes it.",
                Some(
                    "Sign in again; or have it put in order in LiteLLM: remove the person from the team, add them anew.",
                ),
            ),
        }
    }
}
