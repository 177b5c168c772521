//! Teams and their provenance.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::RowLimits;
use super::list::{Builder, ListSource, OwnFilter, Page, PageRequest, add_scope};
use crate::db::{Db, DbError};
use crate::domain::StoreKind;
use crate::explain::TeamOrigin;
use crate::permissions::Scope;

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Team {
    #[sqlx(rename = "id")]
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

const NATIVE: ListSource = ListSource {
    columns: "t.team_id as id, t.team_alias, t.organization_id, o.organization_alias, t.models,
              o.models as organization_models, t.max_budget, t.budget_duration, t.budget_reset_at, t.tpm_limit,
              t.rpm_limit, t.created_at",
    from: "entraway.teams t left join entraway.organizations o on o.organization_id = t.organization_id",
    id: "t.team_id",
    id_cast: "",
    name: "lower(t.team_alias)",
    created: "t.created_at",
    zone: "",
    words: "entraway.words(t.team_alias)",
};

/// LiteLLM treats a null list as empty.
const LITELLM: ListSource = ListSource {
    columns:
        "t.team_id as id, coalesce(t.team_alias, t.team_id) as team_alias, t.organization_id, o.organization_alias,
              coalesce(t.models, '{}') as models,
              case when o.organization_id is not null then coalesce(o.models, '{}') end as organization_models,
              t.max_budget, t.budget_duration,
              t.budget_reset_at at time zone 'UTC' as budget_reset_at, t.tpm_limit, t.rpm_limit,
              t.created_at at time zone 'UTC' as created_at",
    from: r#"public."LiteLLM_TeamTable" t
             left join public."LiteLLM_OrganizationTable" o on o.organization_id = t.organization_id"#,
    id: "t.team_id",
    id_cast: "",
    name: "lower(coalesce(t.team_alias, t.team_id))",
    created: "t.created_at",
    zone: " at time zone 'UTC'",
    words: "entraway.words(coalesce(t.team_alias, t.team_id))",
};

impl Db {
    /// A page of the teams within a scope: the user's own and those of organizations they administer.
    pub async fn teams(&self, scope: &Scope, request: &PageRequest) -> Result<Page<Team>, DbError> {
        let (source, own) = self.team_shape();
        self.list(source, request, |query| add_scope(query, scope, own)).await
    }

    /// A page of an organization's teams within a scope.
    pub async fn teams_of_organization(
        &self,
        scope: &Scope,
        organization_id: &str,
        request: &PageRequest,
    ) -> Result<Page<Team>, DbError> {
        let (source, own) = self.team_shape();
        let only = |query: &mut Builder| {
            query.push(" and t.organization_id = ").push_bind(organization_id.to_owned());
            add_scope(query, scope, own);
        };
        self.list(source, request, only).await
    }

    /// One team within a scope.
    pub async fn team(&self, scope: &Scope, id: &str) -> Result<Option<Team>, DbError> {
        let (source, own) = self.team_shape();
        self.one(source, id, |query| add_scope(query, scope, own)).await
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

    fn team_shape(&self) -> (&'static ListSource, OwnFilter) {
        match self.kind {
            StoreKind::Native => (&NATIVE, |query, user_id, organizations| {
                query.push("t.team_id in (select team_id from entraway.team_members where user_id = ");
                query.push_bind(user_id.to_owned());
                query.push(" union all select team_id from entraway.teams where organization_id = any(");
                query.push_bind(organizations.to_vec()).push("))");
            }),
            // Memberships come from the user's row, as on LiteLLM's own pages.
            StoreKind::LiteLlm => (&LITELLM, |query, user_id, organizations| {
                query.push(r#"t.team_id in (select unnest(teams) from public."LiteLLM_UserTable" where user_id = "#);
                query.push_bind(user_id.to_owned());
                query.push(r#" union all select team_id from public."LiteLLM_TeamTable" where organization_id = any("#);
                query.push_bind(organizations.to_vec()).push("))");
            }),
        }
    }
}
