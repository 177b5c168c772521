//! What a user may see and do: a pure function of role and memberships.

use crate::domain::UserRole;

/// Permissions on pages and in `/api`. Objects outside the scope are reported as not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub scope: Scope,
    /// May see everything, including the settings: `proxy_admin` and `proxy_admin_viewer`.
    pub operator: bool,
    /// May change other users' sessions: `proxy_admin`.
    pub administrator: bool,
}

/// Visible organizations, teams and users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    /// The user's own memberships, and the teams and users of administered organizations.
    Own {
        /// Key of the user's row.
        user_id: String,
        /// Organizations that the user administers.
        organizations: Vec<String>,
    },
}

impl Permissions {
    /// Determines the permissions.
    ///
    /// `administers`: organizations in which the user has the role `org_admin`, independent of the user's own role. An
    /// unknown role grants nothing.
    #[must_use]
    pub fn of(user_id: &str, user_role: Option<&str>, administers: &[String]) -> Self {
        let role = user_role.and_then(UserRole::parse);
        let operator = role.is_some_and(UserRole::is_operator);
        let scope = if operator {
            Scope::All
        } else {
            Scope::Own { user_id: user_id.to_owned(), organizations: administers.to_vec() }
        };
        Self { scope, operator, administrator: role == Some(UserRole::ProxyAdmin) }
    }

    /// Whether the user may see the members of this organization and of its teams.
    #[must_use]
    pub fn administers(&self, organization_id: Option<&str>) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Own { organizations, .. } => {
                organization_id.is_some_and(|id| organizations.iter().any(|administered| administered == id))
            }
        }
    }

    /// Whether the user may see other users.
    #[must_use]
    pub fn sees_others(&self) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Own { organizations, .. } => !organizations.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_follow_role() {
        let organizations = ["o".to_owned()];
        for (role, operator, administrator) in [
            (Some("proxy_admin"), true, true),
            (Some("PROXY_ADMIN_VIEWER"), true, false),
            (Some("org_admin"), false, false),
            (Some("internal_user"), false, false),
            (Some("internal_user_viewer"), false, false),
            (Some("team"), false, false),
            (Some(""), false, false),
            (None, false, false),
        ] {
            let permissions = Permissions::of("u", role, &organizations);
            assert_eq!((permissions.operator, permissions.administrator), (operator, administrator), "{role:?}");
            let own = Scope::Own { user_id: "u".to_owned(), organizations: organizations.to_vec() };
            assert_eq!(permissions.scope, if operator { Scope::All } else { own }, "{role:?}");
        }
    }

    #[test]
    fn user_without_organizations_sees_no_others() {
        assert!(!Permissions::of("u", Some("org_admin"), &[]).sees_others());
        assert!(Permissions::of("u", Some("internal_user"), &["o".to_owned()]).sees_others());
        assert!(Permissions::of("u", Some("proxy_admin_viewer"), &[]).sees_others());
    }
}
