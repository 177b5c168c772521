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
    pub message: Message,
}

/// Why the user is or is not in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    InIt,
    /// In one of the user's groups that is not assigned to the app.
    NotAssigned,
    /// In an effective group; `message` explains what prevents the membership.
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
    let is_wanted = |text: &str| text.trim().to_lowercase() == wanted.to_lowercase();
    let groups = explanation.groups.iter().map(|group| (&*group.id, group.name.as_ref()));
    let memberships = explanation.memberships.iter().map(|one| (&*one.id, one.name.as_ref()));
    let known = teams.unwrap_or_default().iter().map(|team| (&*team.id, team.name.as_ref()));
    let mut findings: Vec<TeamFinding> = Vec::new();
    // A renamed group is found by its new name and by its team's old one.
    let removals = explanation.removals.iter().map(|one| (&*one.id, one.name.as_ref()));
    for (id, name) in groups.chain(memberships).chain(known).chain(removals) {
        let found = findings.iter().any(|finding| finding.id.as_deref() == Some(id));
        if !found && (is_wanted(id) || name.is_some_and(|name| is_wanted(name))) {
            let (case, message) = case_of(explanation, id, nested_groups);
            findings.push(TeamFinding { id: Some(id.to_owned()), name: name.cloned(), case, message });
        }
    }
    if findings.is_empty() {
        let (case, message) = not_found(explanation, teams.is_some(), nested_groups);
        findings.push(TeamFinding { id: None, name: None, case, message });
    }
    Answer { asked: wanted.to_owned(), findings, notes: notes(explanation) }
}

/// The case of a known team or group.
fn case_of(explanation: &Explanation, id: &str, nested_groups: bool) -> (Case, Message) {
    let is_partial = |one: &MembershipReport| matches!(one.why, MembershipWhy::Partial { .. });
    let membership = |kind| explanation.memberships.iter().find(|one| one.kind == kind && one.id == id);
    let group = explanation.groups.iter().find(|group| group.id == id);
    match (membership(Kind::Team), group) {
        (Some(member), _) if !is_partial(member) => {
            (Case::InIt, member.message.clone().after("The user is in the team. "))
        }
        (_, Some(group)) if matches!(group.verdict, Verdict::NotAssigned { .. }) => {
            (Case::NotAssigned, group.message.clone())
        }
        (_, Some(group)) => (Case::Blocked, group.message.clone()),
        (Some(partial), None) => (Case::Blocked, partial.message.clone()),
        (None, None) => {
            let (case, message) = not_among_groups(explanation, "Its group", nested_groups);
            let removal = explanation.removals.iter().find(|one| one.kind == Kind::Team && one.id == id);
            let message = match removal {
                Some(removal) => message.after(&format!("{} ", removal.message.what)),
                None => message,
            };
            let in_organization = membership(Kind::Organization).is_some();
            (case, if in_organization { message.after("The user is only in the organization. ") } else { message })
        }
    }
}

/// The group is not one of the user's groups.
fn not_among_groups(explanation: &Explanation, subject: &str, nested_groups: bool) -> (Case, Message) {
    let member_of = &explanation.readings.member_of;
    if member_of.as_of.is_none() && explanation.sign_in.state == SignIn::Never {
        let what = "No sign-in of the user is recorded, so the user's groups are unknown.".to_owned();
        let rule = explanation.sign_in.message.rule.clone();
        return (Case::NeverSignedIn, Message { what, rule, remedy: Some("Sign in.".to_owned()) });
    }
    if member_of.as_of.is_none() {
        return (Case::GroupsUnknown, member_of.message.clone().after("The user's groups are unknown. "));
    }
    let rule = if nested_groups {
        "sync.nested_groups is on: members of a group in this group also count as its members."
    } else {
        "Only direct members count, as in Entra, unless sync.nested_groups is on: members of a group in this group \
         are not its members."
    };
    let remedy = "In the Entra admin center: Groups → this group → Members → Add members: add the user directly. Then \
                  sign in again.";
    let what = format!("{subject} is not one of the user's groups.");
    (Case::NotAmongGroups, Message { what, rule: rule.to_owned(), remedy: Some(remedy.to_owned()) })
}

/// No team or group was found. `all`: whether all teams were searched.
fn not_found(explanation: &Explanation, all: bool, nested_groups: bool) -> (Case, Message) {
    let (case, message) = not_among_groups(explanation, "It", nested_groups);
    if case != Case::NotAmongGroups {
        return (case, message);
    }
    let (case, rest) =
        if all { (Case::NotKnown, ", and no team with it is known.") } else { (Case::NotAmongGroups, ".") };
    let what = format!("None of the user's groups has this ID or name{rest}");
    let rule = format!("A group becomes a team when it is assigned to the app and a user signs in. {}", message.rule);
    let remedy = format!(
        "Check the name, or use the group's object ID. Check that the group is assigned and that the user is a direct \
         member. {ASSIGN}"
    );
    (case, Message { what, rule, remedy: Some(remedy) })
}

/// Why the answer may be outdated.
fn notes(explanation: &Explanation) -> Vec<String> {
    let Explanation { sign_in, readings, .. } = explanation;
    let refused = matches!(sign_in.state, SignIn::Refused { .. }).then_some(&sign_in.message);
    let lists = [&readings.member_of, &readings.assigned_groups].into_iter();
    let unknown = lists.filter(|list| list.state == ListState::Unknown).map(|list| &list.message);
    refused.into_iter().chain(unknown).map(|message| message.what.clone()).collect()
}
