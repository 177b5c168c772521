//! Input of an explanation: the stored state of a user, Entra's last answer, and the user's sign-ins.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Redacted;
use crate::reconciliation::DisabledCause;
use crate::sync_run::Denial;

/// All facts about a user. IDs are text, because IDs created by hand need not be GUIDs.
#[derive(Clone, Debug)]
pub struct Facts {
    pub user: UserFacts,
    /// The groups of the last complete answer from Entra; `None` if there was none.
    pub reading: Option<ReadingFacts>,
    pub assigned_groups: ListFacts,
    pub member_of: ListFacts,
    /// The last recorded sign-in.
    pub newest: Option<RunFacts>,
    /// The last sign-in with both lists known; only such a sign-in creates memberships.
    pub complete: Option<RunFacts>,
    /// Existing teams of the groups and memberships.
    pub teams: Vec<TeamFacts>,
    /// Existing organizations of the groups and memberships.
    pub organizations: Vec<OrganizationFacts>,
    pub team_members: Vec<MemberFacts>,
    pub organization_members: Vec<MemberFacts>,
    /// The last removal from each team and organization that the user was not added to since.
    pub removals: Vec<RemovalFacts>,
    /// Set while the account is disabled in Entra.
    pub disabled: Option<DisabledFacts>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct UserFacts {
    /// Key of the row; the object ID if there is no row.
    pub user_id: Redacted,
    pub object_id: Option<Redacted>,
    pub tenant_id: Option<String>,
    pub email: Option<Redacted>,
    pub name: Option<String>,
    pub role: Option<String>,
    /// The role that the sync last granted.
    pub sso_role: Option<String>,
    /// All valid roles of the last ID token.
    pub offered_roles: BTreeSet<String>,
    /// The operator role that is withheld until an operator confirms the row.
    pub withheld_role: Option<String>,
    /// Whether the store has a row of the user.
    pub has_row: bool,
    /// Whether the user has signed in here with this row.
    pub from_here: bool,
}

/// The user's groups.
#[derive(Clone, Debug, Deserialize)]
pub struct ReadingFacts {
    /// State of the list of assigned groups at that time.
    pub assigned_groups: ListState,
    pub groups: BTreeMap<String, GroupFacts>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct GroupFacts {
    pub name: Option<String>,
    /// `None` if the assigned groups were unknown.
    pub assigned: Option<bool>,
}

/// When a list of groups was last known, and since when it is unknown.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ListFacts {
    pub as_of: Option<DateTime<Utc>>,
    /// First sign-in after that with an unknown list.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    SignedIn,
    #[serde(untagged)]
    Denied(Denial),
}

/// State of a list of groups at a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListState {
    Known,
    Unknown,
    NotConfigured,
    NotRead,
}

/// A row that the database rejected.
#[derive(Clone, Debug, Deserialize)]
pub struct FailureFacts {
    pub kind: Kind,
    pub id: String,
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
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
    /// Provenance, if the sync created the team.
    pub made: Option<TeamOrigin>,
}

/// Provenance of a managed team.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct TeamOrigin {
    pub made_at: DateTime<Utc>,
    /// Whether groups became organizations at that time.
    pub organizations_on: bool,
    /// Why its organization could not be created.
    pub organization_refused: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct OrganizationFacts {
    pub id: String,
    pub name: Option<String>,
}

/// Provenance of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Added by the sync.
    Entra,
    /// Added by hand, or by LiteLLM itself.
    Manual,
}

/// The user's membership of a team or an organization.
#[derive(Clone, Debug, Deserialize)]
pub struct MemberFacts {
    #[serde(alias = "team_id", alias = "organization_id")]
    pub id: String,
    pub role: Option<String>,
    pub source: Source,
    /// Teams of LiteLLM only: which of the three places have the membership.
    pub places: Option<Places>,
}

impl MemberFacts {
    /// The places, if only some of them have the membership, which then does not count.
    #[must_use]
    pub fn partial(&self) -> Option<Places> {
        self.places.filter(|places| !places.all())
    }
}

/// A removal of the user, from the audit events.
#[derive(Clone, Debug, Deserialize)]
pub struct RemovalFacts {
    pub kind: Kind,
    pub id: String,
    pub name: Option<String>,
    pub at: DateTime<Utc>,
    pub cause: Option<String>,
    /// `sign_in`, or `job` or `command` for a reconciliation run.
    pub actor: String,
    pub run_id: Option<Uuid>,
}

impl RemovalFacts {
    /// Whether a reconciliation run removed the user.
    #[must_use]
    pub fn is_by_run(&self) -> bool {
        self.actor != "sign_in"
    }
}

/// An account that a reconciliation run found disabled.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct DisabledFacts {
    pub cause: DisabledCause,
    pub since: DateTime<Utc>,
}

/// The places of a membership in a LiteLLM database. It counts if all three have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Places {
    /// The team's `members_with_roles`.
    pub roster: bool,
    /// The `teams` of the user's row.
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

/// A team found by ID or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTeam {
    pub id: String,
    pub name: Option<String>,
}
