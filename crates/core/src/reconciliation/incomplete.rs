//! Why a group could not be compared, and how to fix it.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

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
    /// The group counts as assigned, but does not exist.
    AssignedButDeleted,
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
            Self::NotRead => "not_read",
            Self::NoToken(unknown)
            | Self::ServicePrincipal(unknown)
            | Self::AssignedGroups(unknown)
            | Self::Group(unknown)
            | Self::Members(unknown) => &unknown.code,
        }
    }

    /// What is unknown, and why.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::TenantNotConfigured => "the tenant of its members is not configured".to_owned(),
            Self::ServicePrincipalMissing => {
                "the enterprise app's service principal does not exist in the tenant (404)".to_owned()
            }
            Self::AssignedButDeleted => "the group counts as assigned to the app, but does not exist (404)".to_owned(),
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
            Self::AssignedButDeleted | Self::NotRead => "Run the plan again in a few minutes",
        }
    }
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
