//! Organizations.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::RowLimits;
use super::list::{Builder, ListSource, Page, PageRequest, add_scope};
use crate::db::{Db, DbError};
use crate::permissions::Scope;

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Organization {
    pub organization_id: String,
    pub organization_alias: String,
    /// Empty: all models.
    pub models: Vec<String>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub limits: RowLimits,
    pub created_at: DateTime<Utc>,
}

const ORGANIZATIONS: ListSource = ListSource {
    columns: "o.*",
    from: "organizations o",
    id: "o.organization_id",
    name: "lower(o.organization_alias)",
    created: "o.created",
    words: "entraway.words(o.organization_alias)",
    records: false,
};

/// Organizations that the user is a member of.
fn own(query: &mut Builder, user_id: &str, _: &[String]) {
    query.push("o.organization_id in (select organization_id from organization_members where user_id = ");
    query.push_bind(user_id.to_owned()).push(")");
}

impl Db {
    /// A page of the organizations within a scope: those that the user is a member of.
    pub async fn organizations(&self, scope: &Scope, request: &PageRequest) -> Result<Page<Organization>, DbError> {
        self.list(&ORGANIZATIONS, request, |query| add_scope(query, scope, own)).await
    }

    /// One organization within a scope.
    pub async fn organization(&self, scope: &Scope, id: &str) -> Result<Option<Organization>, DbError> {
        self.one(&ORGANIZATIONS, id, |query| add_scope(query, scope, own)).await
    }
}
