//! Teams, and how those that the sync made came to be.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::RowLimits;
use super::list::{Builder, Listed, Listing, Own, Shape, within};
use crate::db::{Store, StoreError};
use crate::domain::StoreKind;
use crate::explain::MadeTeam;
use crate::permissions::Scope;

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Team {
    #[sqlx(rename = "id")]
    pub team_id: String,
    pub team_alias: String,
    /// `None`: the team stands alone.
    pub organization_id: Option<String>,
    pub organization_alias: Option<String>,
    /// Empty: all models. `all-org-models`: those of the organization.
    pub models: Vec<String>,
    pub organization_models: Option<Vec<String>>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub limits: RowLimits,
    pub created_at: DateTime<Utc>,
}

const NATIVE: Shape = Shape {
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

/// A list that is null is an empty one to the proxy.
const LITELLM: Shape = Shape {
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

impl Store {
    /// A page of the teams that somebody sees: their own, and those of the organizations that they administer.
    pub async fn teams(&self, scope: &Scope, listing: &Listing) -> Result<Listed<Team>, StoreError> {
        let (shape, own) = self.team_shape();
        self.list(shape, listing, |query| within(query, scope, own)).await
    }

    /// A page of an organization's teams that somebody sees.
    pub async fn teams_of_organization(
        &self,
        scope: &Scope,
        organization_id: &str,
        listing: &Listing,
    ) -> Result<Listed<Team>, StoreError> {
        let (shape, own) = self.team_shape();
        let only = |query: &mut Builder| {
            query.push(" and t.organization_id = ").push_bind(organization_id.to_owned());
            within(query, scope, own);
        };
        self.list(shape, listing, only).await
    }

    /// One team.
    pub async fn team(&self, scope: &Scope, id: &str) -> Result<Option<Team>, StoreError> {
        let (shape, own) = self.team_shape();
        self.one(shape, id, |query| within(query, scope, own)).await
    }

    /// How a team came to be; `None` where the sync did not make it, or an older version did.
    pub async fn made_team(&self, id: &str) -> Result<Option<MadeTeam>, StoreError> {
        let sql = "select made_at, organizations_on, organization_refused from entraway.made_teams where team_id = $1";
        let row = sqlx::query_as(sql).bind(id).fetch_optional(&mut *self.connection().await?).await?;
        Ok(row.map(|(made_at, organizations_on, organization_refused)| MadeTeam {
            made_at,
            organizations_on,
            organization_refused,
        }))
    }

    fn team_shape(&self) -> (&'static Shape, Own) {
        match self.kind {
            StoreKind::Native => (&NATIVE, |query, user_id, organizations| {
                query.push("t.team_id in (select team_id from entraway.team_members where user_id = ");
                query.push_bind(user_id.to_owned());
                query.push(" union all select team_id from entraway.teams where organization_id = any(");
                query.push_bind(organizations.to_vec()).push("))");
            }),
            // Which teams somebody is in the proxy's own pages take from their row, too.
            StoreKind::LiteLlm => (&LITELLM, |query, user_id, organizations| {
                query.push(r#"t.team_id in (select unnest(teams) from public."LiteLLM_UserTable" where user_id = "#);
                query.push_bind(user_id.to_owned());
                query.push(r#" union all select team_id from public."LiteLLM_TeamTable" where organization_id = any("#);
                query.push_bind(organizations.to_vec()).push("))");
            }),
        }
    }
}
