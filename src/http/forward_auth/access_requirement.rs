//! Access requirement of forward auth: `?group=…&team=…&organization=…&role=…`. One match is enough.

use url::form_urlencoded;

use crate::db::ForwardedUser;
use crate::domain::UserRole;
use crate::http::error::WebError;
use crate::http::query::QueryError;

/// Allowed values of `role`.
const ROLES: &str = "proxy_admin, proxy_admin_viewer, org_admin, internal_user, internal_user_viewer";

/// Empty: every signed-in user is allowed. Otherwise one of these has to match.
#[derive(Debug, Default)]
pub(in crate::http) struct AccessRequirement(Vec<Requirement>);

#[derive(Debug)]
enum Requirement {
    Team(String),
    Organization(String),
    Role(UserRole),
}

impl AccessRequirement {
    /// Parses a query. Unknown parameters and empty values are errors: ignoring a misspelled name would allow every
    /// user.
    pub(in crate::http) fn parse(query: Option<&str>) -> Result<Self, WebError> {
        let mut requirements = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let invalid = |name, allowed| WebError::Requirement(QueryError::Value { name, allowed });
            let id = |name| if value.is_empty() { Err(invalid(name, "an ID")) } else { Ok(value.to_string()) };
            match &*name {
                // A group becomes a team and perhaps an organization of the same ID.
                "group" => {
                    requirements.extend([Requirement::Team(id("group")?), Requirement::Organization(id("group")?)]);
                }
                "team" => requirements.push(Requirement::Team(id("team")?)),
                "organization" => requirements.push(Requirement::Organization(id("organization")?)),
                "role" => {
                    let role = UserRole::parse(&value).ok_or_else(|| invalid("role", ROLES))?;
                    requirements.push(Requirement::Role(role));
                }
                other => {
                    let known = vec!["group", "team", "organization", "role"];
                    return Err(WebError::Requirement(QueryError::Unknown { name: other.to_owned(), known }));
                }
            }
        }
        Ok(Self(requirements))
    }

    pub(in crate::http) fn is_met_by(&self, user: &ForwardedUser) -> bool {
        let meets = |requirement: &Requirement| match requirement {
            Requirement::Team(id) => user.teams.contains(id),
            Requirement::Organization(id) => user.organizations.contains(id),
            Requirement::Role(role) => user.user_role.as_deref() == Some(role.as_str()),
        };
        self.0.is_empty() || self.0.iter().any(meets)
    }
}
