//! Audit events: who got or lost access to what, when, and why.
//!
//! An event names users by ID only. Names and e-mail addresses are looked up when it is shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{GroupId, ObjectId, Redacted};

/// One change of access, or one that a guard prevented.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditEvent {
    pub actor: AuditActor,
    /// The sync run that caused the event.
    pub run_id: Option<Uuid>,
    pub action: AuditAction,
    /// Key of the row of the user whose access changed.
    pub user_id: Option<Redacted>,
    /// Object ID of that user, if known.
    pub object_id: Option<ObjectId>,
    pub target: AuditTarget,
    /// Why, such as `left_group`.
    pub cause: Option<&'static str>,
    /// The Entra group that gave the membership.
    pub group: Option<GroupId>,
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// What the decision is based on, such as when the list was read.
    pub evidence: Option<Value>,
    pub result: AuditResult,
}

/// Who acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuditActor {
    /// The sync of a sign-in of the user concerned.
    SignIn,
    /// An operator, on a page or through the API.
    Operator(ObjectId),
    /// The user concerned.
    User(ObjectId),
    /// A subcommand of the program.
    Command,
    /// A background job.
    Job,
}

impl AuditActor {
    /// Object ID of the actor, if it is a user.
    #[must_use]
    pub fn object_id(self) -> Option<ObjectId> {
        match self {
            Self::Operator(id) | Self::User(id) => Some(id),
            Self::SignIn | Self::Command | Self::Job => None,
        }
    }
}

/// What happened. Names in the database and in JSON are in snake case, such as `team_member_added`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuditAction {
    TeamMemberAdded,
    TeamMemberRemoved,
    OrganizationMemberAdded,
    OrganizationMemberRemoved,
    /// A role, global or in an organization.
    RoleChanged,
    AccountCreated,
    /// An operator confirmed a user row that another program created, so that operator roles count.
    AccountConfirmed,
    /// Entra disabled or deleted the account.
    AccountDisabled,
    /// The account is enabled again.
    AccountEnabled,
    /// The user's LiteLLM keys of a team, after the user left it.
    KeysBlocked,
    /// The same keys, after the user returned.
    KeysRestored,
    SessionsRevoked,
    SignInDenied,
    /// The circuit breaker held a plan.
    PlanHeld,
    PlanApproved,
    PlanRejected,
    /// Its group was renamed in Entra.
    TeamRenamed,
    OrganizationRenamed,
}

impl AuditAction {
    /// The name in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What the user got or lost access to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditTarget {
    pub kind: AuditTargetKind,
    pub id: Option<String>,
    /// Its name at the time, if known.
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuditTargetKind {
    Team,
    Organization,
    Account,
    Session,
    /// A held plan, by its hash.
    Plan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuditResult {
    Applied,
    /// A guard kept the access, such as that of a team's last administrator.
    Kept,
}
