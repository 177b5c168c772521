//! Teams and their provenance.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::RowLimits;
use super::list::{Builder, ListSource, Page, PageRequest, add_scope};
use crate::db::{Db, DbError};
use crate::explain::TeamOrigin;
use crate::permissions::Scope;

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Team {
    pub team_id: String,
    pub team_alias: String,
    /// `None`: a standalone team.
    pub organization_id: Option<String>,
    pub organization_alias: Option<String>,
    /// Empty: all models. `all-org-models`: the organization's models.
    pub models: Vec<String>,
    pub organization_models: Option<Vec<String>>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub limits: RowLimits,
    pub created_at: DateTime<Utc>,
}

const TEAMS: ListSource = ListSource {
    columns: "t.*, o.organization_alias, o.models as organization_models",
    from: "teams t left join organizations o on o.organization_id = t.organization_id",
    id: "t.team_id",
    name: "lower(t.team_alias)",
    created: "t.created",
    words: "entraway.words(t.team_alias)",
    records: false,
};

/// The user's own teams, and those of organizations that the user administers.
fn own(query: &mut Builder, user_id: &str, organizations: &[String]) {
    query.push("t.team_id in (select team_id from team_members where user_id = ").push_bind(user_id.to_owned());
    query.push(" union all select team_id from teams where organization_id = any(");
    query.push_bind(organizations.to_vec()).push("))");
}

impl Db {
    /// A page of the teams within a scope: the user's own and those of organizations they administer.
    pub async fn teams(&self, scope: &Scope, request: &PageRequest) -> Result<Page<Team>, DbError> {
        self.list(&TEAMS, request, |query| add_scope(query, scope, own)).await
    }

    /// A page of an organization's teams within a scope.
    pub async fn teams_of_organization(
        &self,
        scope: &Scope,
        organization_id: &str,
        request: &PageRequest,
    ) -> Result<Page<Team>, DbError> {
        let only = |query: &mut Builder| {
            query.push(" and t.organization_id = ").push_bind(organization_id.to_owned());
            add_scope(query, scope, own);
        };
        self.list(&TEAMS, request, only).await
    }

    /// One team within a scope.
    pub async fn team(&self, scope: &Scope, id: &str) -> Result<Option<Team>, DbError> {
        self.one(&TEAMS, id, |query| add_scope(query, scope, own)).await
    }

    /// Provenance of a team; `None` if it was created by hand or by an older version.
    pub async fn team_origin(&self, id: &str) -> Result<Option<TeamOrigin>, DbError> {
        let sql = "select made_at, organizations_on, organization_refused from entraway.made_teams where team_id = $1";
        let row = sqlx::query_as(sql).bind(id).fetch_optional(&mut *self.connection().await?).await?;
        Ok(row.map(|(made_at, organizations_on, organization_refused)| TeamOrigin {
            made_at,
            organizations_on,
            organization_refused,
        }))
    }
}
