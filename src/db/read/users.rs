//! Users.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::list::{Builder, ListSource, Page, PageRequest, USER_NAME, USER_WORDS, add_scope};
use super::{RowLimits, name_or_id};
use crate::db::{Db, DbError};
use crate::permissions::Scope;

#[derive(Clone, Serialize, sqlx::FromRow)]
pub struct UserRow {
    /// Key of the row. In a LiteLLM database it can differ from the object ID.
    pub user_id: String,
    /// Object ID; `None` for a row whose user has never signed in here.
    pub object_id: Option<String>,
    #[sqlx(rename = "user_alias")]
    pub display_name: Option<String>,
    #[sqlx(rename = "user_email")]
    pub email: Option<String>,
    pub user_role: Option<String>,
    /// The role that the sync last granted.
    pub sso_user_role: Option<String>,
    /// All valid roles of the user's last ID token.
    #[serde(skip)]
    pub sso_user_roles: Vec<String>,
    /// The operator role that is withheld until an operator confirms the row.
    #[serde(skip)]
    pub withheld_role: Option<String>,
    #[serde(skip)]
    pub tenant_id: Option<Uuid>,
    pub models: Vec<String>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub limits: RowLimits,
    pub created_at: Option<DateTime<Utc>>,
}

impl UserRow {
    /// Display name, else e-mail address, else ID.
    #[must_use]
    pub fn name(&self) -> &str {
        name_or_id(self.display_name.as_deref(), self.email.as_deref(), &self.user_id)
    }
}

/// Redacts the name and the e-mail address.
impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow").field("object_id", &self.object_id).finish_non_exhaustive()
    }
}

/// An account that a reconciliation run found disabled.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct DisabledAccountRow {
    /// `disabled`, `soft_deleted` or `deleted`.
    pub cause: String,
    /// When a run first found it so.
    pub since: DateTime<Utc>,
}

const USERS: ListSource = ListSource {
    columns: "u.*",
    from: "users u",
    id: "u.user_id",
    name: USER_NAME,
    created: "u.created",
    words: USER_WORDS,
    records: false,
};

/// The user, and members of organizations that the user administers or of teams there.
fn own(query: &mut Builder, user_id: &str, organizations: &[String]) {
    query.push("u.user_id in (select ").push_bind(user_id.to_owned());
    query.push(" union all select user_id from organization_members where organization_id = any(");
    query.push_bind(organizations.to_vec());
    query.push(
        ") union all select m.user_id from team_memberships m join teams t on t.team_id = m.team_id
           where t.organization_id = any(",
    );
    query.push_bind(organizations.to_vec()).push("))");
}

impl Db {
    /// A page of the users within a scope: the user, and members of organizations they administer or of teams there.
    pub async fn users(&self, scope: &Scope, request: &PageRequest) -> Result<Page<UserRow>, DbError> {
        self.list(&USERS, request, |query| add_scope(query, scope, own)).await
    }

    /// One user within a scope.
    pub async fn user(&self, scope: &Scope, user_id: &str) -> Result<Option<UserRow>, DbError> {
        self.one(&USERS, user_id, |query| add_scope(query, scope, own)).await
    }

    /// Since when the account is disabled in Entra; `None` if no run found it so.
    pub async fn disabled_account(
        &self,
        object_id: &str,
        tenant_id: Uuid,
    ) -> Result<Option<DisabledAccountRow>, DbError> {
        let sql = "select cause, since from entraway.disabled_accounts where object_id = $1 and tenant_id = $2";
        let query = sqlx::query_as(sql).bind(object_id).bind(tenant_id);
        Ok(query.fetch_optional(&mut *self.connection().await?).await?)
    }
}
