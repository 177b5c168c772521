//! Sync runs: what one sign-in's sync read, wrote, left alone and failed to write, or why policy denied the sign-in.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::plan::{Applied, Directory, Note};
use crate::policy::Policy;

/// The sync of one sign-in that Entra authenticated, whether allowed or denied.
#[derive(Debug, Default)]
pub struct SyncRun {
    pub run_id: Uuid,
    pub started_at: DateTime<Utc>,
    /// `None` if the user was allowed to sign in.
    pub denial: Option<Denial>,
    /// `None` if the user was denied before anything was read.
    pub directory: Option<Directory>,
    pub applied: Applied,
    pub notes: Vec<Note>,
    /// From the authorization code to the verified ID token.
    pub entra_time: Duration,
    pub graph_time: Duration,
    /// For the plan that showed whether a write is necessary.
    pub plan_time: Duration,
    pub store_time: Duration,
}

impl SyncRun {
    /// Creates a run without changes.
    #[must_use]
    pub fn new(run_id: Uuid, started_at: DateTime<Utc>, denial: Option<Denial>, directory: Option<Directory>) -> Self {
        Self { run_id, started_at, denial, directory, ..Self::default() }
    }
}

/// Why policy denied a sign-in although Entra authenticated the user. Its name in JSON and in the database is
/// [`Denial::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// `access.require_group`: the user is in no assigned group.
    NoGroup,
    /// `access.require_group`: the groups are unknown.
    GroupsUnknown,
    /// `access.allowed_email_domains`.
    EmailDomain,
    /// The object ID belongs to a user of another tenant.
    OtherTenant,
}

impl Denial {
    /// Applies `access.require_group`. An unknown list denies the sign-in, for a reason of its own.
    #[must_use]
    pub fn for_groups(policy: &Policy, directory: &Directory) -> Option<Self> {
        if !policy.require_group {
            return None;
        }
        match directory.in_assigned_group() {
            Some(true) => None,
            Some(false) => Some(Self::NoGroup),
            None => Some(Self::GroupsUnknown),
        }
    }

    /// Whether the loss of access is certain. An unknown list proves nothing, so it ends no session.
    #[must_use]
    pub fn is_known(self) -> bool {
        match self {
            Self::NoGroup | Self::EmailDomain | Self::OtherTenant => true,
            Self::GroupsUnknown => false,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoGroup => "no_group",
            Self::GroupsUnknown => "groups_unknown",
            Self::EmailDomain => "email_domain",
            Self::OtherTenant => "other_tenant",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_has_one_name_in_json_and_database() {
        for denial in [Denial::NoGroup, Denial::GroupsUnknown, Denial::EmailDomain, Denial::OtherTenant] {
            assert_eq!(serde_json::to_value(denial).unwrap(), denial.as_str());
        }
    }
}
