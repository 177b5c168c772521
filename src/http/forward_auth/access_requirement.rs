//! What the operator asks of a person beyond being signed in: `?group=…&team=…&organization=…&role=…`, any of them.

use url::form_urlencoded;

use crate::domain::UserRole;
use crate::http::error::WebError;
use crate::http::query::QueryError;
use crate::session::{CompactUser, Id};

/// The values of `role`, as an error names them.
const ROLES: &str = "proxy_admin, proxy_admin_viewer, org_admin, internal_user, internal_user_viewer";

/// Nothing, or any of these.
#[derive(Debug, Default)]
pub(in crate::http) struct AccessRequirement(Vec<Requirement>);

#[derive(Debug)]
enum Requirement {
    Team(String),
    Organization(String),
    Role(UserRole),
}

impl AccessRequirement {
    /// A misspelt name must not let everybody pass, so what is not known is an error, and so is an empty value.
    pub(in crate::http) fn parse(query: Option<&str>) -> Result<Self, WebError> {
        let mut required = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let invalid = |name, allowed| WebError::Requirement(QueryError::Value { name, allowed });
            let id = |name| if value.is_empty() { Err(invalid(name, "an id")) } else { Ok(value.to_string()) };
            match &*name {
                // A group becomes a team, and perhaps an organization, of the same id.
                "group" => required.extend([Requirement::Team(id("group")?), Requirement::Organization(id("group")?)]),
                "team" => required.push(Requirement::Team(id("team")?)),
                "organization" => required.push(Requirement::Organization(id("organization")?)),
                "role" => {
                    let role = UserRole::parse(&value).ok_or_else(|| invalid("role", ROLES))?;
                    required.push(Requirement::Role(role));
                }
                other => {
                    let known = vec!["group", "team", "organization", "role"];
                    return Err(WebError::Requirement(QueryError::Unknown { name: other.to_owned(), known }));
                }
            }
        }
        Ok(Self(required))
    }

    pub(in crate::http) fn is_met_by(&self, user: &CompactUser<'_>) -> bool {
        let meets = |requirement: &Requirement| match requirement {
            Requirement::Team(id) => user.teams.contains(&Id::parse(id)),
            Requirement::Organization(id) => user.organizations.contains(&Id::parse(id)),
            Requirement::Role(role) => user.user_role == Some(role.as_str()),
        };
        self.0.is_empty() || self.0.iter().any(meets)
    }
}
