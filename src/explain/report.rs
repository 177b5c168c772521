//! What is told of a person. Each situation is an enum's variant, with sentences for it beside.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::facts::{Kind, ListState, Outcome, Places, Source};
use crate::domain::Redacted;

/// Why a person is where they are.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub person: UserReport,
    pub role: RoleReport,
    pub sign_in: SignInReport,
    pub readings: Readings,
    /// Every group of the person's that Entra last told, by name.
    pub groups: Vec<GroupReport>,
    /// Every membership in the store, by name.
    pub memberships: Vec<MembershipReport>,
}

/// Sentences for a situation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Words {
    /// What is the case.
    pub what: String,
    /// The rule that made it so.
    pub rule: String,
    /// What to do, if somebody wants it otherwise.
    pub remedy: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct UserReport {
    pub user_id: Redacted,
    pub object_id: Option<Redacted>,
    pub tenant_id: Option<String>,
    pub email: Option<Redacted>,
    pub name: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RoleReport {
    pub role: Option<String>,
    pub why: RoleWhy,
    #[serde(flatten)]
    pub words: Words,
}

/// Why somebody has the role that they have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum RoleWhy {
    /// The store has no row of theirs.
    NoRow,
    /// The row is another program's, and nobody has signed in with it here.
    NotFromHere,
    /// An app role in Entra.
    AppRole,
    /// `access.admin_user_ids` names them.
    AdminUserIds,
    /// It names them, and they have not signed in since.
    AdminUserIdsAtTheNextSignIn,
    /// Entra or `access.admin_user_ids` gives an operator role, which waits until an operator confirms the row.
    OperatorRoleWithheld { withheld: String },
    /// Entra offers it beside the one that the sync gave: LiteLLM's own sign-in wrote it.
    AlsoOffered { given: String },
    /// Entra gave another one, and somebody changed it.
    ChangedByHand { given: String },
    /// Entra gave none, and it is the one for new people.
    Default { default: String },
    /// Entra gave none, and it is not the one for new people: set by hand, or the default was another one then.
    SetByHand { default: String },
}

#[derive(Clone, Debug, Serialize)]
pub struct SignInReport {
    pub state: SignIn,
    #[serde(flatten)]
    pub words: Words,
}

/// How the person's last sign-in ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum SignIn {
    /// No record of one is kept.
    Never,
    SignedIn {
        at: DateTime<Utc>,
    },
    Refused {
        at: DateTime<Utc>,
        outcome: Outcome,
    },
}

/// How much is known of what Entra says.
#[derive(Clone, Debug, Serialize)]
pub struct Readings {
    pub member_of: ListReport,
    pub assigned_groups: ListReport,
}

#[derive(Clone, Debug, Serialize)]
pub struct ListReport {
    /// At the last sign-in; `not_read` where there was none.
    pub state: ListState,
    /// When it was known last: what is shown is from then.
    pub as_of: Option<DateTime<Utc>>,
    pub unknown_since: Option<DateTime<Utc>>,
    pub why: Option<String>,
    #[serde(flatten)]
    pub words: Words,
}

/// What came of a group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    pub id: String,
    pub name: Option<String>,
    pub assigned: Option<bool>,
    pub verdict: Verdict,
    /// Of the organization that the team is in, else of the one of the same id; `None` where there is to be none.
    pub organization: Option<OrganizationVerdict>,
    /// Why its team is in no organization, if it is in none.
    pub standalone: Option<Standalone>,
    #[serde(flatten)]
    pub words: Words,
}

/// What came of a group: the team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum Verdict {
    NotAssigned {
        in_team: bool,
    },
    /// The assigned groups were not known when the person's were read.
    AssignmentUnknown {
        in_team: bool,
    },
    /// No service principal is configured, so that no team is made, and there is none.
    NoServicePrincipal,
    Joined,
    /// Some places of a LiteLLM membership have it, others do not.
    HalfMembership {
        places: Places,
    },
    /// The team is there, and the person is not in it any more.
    NotInTeam,
    TeamRefused {
        at: DateTime<Utc>,
        why: Option<String>,
    },
    /// There is no team (any more), and nothing was refused.
    NoTeam,
    /// The person was refused, so that nothing was written.
    PersonRefused {
        at: DateTime<Utc>,
    },
}

/// What came of a group that counts: the organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum OrganizationVerdict {
    Joined,
    NotInIt,
    NotMade,
    Refused { at: DateTime<Utc>, why: Option<String> },
}

/// Why a team is in no organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum Standalone {
    /// Groups do not become organizations.
    OrganizationsOff,
    /// They did not when it was made.
    OrganizationsWereOff { at: DateTime<Utc> },
    /// Its organization could not be made then.
    OrganizationRefused { at: DateTime<Utc>, why: Option<String> },
    /// No record of its making: it was made by hand, or by an older version.
    NotOurs,
    /// It had one, which was deleted, or from which somebody took it.
    TakenOut { at: DateTime<Utc> },
}

/// A membership in the store.
#[derive(Clone, Debug, Serialize)]
pub struct MembershipReport {
    pub kind: Kind,
    pub id: String,
    pub name: Option<String>,
    /// The person's role in it.
    pub role: Option<String>,
    /// A team's organization.
    pub organization: Option<String>,
    pub source: Source,
    pub why: MembershipWhy,
    #[serde(flatten)]
    pub words: Words,
}

/// Why a membership is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum MembershipWhy {
    /// The person is in the group.
    FromEntra,
    /// They were.
    GroupLeft,
    /// They are, but it is not assigned any more.
    GroupNotAssigned,
    /// They were in the group when they joined; what is now is not known.
    GroupUnknown,
    /// Somebody, or LiteLLM itself, made it.
    ByHand {
        /// The person is in the group as well.
        of_their_group: bool,
    },
    /// Not in all places where LiteLLM looks, so it does not count.
    Half { places: Places },
}
