//! Why a group could not be compared, and how to fix it.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{IncompleteGroup, StoredMemberships};
use crate::domain::{GroupId, ObjectId};
use crate::plan::Unknown;

/// Why nothing is removed from a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// The tenant of the group's members is not configured.
    TenantNotConfigured,
    NoToken(Unknown),
    ServicePrincipalMissing,
    ServicePrincipal(Unknown),
    AssignedGroups(Unknown),
    /// Whether the group exists is unknown.
    Group(Unknown),
    Members(Unknown),
    /// The group is assigned, but does not exist.
    AssignedButDeleted,
    /// The group does not exist, and no service principal is configured, so that its assignment cannot be read.
    DeletedWithoutServicePrincipal,
    /// Not part of the snapshot.
    NotRead,
}

impl Incomplete {
    /// Stable code, such as `graph_forbidden`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::TenantNotConfigured => "tenant_not_configured",
            Self::ServicePrincipalMissing => "service_principal_missing",
            Self::AssignedButDeleted => "assigned_but_deleted",
            Self::DeletedWithoutServicePrincipal => "deleted_without_service_principal",
            Self::NotRead => "not_read",
            Self::NoToken(unknown)
            | Self::ServicePrincipal(unknown)
            | Self::AssignedGroups(unknown)
            | Self::Group(unknown)
            | Self::Members(unknown) => &unknown.code,
        }
    }

    /// The application permission that the app lacks, if that is why.
    #[must_use]
    pub fn missing_permission(&self) -> Option<&'static str> {
        let (unknown, permission) = match self {
            Self::ServicePrincipal(unknown) | Self::AssignedGroups(unknown) => (unknown, "Application.Read.All"),
            Self::Group(unknown) | Self::Members(unknown) => (unknown, "GroupMember.Read.All"),
            _ => return None,
        };
        is_permission_missing(unknown).then_some(permission)
    }

    /// What is unknown, and why.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::TenantNotConfigured => "the tenant of its members is not configured".to_owned(),
            Self::ServicePrincipalMissing => {
                "the enterprise app's service principal does not exist in the tenant (404)".to_owned()
            }
            Self::AssignedButDeleted => "the group is assigned to the app, but does not exist (404)".to_owned(),
            Self::DeletedWithoutServicePrincipal => {
                "the group does not exist (404), and entra.service_principal_id is not set, so that its assignment to the app \
                 cannot be read"
                    .to_owned()
            }
            Self::NotRead => "the group or a member's account was not read".to_owned(),
            Self::NoToken(unknown) => format!("app-only token: {}", unknown.message),
            Self::ServicePrincipal(unknown) => format!("service principal: {}", unknown.message),
            Self::AssignedGroups(unknown) => format!("assigned groups: {}", unknown.message),
            Self::Group(unknown) => format!("group: {}", unknown.message),
            Self::Members(unknown) => format!("member list: {}", unknown.message),
        }
    }

    /// How the operator can fix it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        const APPLICATION: &str = "Add the application permission Application.Read.All and grant admin consent";
        const GROUP_MEMBER: &str = "Add the application permission GroupMember.Read.All and grant admin consent";
        match self {
            Self::TenantNotConfigured => {
                "Add the tenant to entra.allowed_tenants, or remove the memberships of its users by hand"
            }
            Self::NoToken(_) => "Run entraway check: it names the credential that Entra rejects",
            Self::ServicePrincipalMissing => {
                "Set entra.service_principal_id to the object ID of the enterprise app, assign its groups again if it was \
                 created again, and restart"
            }
            Self::ServicePrincipal(unknown) | Self::AssignedGroups(unknown) => fix(unknown, APPLICATION),
            Self::Group(unknown) | Self::Members(unknown) => fix(unknown, GROUP_MEMBER),
            Self::AssignedButDeleted => {
                "Run the plan again in a few minutes. If it stays, remove the group's assignment to the enterprise app"
            }
            Self::DeletedWithoutServicePrincipal => {
                "Set entra.service_principal_id to the object ID of the enterprise app, or remove the memberships by hand"
            }
            Self::NotRead => "Run the plan again in a few minutes",
        }
    }
}

/// Whether Graph refused a read, or left out values.
pub(super) fn is_permission_missing(unknown: &Unknown) -> bool {
    matches!(unknown.code.as_str(), "graph_forbidden" | "graph_unauthorized" | "graph_limited_information")
}

/// How to fix a failed read that needs this permission.
fn fix(unknown: &Unknown, permission: &'static str) -> &'static str {
    match unknown.code.as_str() {
        "graph_forbidden" | "graph_unauthorized" | "graph_limited_information" => permission,
        "graph_hidden_membership" => {
            "Change the group's visibility in Entra. Until then its members lose access only when they sign in"
        }
        "graph_throttled" | "graph_timeout" | "graph_unavailable" | "graph_missing_item" | "graph_inconsistent" => {
            "Run the plan again in a few minutes"
        }
        _ => "Check entra.graph_url and entra.cloud, and that this machine can reach Graph. Then run the plan again",
    }
}

/// As an object with `code`, `message` and `fix`.
impl Serialize for Incomplete {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Incomplete", 3)?;
        object.serialize_field("code", self.code())?;
        object.serialize_field("message", &self.message())?;
        object.serialize_field("fix", self.fix())?;
        object.end()
    }
}

/// Incomplete groups, each with its first reason.
#[derive(Debug, Default)]
pub(super) struct IncompleteGroups(BTreeMap<GroupId, IncompleteGroup>);

impl IncompleteGroups {
    /// Adds a membership that is kept because the group is incomplete. `target`: ID of the team or organization.
    pub(super) fn add(&mut self, group: GroupId, reason: &Incomplete, target: &str, user: ObjectId) {
        let entry = self.0.entry(group).or_insert_with(|| IncompleteGroup {
            group,
            name: None,
            reason: reason.clone(),
            targets: [].into(),
            users: [].into(),
        });
        if !entry.targets.contains(target) {
            entry.targets.insert(target.to_owned());
        }
        entry.users.insert(user);
    }

    /// All of them, with the names of their teams or organizations.
    pub(super) fn into_list(self, stored: &StoredMemberships) -> Vec<IncompleteGroup> {
        let named = |group: IncompleteGroup| {
            let id = group.group.to_string();
            let team = stored.teams.get(&id).and_then(|team| team.name.clone());
            let organization = || stored.organizations.get(&id)?.name.clone();
            IncompleteGroup { name: team.or_else(organization), ..group }
        };
        self.0.into_values().map(named).collect()
    }
}
