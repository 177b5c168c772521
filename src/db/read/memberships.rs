//! Members of teams and organizations, and memberships of users, with their provenance.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::list::{Builder, ListSource, Page, PageRequest, Sort, USER_NAME, USER_WORDS};
use super::{RowLimits, name_or_id};
use crate::db::{Db, DbError};
use crate::permissions::Scope;

/// A member of a team or organization.
#[derive(Clone, Serialize, sqlx::FromRow)]
pub struct Member {
    /// Key of the user's row; the e-mail address for a member who is on a LiteLLM roster by address only.
    pub user_id: String,
    #[sqlx(rename = "user_alias")]
    pub display_name: Option<String>,
    #[sqlx(rename = "user_email")]
    pub email: Option<String>,
    /// Role in the team or organization.
    pub role: Option<String>,
    /// `entra` or `manual`.
    pub source: String,
    /// `None` if the store does not record it.
    pub joined_at: Option<DateTime<Utc>>,
    /// Whether the user has a row, and so a page.
    #[serde(skip)]
    pub has_row: bool,
}

impl Member {
    /// Display name, else e-mail address, else ID.
    #[must_use]
    pub fn name(&self) -> &str {
        name_or_id(self.display_name.as_deref(), self.email.as_deref(), &self.user_id)
    }
}

/// Redacts the name and the e-mail address.
impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("role", &self.role).field("source", &self.source).finish_non_exhaustive()
    }
}

/// An organization that a user is in.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct UserOrganization {
    pub organization_id: String,
    pub organization_alias: String,
    pub user_role: Option<String>,
    /// `entra` or `manual`.
    pub source: String,
    pub joined_at: Option<DateTime<Utc>>,
    pub models: Vec<String>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub limits: RowLimits,
}

/// A team that a user is in.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct UserTeam {
    pub team_id: String,
    pub team_alias: String,
    pub organization_id: Option<String>,
    pub organization_alias: Option<String>,
    pub role: String,
    /// `entra` or `manual`.
    pub source: String,
    pub joined_at: Option<DateTime<Utc>>,
    pub models: Vec<String>,
    pub organization_models: Option<Vec<String>>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub limits: RowLimits,
}

const TEAM_MEMBERS: ListSource = ListSource {
    columns: "u.*",
    from: "rosters u",
    id: "u.user_id",
    name: USER_NAME,
    created: "u.created",
    words: USER_WORDS,
    records: false,
};

const ORGANIZATION_MEMBERS: ListSource = ListSource {
    columns: "u.*, m.user_role as role, m.source, m.joined_at, true as has_row",
    from: "organization_members m join user_names u on u.user_id = m.user_id",
    id: "m.user_id",
    created: "m.created",
    ..TEAM_MEMBERS
};

const ORGANIZATIONS_OF: &str = "
    select o.*, m.user_role, m.source, m.joined_at
    from organization_members m join organizations o on o.organization_id = m.organization_id
    where m.user_id = $1 and ($2::text[] is null or o.organization_id = any($2))
    order by lower(o.organization_alias), o.organization_id limit $3";

const TEAMS_OF: &str = "
    select t.*, o.organization_alias, o.models as organization_models, m.role, m.source, m.joined_at
    from team_members m join teams t on t.team_id = m.team_id
         left join organizations o on o.organization_id = t.organization_id
    where m.user_id = $1 and ($2::text[] is null or t.organization_id = any($2))
    order by lower(t.team_alias), t.team_id limit $3";

/// Maximum number of memberships per user; more than a page shows.
const MAX_ROWS: i64 = 1_000;

impl Db {
    /// A page of a team's members, newest first. With `only`, just that member.
    pub async fn team_members(
        &self,
        team_id: &str,
        only: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<Member>, DbError> {
        // A roster entry without a user ID has the e-mail address in its place, which proves nothing.
        let own = " and u.has_row and u.user_id = ";
        self.members(&TEAM_MEMBERS, [" and u.team_id = ", own], team_id, only, request).await
    }

    /// A page of an organization's members, newest first. With `only`, just that member.
    pub async fn organization_members(
        &self,
        organization_id: &str,
        only: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<Member>, DbError> {
        let conditions = [" and m.organization_id = ", " and u.user_id = "];
        self.members(&ORGANIZATION_MEMBERS, conditions, organization_id, only, request).await
    }

    async fn members(
        &self,
        source: &ListSource,
        [of, own]: [&str; 2],
        id: &str,
        only: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<Member>, DbError> {
        let conditions = |query: &mut Builder| {
            query.push(of).push_bind(id.to_owned());
            if let Some(user_id) = only {
                query.push(own).push_bind(user_id.to_owned());
            }
        };
        self.list(source, &PageRequest { sort: Sort::Newest, ..request.clone() }, conditions).await
    }

    /// A user's organizations within a scope, by name, at most 1,000.
    pub async fn organizations_of(&self, user_id: &str, scope: &Scope) -> Result<Vec<UserOrganization>, DbError> {
        let query = sqlx::query_as(self.over_relations(ORGANIZATIONS_OF));
        let query = query.bind(user_id.to_owned()).bind(visible_organizations(user_id, scope)).bind(MAX_ROWS);
        Ok(query.fetch_all(&mut *self.connection().await?).await?)
    }

    /// A user's teams within a scope, by name, at most 1,000.
    pub async fn teams_of(&self, user_id: &str, scope: &Scope) -> Result<Vec<UserTeam>, DbError> {
        let query = sqlx::query_as(self.over_relations(TEAMS_OF));
        let query = query.bind(user_id.to_owned()).bind(visible_organizations(user_id, scope)).bind(MAX_ROWS);
        Ok(query.fetch_all(&mut *self.connection().await?).await?)
    }
}

/// Organizations to which the view of another user is restricted; `None` for no restriction.
fn visible_organizations(user_id: &str, scope: &Scope) -> Option<Vec<String>> {
    match scope {
        Scope::Own { user_id: own, organizations } if own != user_id => Some(organizations.clone()),
        _ => None,
    }
}
