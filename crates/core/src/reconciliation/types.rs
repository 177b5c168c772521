//! Input and output of a reconciliation plan. Maps and sets are ordered, so that the same input gives the same plan.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Incomplete, Tripped};
use crate::domain::{GroupId, Identity, ObjectId, TenantId};
use crate::entra_facts::{AccountState, GroupState, MemberList};
use crate::plan::{GroupList, KeptReason, Unknown};

/// What was read from Entra, by tenant.
pub type Snapshot = BTreeMap<TenantId, TenantSnapshot>;

/// What was read from Entra in one tenant.
#[derive(Clone, Debug)]
pub struct TenantSnapshot {
    pub service_principal: ServicePrincipalState,
    /// Groups assigned to the enterprise app. Without a service principal, all groups count as assigned.
    pub assigned: GroupList,
    /// States of groups that are not assigned.
    pub groups: BTreeMap<GroupId, GroupState>,
    /// Member lists of assigned groups.
    pub members: BTreeMap<GroupId, MemberList>,
    /// States of the accounts that the plan depends on.
    pub accounts: BTreeMap<ObjectId, AccountState>,
}

/// Whether the enterprise app's service principal exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServicePrincipalState {
    Exists,
    /// 404: it was deleted, and perhaps created again with another object ID. Not one without assignments.
    Missing,
    /// `entra.service_principal_id` is not set.
    NotConfigured,
    /// Entra issued no app-only token for the tenant.
    NoToken(Unknown),
    Unknown(Unknown),
}

/// The groups to read in one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupsToRead {
    /// Assigned groups, whose members count.
    pub members: BTreeSet<GroupId>,
    /// Groups that are not assigned: whether they exist.
    pub states: BTreeSet<GroupId>,
}

/// The managed memberships of all users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredMemberships {
    /// All users who have signed in.
    pub users: BTreeMap<ObjectId, StoredUser>,
    pub teams: BTreeMap<String, StoredTeam>,
    pub organizations: BTreeMap<String, StoredOrganization>,
    /// Privileges that the database user lacks to remove memberships.
    pub missing_privileges: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUser {
    pub identity: Identity,
    /// Display name.
    pub name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredTeam {
    pub name: Option<String>,
    /// All administrators who have signed in, managed or manual.
    pub admins: BTreeSet<ObjectId>,
    /// Managed members, as far as they are still members.
    pub members: Vec<StoredMember>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredOrganization {
    pub name: Option<String>,
    /// All `org_admin`s who have signed in, managed or manual.
    pub admins: BTreeSet<ObjectId>,
    /// Managed members.
    pub members: Vec<StoredMember>,
}

/// A managed member of a team or organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    pub user: ObjectId,
    /// Administrator of the team or organization.
    pub is_admin: bool,
    /// Of a team: what gave the membership, as [`source`](crate::plan::source) writes it. Empty if a version without
    /// sources gave it.
    pub sources: Vec<String>,
    /// Of an organization: all of its teams in which the user is, managed or manual.
    pub teams: Vec<String>,
}

/// A team or organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// `team` or `organization`.
    pub kind: &'static str,
    pub id: String,
    pub name: Option<String>,
}

/// What to remove, what is kept, and what could not be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReconciliationPlan {
    /// Memberships to remove.
    pub changes: Vec<Change>,
    pub kept: Vec<Kept>,
    /// Groups from which nothing is removed.
    pub incomplete: Vec<IncompleteGroup>,
    /// Why the circuit breaker holds changes.
    pub tripped: Vec<Tripped>,
    /// Managed team memberships whose groups are complete: the base of the circuit breaker.
    pub compared: usize,
}

impl ReconciliationPlan {
    /// Whether no group could be compared, although there are managed memberships.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.compared == 0 && !self.incomplete.is_empty()
    }

    /// Whether the circuit breaker holds a change.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.changes.iter().any(|change| change.held)
    }
}

/// A group that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IncompleteGroup {
    pub group: GroupId,
    /// Name of its team.
    pub name: Option<String>,
    #[serde(flatten)]
    pub reason: Incomplete,
}

/// A membership to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    #[serde(flatten)]
    pub target: Target,
    pub user: ObjectId,
    pub user_name: Option<String>,
    /// The user is an administrator of the team or organization.
    pub is_admin: bool,
    pub cause: Cause,
    /// The group that gave the membership; of an organization, the group of a team in it.
    pub group: GroupId,
    pub evidence: Evidence,
    /// The circuit breaker holds the change.
    pub held: bool,
}

/// Why a membership ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// The group's complete member list does not contain the user.
    LeftGroup,
    /// The group exists, and the complete list of assigned groups does not contain it.
    GroupUnassigned,
    /// The group does not exist, and the complete list of assigned groups does not contain it.
    GroupDeleted,
    /// The account exists neither among the users nor among the deleted items.
    AccountDeleted,
    /// The user has no other membership in the organization (rule 14).
    LastTeamLeft,
}

/// What Entra's answers show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Evidence {
    /// A complete member list of this many users does not contain the user.
    MemberList { members: usize },
    /// A complete list of this many assigned groups does not contain the group.
    Assignments { assigned: usize },
    /// The store: the user's teams in the organization.
    Organization,
}

/// A membership that stays although its group does not give it any longer, or may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    #[serde(flatten)]
    pub target: Target,
    pub user: ObjectId,
    pub user_name: Option<String>,
    #[serde(flatten)]
    pub because: KeptBecause,
    pub group: Option<GroupId>,
    /// Why the membership would end; `None` if it would not.
    pub cause: Option<Cause>,
}

/// Why a membership stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum KeptBecause {
    /// The user is the last administrator with an enabled account (rule 16).
    LastAdmin,
    /// `access.admin_user_ids` lists the user (rule 16).
    ListedAdmin,
    /// The database user lacks the privileges (rule 15).
    MissingPrivileges,
    /// Another installation gives the membership, too.
    OtherInstallation,
    /// The account is among the deleted items: a restore gives its memberships back (rule 17).
    AccountSoftDeleted,
    /// The user may have left the group, or the account may be soft-deleted.
    AccountUnknown(Unknown),
}

impl From<KeptReason> for KeptBecause {
    fn from(reason: KeptReason) -> Self {
        match reason {
            KeptReason::LastAdmin => Self::LastAdmin,
            KeptReason::ListedAdmin => Self::ListedAdmin,
            KeptReason::MissingPrivileges => Self::MissingPrivileges,
            KeptReason::OtherInstallation => Self::OtherInstallation,
        }
    }
}
