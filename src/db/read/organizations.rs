//! Organizations.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::RowLimits;
use super::list::{ListSource, OwnFilter, Page, PageRequest, add_scope};
use crate::db::{Db, DbError};
use crate::domain::StoreKind;
use crate::permissions::Scope;

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Organization {
    #[sqlx(rename = "id")]
    pub organization_id: String,
    pub organization_alias: String,
    /// Empty: all models.
    pub models: Vec<String>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub limits: RowLimits,
    pub created_at: DateTime<Utc>,
}

const NATIVE: ListSource = ListSource {
    columns:
        "o.organization_id as id, o.organization_alias, o.models, o.max_budget, o.budget_duration, o.budget_reset_at,
              o.tpm_limit, o.rpm_limit, o.created_at",
    from: "entraway.organizations o",
    id: "o.organization_id",
    id_cast: "",
    name: "lower(o.organization_alias)",
    created: "o.created_at",
    zone: "",
    words: "entraway.words(o.organization_alias)",
};

/// LiteLLM treats a null list as empty.
const LITELLM: ListSource = ListSource {
    columns: "o.organization_id as id, o.organization_alias, coalesce(o.models, '{}') as models, b.max_budget,
              b.budget_duration,
              b.budget_reset_at at time zone 'UTC' as budget_reset_at, b.tpm_limit, b.rpm_limit,
              o.created_at at time zone 'UTC' as created_at",
    from: r#"public."LiteLLM_OrganizationTable" o left join public."LiteLLM_BudgetTable" b on b.budget_id = o.budget_id"#,
    id: "o.organization_id",
    id_cast: "",
    name: "lower(o.organization_alias)",
    created: "o.created_at",
    zone: " at time zone 'UTC'",
    words: "entraway.words(o.organization_alias)",
};

impl Db {
    /// A page of the organizations within a scope: those that the user is a member of.
    pub async fn organizations(&self, scope: &Scope, request: &PageRequest) -> Result<Page<Organization>, DbError> {
        let (source, own) = self.organization_shape();
        self.list(source, request, |query| add_scope(query, scope, own)).await
    }

    /// One organization within a scope.
    pub async fn organization(&self, scope: &Scope, id: &str) -> Result<Option<Organization>, DbError> {
        let (source, own) = self.organization_shape();
        self.one(source, id, |query| add_scope(query, scope, own)).await
    }

    fn organization_shape(&self) -> (&'static ListSource, OwnFilter) {
        match self.kind {
            StoreKind::Native => {
                (&NATIVE, |query, user_id, _| {
                    query.push("o.organization_id in (select organization_id from entraway.organization_members where user_id = ");
                    query.push_bind(user_id.to_owned()).push(")");
                })
            }
            StoreKind::LiteLlm => (&LITELLM, |query, user_id, _| {
                query.push(
                    r#"o.organization_id in (select organization_id from public."LiteLLM_OrganizationMembership" where user_id = "#,
                );
                query.push_bind(user_id.to_owned()).push(")");
            }),
        }
    }
}
