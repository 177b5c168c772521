//! What has to be known of one person before anything can be explained: what the store holds of them, what Entra last
//! told, and how their sign-ins went.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::Redacted;

/// All facts of one person. Ids are text: those made by hand need not be GUIDs.
#[derive(Clone, Debug)]
pub struct Facts {
    pub person: UserFacts,
    /// The groups that Entra last told completely; `None` where it never did.
    pub reading: Option<ReadingFacts>,
    pub assigned_groups: ListFacts,
    pub member_of: ListFacts,
    /// The newest sign-in of which a record is kept.
    pub newest: Option<RunFacts>,
    /// The newest one with both lists known: only such a one makes memberships.
    pub complete: Option<RunFacts>,
    /// The teams of the groups and of the memberships, as far as they exist.
    pub teams: Vec<TeamFacts>,
    /// The organizations of the same.
    pub organizations: Vec<OrganizationFacts>,
    pub team_members: Vec<TeamMemberFacts>,
    pub organization_members: Vec<OrganizationMemberFacts>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct UserFacts {
    /// The key of their row; the object id where there is no row.
    pub user_id: Redacted,
    pub object_id: Option<Redacted>,
    pub tenant_id: Option<String>,
    pub email: Option<Redacted>,
    pub name: Option<String>,
    pub role: Option<String>,
    /// The role that the sync last gave.
    pub sso_role: Option<String>,
    /// Every valid role that their last ID token offered.
    pub offered_roles: BTreeSet<String>,
    /// The operator role that waits until an operator confirms the row, which another program made.
    pub withheld_role: Option<String>,
    /// Whether the store has a row of theirs.
    pub has_row: bool,
    /// Whether it is the row of somebody who has signed in here, and not only another program's.
    pub from_here: bool,
}

/// The person's own groups.
#[derive(Clone, Debug, Deserialize)]
pub struct ReadingFacts {
    pub assigned_groups: AssignedGroups,
    pub groups: BTreeMap<String, GroupFacts>,
}

/// What was known of the assigned groups when the person's own were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignedGroups {
    Known,
    Unknown,
    NotConfigured,
}

#[derive(Clone, Debug, Deserialize)]
pub struct GroupFacts {
    pub name: Option<String>,
    /// `None` where the assigned groups were not known.
    pub assigned: Option<bool>,
}

/// When a list of groups was known last, and since when it is not.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ListFacts {
    pub as_of: Option<DateTime<Utc>>,
    /// The first sign-in after that at which it was unknown.
    pub unknown_since: Option<DateTime<Utc>>,
}

/// A sync record.
#[derive(Clone, Debug, Deserialize)]
pub struct RunFacts {
    pub started_at: DateTime<Utc>,
    pub outcome: Outcome,
    pub assigned_groups: ListState,
    pub assigned_groups_why: Option<String>,
    pub member_of: ListState,
    pub member_of_why: Option<String>,
    pub failures: Vec<FailureFacts>,
}

/// How a sign-in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    SignedIn,
    NoGroup,
    GroupsUnknown,
    EmailDomain,
    OtherTenant,
}

/// What a sign-in got of a list of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListState {
    Known,
    Unknown,
    NotConfigured,
    NotRead,
}

/// A row that the database refused.
#[derive(Clone, Debug, Deserialize)]
pub struct FailureFacts {
    pub kind: Kind,
    pub id: String,
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Organization,
    Team,
}

#[derive(Clone, Debug, Deserialize)]
pub struct TeamFacts {
    pub id: String,
    pub name: Option<String>,
    pub organization_id: Option<String>,
    pub organization_name: Option<String>,
    /// How it came to be, if the sync made it.
    pub made: Option<MadeTeam>,
}

/// How a team that the sync made came to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct MadeTeam {
    pub made_at: DateTime<Utc>,
    /// Whether groups were to become organizations then.
    pub organizations_on: bool,
    /// Why its organization could not be made then.
    pub organization_refused: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct OrganizationFacts {
    pub id: String,
    pub name: Option<String>,
}

/// Who made a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The sync did.
    Entra,
    /// Somebody did by hand; in a LiteLLM database perhaps the proxy by itself.
    Manual,
}

#[derive(Clone, Debug, Deserialize)]
pub struct TeamMemberFacts {
    pub team_id: String,
    pub role: Option<String>,
    pub source: Source,
    /// In a LiteLLM database: which of the three places of a membership have it.
    pub places: Option<Places>,
}

/// The places of a membership in a LiteLLM database. It counts where all three have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Places {
    /// The team's `members_with_roles`.
    pub roster: bool,
    /// The person's own `teams`.
    pub person: bool,
    /// A row of `LiteLLM_TeamMembership`.
    pub membership: bool,
}

impl Places {
    #[must_use]
    pub fn all(self) -> bool {
        self.roster && self.person && self.membership
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct OrganizationMemberFacts {
    pub organization_id: String,
    pub role: Option<String>,
    pub source: Source,
}

/// A team that somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTeam {
    pub id: String,
    pub name: Option<String>,
}
