//! Answers why a user is or is not in a team.

use serde::Serialize;

use super::facts::{Kind, KnownTeam, ListState};
use super::messages::ASSIGN;
use super::report::{Explanation, MembershipReport, MembershipWhy, Message, SignIn, Verdict};

/// Answer about a team.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The requested ID or name.
    pub asked: String,
    /// One per team or group with this ID or name; never empty.
    pub findings: Vec<TeamFinding>,
    /// Facts that limit the answer, such as an unknown list.
    pub notes: Vec<String>,
}

impl Answer {
    /// Heading of the answer. "Why not" is used only for a team that the user is not in.
    #[must_use]
    pub fn heading(&self) -> String {
        let members = self.findings.iter().filter(|finding| finding.case == Case::InIt).count();
        match members {
            0 => format!("Why not in “{}”?", self.asked),
            _ if members == self.findings.len() => format!("Member of “{}”", self.asked),
            _ => format!("Member of one team named “{}”, but not of another", self.asked),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct TeamFinding {
    pub id: Option<String>,
    pub name: Option<String>,
    pub case: Case,
    #[serde(flatten)]
    pub words: Message,
}

/// Why the user is or is not in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    InIt,
    /// In one of the user's groups that is not assigned to the app.
    NotAssigned,
    /// In an effective group; `words` says what prevents the membership.
    #[serde(rename = "in_the_way")]
    Blocked,
    /// Known, but not one of the user's groups.
    NotAmongGroups,
    /// The user's groups were never known.
    GroupsUnknown,
    NeverSignedIn,
    /// No team or group with this ID or name is known.
    NotKnown,
}

/// Answers why a user is or is not in the team or group with this ID or name.
///
/// `teams`: the store's teams with it; `None` if the reader may not see other teams.
#[must_use]
pub fn explain_team(
    explanation: &Explanation,
    wanted: &str,
    teams: Option<&[KnownTeam]>,
    nested_groups: bool,
) -> Answer {
    let wanted = wanted.trim();
    let called = |id: &str, name: Option<&String>| {
        let same = |text: &str| text.trim().to_lowercase() == wanted.to_lowercase();
        same(id) || name.is_some_and(|name| same(name))
    };
    let mut found: Vec<(&str, Option<&String>)> = Vec::new();
    let groups = explanation.groups.iter().map(|group| (&*group.id, group.name.as_ref()));
    let memberships = explanation.memberships.iter().map(|one| (&*one.id, one.name.as_ref()));
    let known = teams.unwrap_or_default().iter().map(|team| (&*team.id, team.name.as_ref()));
    // A renamed group is found by its new name and by its team's old one.
    for (id, name) in groups.chain(memberships).chain(known).filter(|(id, name)| called(id, *name)) {
        if !found.iter().any(|(known, _)| *known == id) {
            found.push((id, name));
        }
    }
    let mut findings: Vec<TeamFinding> =
        found.into_iter().map(|(id, name)| finding(explanation, id, name, nested_groups)).collect();
    if findings.is_empty() {
        findings.push(unknown(explanation, teams.is_some(), nested_groups));
    }
    Answer { asked: wanted.to_owned(), findings, notes: notes(explanation) }
}

fn finding(explanation: &Explanation, id: &str, name: Option<&String>, nested_groups: bool) -> TeamFinding {
    let (partial, complete): (Vec<&MembershipReport>, Vec<&MembershipReport>) = explanation
        .memberships
        .iter()
        .filter(|one| one.id == id)
        .partition(|one| matches!(one.why, MembershipWhy::Partial { .. }));
    let partial = partial.first();
    let member = complete.into_iter().max_by_key(|one| one.kind == Kind::Team);
    let group = explanation.groups.iter().find(|group| group.id == id);
    let (case, words) = match (member, group) {
        (Some(member), _) if member.kind == Kind::Team => {
            let what = format!("The user is in the team. {}", member.words.what);
            (Case::InIt, Message { what, ..member.words.clone() })
        }
        (_, Some(group)) => {
            let case = match group.verdict {
                Verdict::NotAssigned { .. } => Case::NotAssigned,
                _ => Case::Blocked,
            };
            (case, group.words.clone())
        }
        (_, None) => {
            if let Some(partial) = partial {
                (Case::Blocked, partial.words.clone())
            } else {
                let (case, words) = not_among_groups(explanation, "Its group", nested_groups);
                let alone = member.map(|_| "The user is only in the organization. ").unwrap_or_default();
                (case, Message { what: format!("{alone}{}", words.what), ..words })
            }
        }
    };
    TeamFinding { id: Some(id.to_owned()), name: name.cloned(), case, words }
}

/// The group is not one of the user's groups.
fn not_among_groups(explanation: &Explanation, subject: &str, nested_groups: bool) -> (Case, Message) {
    let direct = if nested_groups {
        "sync.nested_groups is on: members of a group in this group also count as its members."
    } else {
        "Only direct members count, as in Entra, unless sync.nested_groups is on: members of a group in this group \
         are not its members."
    };
    let readings = &explanation.readings.member_of;
    if readings.as_of.is_none() && explanation.sign_in.state == SignIn::Never {
        let what = "No sign-in of the user is recorded, so the user's groups are unknown.".to_owned();
        return (
            Case::NeverSignedIn,
            Message { what, rule: explanation.sign_in.words.rule.clone(), remedy: Some("Sign in.".to_owned()) },
        );
    }
    if readings.as_of.is_none() {
        return (
            Case::GroupsUnknown,
            Message {
                what: format!("The user's groups are unknown. {}", readings.words.what),
                ..readings.words.clone()
            },
        );
    }
    let remedy = "In the Entra admin center: Groups → this group → Members → Add members: add the user directly. Then \
                  sign in again.";
    let what = format!("{subject} is not one of the user's groups.");
    (Case::NotAmongGroups, Message { what, rule: direct.to_owned(), remedy: Some(remedy.to_owned()) })
}

/// No team or group was found. `all`: whether all teams were searched.
fn unknown(explanation: &Explanation, all: bool, nested_groups: bool) -> TeamFinding {
    let (case, words) = match not_among_groups(explanation, "It", nested_groups) {
        (Case::NotAmongGroups, words) => {
            let none = "None of the user's groups has this ID or name";
            let (case, what) = if all {
                (Case::NotKnown, format!("{none}, and no team with it is known."))
            } else {
                (Case::NotAmongGroups, format!("{none}."))
            };
            let rule =
                format!("A group becomes a team when it is assigned to the app and a user signs in. {}", words.rule);
            let remedy = format!(
                "Check the name, or use the group's object ID. Check that the group is assigned and that the user is \
                 a direct member. {ASSIGN}"
            );
            (case, Message { what, rule, remedy: Some(remedy) })
        }
        other => other,
    };
    TeamFinding { id: None, name: None, case, words }
}

/// Why the answer may be outdated.
fn notes(explanation: &Explanation) -> Vec<String> {
    let lists = [&explanation.readings.member_of, &explanation.readings.assigned_groups];
    let stale = lists.into_iter().filter(|list| matches!(list.state, ListState::Unknown));
    let refused = matches!(explanation.sign_in.state, SignIn::Refused { .. });
    refused
        .then(|| explanation.sign_in.words.what.clone())
        .into_iter()
        .chain(stale.map(|list| list.words.what.clone()))
        .collect()
}
