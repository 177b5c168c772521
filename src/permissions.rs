//! Who sees what: a pure function of a person's role and memberships.

use crate::domain::UserRole;

/// What a person may see and do on pages and in `/api`. What one may not know of is not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub scope: Scope,
    /// Sees everything, how the service is set up included: `proxy_admin` and `proxy_admin_viewer`.
    pub operator: bool,
    /// Does the few things that pages can do to others: `proxy_admin`.
    pub administrator: bool,
}

/// Which organizations, teams and people somebody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    /// What they are in themselves, and with each of these organizations its teams and people.
    Own {
        /// The key of their row.
        user_id: String,
        /// The organizations that they administer.
        organizations: Vec<String>,
    },
}

impl Permissions {
    /// `administers` are the organizations where their membership says `org_admin`: that is a right over particular
    /// organizations, so their own role does not matter for it. A role that is none of LiteLLM's gives no right.
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

    /// Whether they see who is in this organization, or in a team of it.
    #[must_use]
    pub fn administers(&self, organization_id: Option<&str>) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Own { organizations, .. } => {
                organization_id.is_some_and(|id| organizations.iter().any(|administered| administered == id))
            }
        }
    }

    /// Whether they see people other than themselves.
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
    fn each_role_sees_what_it_says_and_only_an_administrator_acts() {
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
            let rights = Permissions::of("u", role, &organizations);
            assert_eq!((rights.operator, rights.administrator), (operator, administrator), "{role:?}");
            let own = Scope::Own { user_id: "u".to_owned(), organizations: organizations.to_vec() };
            assert_eq!(rights.scope, if operator { Scope::All } else { own }, "{role:?}");
        }
    }

    #[test]
    fn who_administers_nothing_sees_nobody_else() {
        assert!(!Permissions::of("u", Some("org_admin"), &[]).sees_others());
        assert!(Permissions::of("u", Some("internal_user"), &["o".to_owned()]).sees_others());
        assert!(Permissions::of("u", Some("proxy_admin_viewer"), &[]).sees_others());
    }
}
