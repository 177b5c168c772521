//! The report about a user. Each situation is an enum variant; its texts are in `messages`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::facts::{Kind, ListState, Places, Source};
use crate::domain::Redacted;
use crate::reconciliation::DisabledCause;
use crate::sync_run::Denial;

/// Explanation of a user's role, groups and memberships.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub person: UserReport,
    /// Set while the account is disabled in Entra.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountReport>,
    pub role: RoleReport,
    pub sign_in: SignInReport,
    pub readings: Readings,
    /// All groups of Entra's last answer, by name.
    pub groups: Vec<GroupReport>,
    /// All stored memberships, by name.
    pub memberships: Vec<MembershipReport>,
    /// Teams and organizations that the user was removed from and is not in now, newest first.
    pub removals: Vec<RemovalReport>,
}

/// Texts about a situation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The situation.
    pub what: String,
    /// The rule that caused it.
    pub rule: String,
    /// How to change it, if that is possible.
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

/// Report about an account that Entra disabled.
#[derive(Clone, Debug, Serialize)]
pub struct AccountReport {
    pub cause: DisabledCause,
    /// When a run first found it disabled.
    pub since: DateTime<Utc>,
    #[serde(flatten)]
    pub message: Message,
}

#[derive(Clone, Debug, Serialize)]
pub struct RoleReport {
    pub role: Option<String>,
    pub why: RoleWhy,
    #[serde(flatten)]
    pub message: Message,
}

/// Why a user has their role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum RoleWhy {
    /// The store has no row of the user.
    NoRow,
    /// Another program created the row, and its user has never signed in here.
    NotFromHere,
    /// An app role in Entra.
    AppRole,
    /// Listed in `access.admin_user_ids`.
    AdminUserIds,
    /// Listed in `access.admin_user_ids` since the last sign-in.
    #[serde(rename = "admin_user_ids_at_the_next_sign_in")]
    AdminUserIdsPending,
    /// An operator role is withheld until an operator confirms the row.
    OperatorRoleWithheld { withheld: String },
    /// Another role of the token, written by LiteLLM's own sign-in.
    AlsoOffered { given: String },
    /// Entra granted another role, and the row was changed by hand.
    ChangedByHand { given: String },
    /// Entra grants no role, and the row has the default.
    Default { default: String },
    /// Entra grants no role, and the row differs from the default: set by hand, or from an earlier default.
    SetByHand { default: String },
}

#[derive(Clone, Debug, Serialize)]
pub struct SignInReport {
    pub state: SignIn,
    #[serde(flatten)]
    pub message: Message,
}

/// Result of the user's last sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum SignIn {
    /// No sign-in is recorded.
    Never,
    SignedIn {
        at: DateTime<Utc>,
    },
    Refused {
        at: DateTime<Utc>,
        outcome: Denial,
    },
}

/// State of both lists.
#[derive(Clone, Debug, Serialize)]
pub struct Readings {
    pub member_of: ListReport,
    pub assigned_groups: ListReport,
}

#[derive(Clone, Debug, Serialize)]
pub struct ListReport {
    /// State at the last sign-in; `not_read` if there was none.
    pub state: ListState,
    /// When the shown list was read.
    pub as_of: Option<DateTime<Utc>>,
    pub unknown_since: Option<DateTime<Utc>>,
    pub why: Option<String>,
    #[serde(flatten)]
    pub message: Message,
}

/// Report about a group of the user.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    pub id: String,
    pub name: Option<String>,
    pub assigned: Option<bool>,
    pub verdict: Verdict,
    /// Organization of the team, else the one with the group's ID; `None` if the group has none.
    pub organization: Option<OrganizationVerdict>,
    /// Why its team is standalone, if it is.
    pub standalone: Option<Standalone>,
    #[serde(flatten)]
    pub message: Message,
}

/// Result for the group's team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum Verdict {
    NotAssigned {
        in_team: bool,
    },
    /// The assigned groups were unknown when the user's groups were read.
    AssignmentUnknown {
        in_team: bool,
    },
    /// No service principal is configured, so no team is created, and none exists.
    NoServicePrincipal,
    Joined,
    /// Only some places of a LiteLLM membership have it.
    #[serde(rename = "half_membership")]
    PartialMembership {
        places: Places,
    },
    /// The team exists, but the user is not in it.
    NotInTeam,
    TeamRefused {
        at: DateTime<Utc>,
        why: Option<String>,
    },
    /// No team exists, and no row was rejected.
    NoTeam,
    /// The user was denied, so nothing was written.
    #[serde(rename = "person_refused")]
    UserDenied {
        at: DateTime<Utc>,
    },
}

/// Result for the group's organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum OrganizationVerdict {
    Joined,
    NotInIt,
    NotMade,
    Refused { at: DateTime<Utc>, why: Option<String> },
}

/// Why a team is standalone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum Standalone {
    /// Groups do not become organizations.
    OrganizationsOff,
    /// Groups did not become organizations when the team was created.
    OrganizationsWereOff { at: DateTime<Utc> },
    /// The database rejected its organization at that time.
    OrganizationRefused { at: DateTime<Utc>, why: Option<String> },
    /// The sync has no record of creating it: created by hand or by an older version.
    NotOurs,
    /// It was removed from its organization, or the organization was deleted.
    TakenOut { at: DateTime<Utc> },
}

/// Report about a stored membership.
#[derive(Clone, Debug, Serialize)]
pub struct MembershipReport {
    pub kind: Kind,
    pub id: String,
    pub name: Option<String>,
    /// The user's role in it.
    pub role: Option<String>,
    /// Organization of a team.
    pub organization: Option<String>,
    pub source: Source,
    pub why: MembershipWhy,
    #[serde(flatten)]
    pub message: Message,
}

/// Report about a membership that the sync removed.
#[derive(Clone, Debug, Serialize)]
pub struct RemovalReport {
    pub kind: Kind,
    pub id: String,
    pub name: Option<String>,
    pub at: DateTime<Utc>,
    /// The reconciliation run that removed the user; `None` if a sign-in did.
    pub reconciliation_run: Option<Uuid>,
    #[serde(flatten)]
    pub message: Message,
}

/// Provenance of a membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "situation", rename_all = "snake_case")]
pub enum MembershipWhy {
    /// The user is in the group.
    FromEntra,
    /// The user has left the group.
    GroupLeft,
    /// The user is in the group, but it is no longer assigned.
    GroupNotAssigned,
    /// Added by the sync; whether the group still counts is unknown.
    GroupUnknown,
    /// Added by hand or by LiteLLM itself.
    ByHand {
        /// Whether the user is also in the group.
        of_their_group: bool,
    },
    /// Only some of LiteLLM's places have it, so it does not count.
    #[serde(rename = "half")]
    Partial { places: Places },
}
