//! Users.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::RowLimits;
use super::list::{ListSource, OwnFilter, Page, PageRequest, add_scope};
use crate::db::roles::litellm_role;
use crate::db::{Db, DbError};
use crate::domain::StoreKind;
use crate::permissions::Scope;

#[derive(Clone, Serialize, sqlx::FromRow)]
pub struct UserRow {
    /// Key of the row. In a LiteLLM database it can differ from the object ID.
    #[sqlx(rename = "id")]
    pub user_id: String,
    /// Object ID; `None` for a row whose user has never signed in here.
    pub object_id: Option<String>,
    pub display_name: Option<String>,
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
        let name = self.display_name.as_deref().filter(|name| !name.trim().is_empty());
        name.or(self.email.as_deref()).unwrap_or(&self.user_id)
    }
}

/// Redacts the name and the e-mail address.
impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow").field("object_id", &self.object_id).finish_non_exhaustive()
    }
}

const NATIVE: ListSource = ListSource {
    columns: "u.user_id as id, u.object_id::text as object_id, u.user_alias as display_name, u.user_email as email,
              u.user_role, u.sso_user_role, u.sso_user_roles, null::text as withheld_role, u.tenant_id,
              u.models, u.max_budget, u.budget_duration, u.budget_reset_at,
              null::bigint as tpm_limit, null::bigint as rpm_limit, u.created_at",
    from: "entraway.users u",
    id: "u.user_id",
    id_cast: "",
    name: "lower(coalesce(nullif(u.user_alias, ''), u.user_email, u.user_id))",
    created: "u.created_at",
    zone: "",
    words: "entraway.words(coalesce(u.user_alias, '') || ' ' || coalesce(u.user_email, ''))",
};

/// The owner of a row is found as for sessions. What the sync granted counts only as long as it is the same row.
/// LiteLLM treats a null list as empty.
const LITELLM: ListSource = ListSource {
    columns: concat!(
        "u.user_id as id, p.object_id, u.user_alias as display_name, u.user_email as email, ",
        litellm_role!(),
        " as user_role,
              case when p.row_created_at is not distinct from u.created_at then p.sso_user_role end as sso_user_role,
              case when p.row_created_at is not distinct from u.created_at then p.sso_user_roles else '{}' end
                  as sso_user_roles,
              case when p.row_created_at is not distinct from u.created_at then p.withheld_role end as withheld_role,
              p.tenant_id,
              coalesce(u.models, '{}') as models, u.max_budget, u.budget_duration,
              u.budget_reset_at at time zone 'UTC' as budget_reset_at, u.tpm_limit, u.rpm_limit,
              u.created_at at time zone 'UTC' as created_at"
    ),
    from: r#"public."LiteLLM_UserTable" u left join lateral (
                 select object_id, tenant_id, sso_user_role, sso_user_roles, withheld_role, row_created_at
                 from entraway.litellm_users p
                 where p.user_id = u.user_id and p.object_id in (u.user_id, u.sso_user_id)
                 order by p.object_id = u.user_id desc limit 1) p on true"#,
    id: "u.user_id",
    id_cast: "",
    name: "lower(coalesce(nullif(u.user_alias, ''), u.user_email, u.user_id))",
    created: "coalesce(u.created_at, 'epoch')",
    zone: " at time zone 'UTC'",
    words: "entraway.words(coalesce(u.user_alias, '') || ' ' || coalesce(u.user_email, ''))",
};

impl Db {
    /// A page of the users within a scope: the user, and members of organizations they administer or of teams there.
    pub async fn users(&self, scope: &Scope, request: &PageRequest) -> Result<Page<UserRow>, DbError> {
        let (source, own) = self.person_shape();
        self.list(source, request, |query| add_scope(query, scope, own)).await
    }

    /// One user within a scope.
    pub async fn user(&self, scope: &Scope, user_id: &str) -> Result<Option<UserRow>, DbError> {
        let (source, own) = self.person_shape();
        self.one(source, user_id, |query| add_scope(query, scope, own)).await
    }

    fn person_shape(&self) -> (&'static ListSource, OwnFilter) {
        match self.kind {
            StoreKind::Native => (&NATIVE, |query, user_id, organizations| {
                query.push("u.user_id in (select ").push_bind(user_id.to_owned());
                query.push(" union all select user_id from entraway.organization_members where organization_id = any(");
                query.push_bind(organizations.to_vec());
                query.push(
                    ") union all select m.user_id from entraway.team_members m
                       join entraway.teams t on t.team_id = m.team_id where t.organization_id = any(",
                );
                query.push_bind(organizations.to_vec()).push("))");
            }),
            StoreKind::LiteLlm => (&LITELLM, |query, user_id, organizations| {
                query.push("u.user_id in (select ").push_bind(user_id.to_owned());
                query.push(
                    r#" union all select user_id from public."LiteLLM_OrganizationMembership"
                        where organization_id = any("#,
                );
                query.push_bind(organizations.to_vec());
                query.push(
                    r#") union all select m.user_id from public."LiteLLM_TeamMembership" m
                       join public."LiteLLM_TeamTable" t on t.team_id = m.team_id where t.organization_id = any("#,
                );
                query.push_bind(organizations.to_vec()).push("))");
            }),
        }
    }
}
