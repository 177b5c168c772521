//! Members of teams and organizations, and memberships of users, with their provenance.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::RowLimits;
use super::list::{Builder, ListSource, Page, PageRequest, Sort};
use crate::db::{Db, DbError};
use crate::domain::StoreKind;
use crate::permissions::Scope;

/// A member of a team or organization.
#[derive(Clone, Serialize, sqlx::FromRow)]
pub struct Member {
    /// Key of the user's row; the e-mail address for a member who is on a LiteLLM roster by address only.
    #[sqlx(rename = "id")]
    pub user_id: String,
    pub display_name: Option<String>,
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
        let name = self.display_name.as_deref().filter(|name| !name.trim().is_empty());
        name.or(self.email.as_deref()).unwrap_or(&self.user_id)
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

const NATIVE_TEAM_MEMBERS: ListSource = ListSource {
    columns: "m.user_id as id, u.user_alias as display_name, u.user_email as email, m.role, m.source,
              m.created_at as joined_at, true as has_row",
    from: "entraway.team_members m join entraway.users u on u.user_id = m.user_id",
    id: "m.user_id",
    id_cast: "",
    name: "lower(coalesce(nullif(u.user_alias, ''), u.user_email, u.user_id))",
    created: "m.created_at",
    zone: "",
    words: "entraway.words(coalesce(u.user_alias, '') || ' ' || coalesce(u.user_email, ''))",
};

const NATIVE_ORGANIZATION_MEMBERS: ListSource = ListSource {
    columns: "m.user_id as id, u.user_alias as display_name, u.user_email as email, m.user_role as role, m.source,
              m.created_at as joined_at, true as has_row",
    from: "entraway.organization_members m join entraway.users u on u.user_id = m.user_id",
    ..NATIVE_TEAM_MEMBERS
};

/// A roster is a JSON array in the order of joining. Its position replaces the time.
const LITELLM_TEAM_MEMBERS: ListSource = ListSource {
    columns: "coalesce(r.member ->> 'user_id', r.member ->> 'user_email', '') as id, u.user_alias as display_name,
              coalesce(u.user_email, r.member ->> 'user_email') as email, r.member ->> 'role' as role,
              case when g.user_id is null then 'manual' else 'entra' end as source, g.created_at as joined_at,
              u.user_id is not null as has_row",
    from: r#"public."LiteLLM_TeamTable" t
             cross join lateral jsonb_array_elements(
                 case when jsonb_typeof(t.members_with_roles) = 'array' then t.members_with_roles else '[]' end
             ) with ordinality as r(member, place)
             left join public."LiteLLM_UserTable" u on u.user_id = r.member ->> 'user_id'
             left join entraway.litellm_team_members g on g.user_id = u.user_id and g.team_id = t.team_id"#,
    id: "coalesce(r.member ->> 'user_id', r.member ->> 'user_email', '')",
    id_cast: "",
    name: "lower(coalesce(nullif(u.user_alias, ''), u.user_email, u.user_id))",
    created: "('epoch'::timestamptz + r.place * interval '1 second')",
    zone: "",
    words: "entraway.words(coalesce(u.user_alias, '') || ' ' || coalesce(u.user_email, r.member ->> 'user_email', ''))",
};

const LITELLM_ORGANIZATION_MEMBERS: ListSource = ListSource {
    columns: "m.user_id as id, u.user_alias as display_name, u.user_email as email, m.user_role as role,
              case when g.user_id is null then 'manual' else 'entra' end as source,
              m.created_at at time zone 'UTC' as joined_at, true as has_row",
    from: r#"public."LiteLLM_OrganizationMembership" m
             join public."LiteLLM_UserTable" u on u.user_id = m.user_id
             left join entraway.litellm_organization_members g on g.user_id = m.user_id
                  and g.organization_id = m.organization_id and g.row_created_at is not distinct from m.created_at"#,
    id: "m.user_id",
    id_cast: "",
    name: "lower(coalesce(nullif(u.user_alias, ''), u.user_email, u.user_id))",
    created: "m.created_at",
    zone: " at time zone 'UTC'",
    words: "entraway.words(coalesce(u.user_alias, '') || ' ' || coalesce(u.user_email, ''))",
};

const NATIVE_ORGANIZATIONS_OF: &str =
    "select o.organization_id, o.organization_alias, m.user_role, m.source, m.created_at as joined_at, o.models,
            o.max_budget, o.budget_duration, o.budget_reset_at, o.tpm_limit, o.rpm_limit
     from entraway.organization_members m join entraway.organizations o on o.organization_id = m.organization_id
     where m.user_id = $1 and ($2::text[] is null or o.organization_id = any($2))
     order by lower(o.organization_alias), o.organization_id limit $3";

/// LiteLLM treats a null list as empty.
const LITELLM_ORGANIZATIONS_OF: &str = r#"
     select o.organization_id, o.organization_alias, m.user_role,
            case when g.user_id is null then 'manual' else 'entra' end as source,
            m.created_at at time zone 'UTC' as joined_at, coalesce(o.models, '{}') as models,
            b.max_budget, b.budget_duration, b.budget_reset_at at time zone 'UTC' as budget_reset_at, b.tpm_limit,
            b.rpm_limit
     from public."LiteLLM_OrganizationMembership" m
          join public."LiteLLM_OrganizationTable" o on o.organization_id = m.organization_id
          left join public."LiteLLM_BudgetTable" b on b.budget_id = o.budget_id
          left join entraway.litellm_organization_members g on g.user_id = m.user_id
               and g.organization_id = m.organization_id and g.row_created_at is not distinct from m.created_at
     where m.user_id = $1 and ($2::text[] is null or o.organization_id = any($2))
     order by lower(o.organization_alias), o.organization_id limit $3"#;

const NATIVE_TEAMS_OF: &str =
    "select t.team_id, t.team_alias, t.organization_id, o.organization_alias, m.role, m.source,
            m.created_at as joined_at, t.models, o.models as organization_models, t.max_budget, t.budget_duration,
            t.budget_reset_at, t.tpm_limit, t.rpm_limit
     from entraway.team_members m join entraway.teams t on t.team_id = m.team_id
          left join entraway.organizations o on o.organization_id = t.organization_id
     where m.user_id = $1 and ($2::text[] is null or t.organization_id = any($2))
     order by lower(t.team_alias), t.team_id limit $3";

/// Memberships come from the user's row, as on LiteLLM's own pages.
const LITELLM_TEAMS_OF: &str = r#"
     select t.team_id, coalesce(t.team_alias, t.team_id) as team_alias, t.organization_id, o.organization_alias,
            case when t.members_with_roles @> jsonb_build_array(
                          jsonb_build_object('user_id', u.user_id, 'role', 'admin')) then 'admin' else 'user' end as role,
            case when g.user_id is null then 'manual' else 'entra' end as source, g.created_at as joined_at,
            coalesce(t.models, '{}') as models,
            case when o.organization_id is not null then coalesce(o.models, '{}') end as organization_models,
            t.max_budget, t.budget_duration,
            t.budget_reset_at at time zone 'UTC' as budget_reset_at, t.tpm_limit, t.rpm_limit
     from public."LiteLLM_UserTable" u join public."LiteLLM_TeamTable" t on t.team_id = any(u.teams)
          left join public."LiteLLM_OrganizationTable" o on o.organization_id = t.organization_id
          left join entraway.litellm_team_members g on g.user_id = u.user_id and g.team_id = t.team_id
     where u.user_id = $1 and ($2::text[] is null or t.organization_id = any($2))
     order by lower(coalesce(t.team_alias, t.team_id)), t.team_id limit $3"#;

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
        let (source, of, one) = match self.kind {
            StoreKind::Native => (&NATIVE_TEAM_MEMBERS, " and m.team_id = ", " and m.user_id = "),
            StoreKind::LiteLlm => (&LITELLM_TEAM_MEMBERS, " and t.team_id = ", " and r.member ->> 'user_id' = "),
        };
        self.members(source, (of, team_id), (one, only), request).await
    }

    /// A page of an organization's members, newest first. With `only`, just that member.
    pub async fn organization_members(
        &self,
        organization_id: &str,
        only: Option<&str>,
        request: &PageRequest,
    ) -> Result<Page<Member>, DbError> {
        let source = match self.kind {
            StoreKind::Native => &NATIVE_ORGANIZATION_MEMBERS,
            StoreKind::LiteLlm => &LITELLM_ORGANIZATION_MEMBERS,
        };
        self.members(source, (" and m.organization_id = ", organization_id), (" and m.user_id = ", only), request).await
    }

    async fn members(
        &self,
        source: &ListSource,
        (of, id): (&'static str, &str),
        (one, only): (&'static str, Option<&str>),
        request: &PageRequest,
    ) -> Result<Page<Member>, DbError> {
        let only = |query: &mut Builder| {
            query.push(of).push_bind(id.to_owned());
            if let Some(user_id) = only {
                query.push(one).push_bind(user_id.to_owned());
            }
        };
        self.list(source, &PageRequest { sort: Sort::Newest, ..request.clone() }, only).await
    }

    /// A user's organizations within a scope, by name, at most 1,000.
    pub async fn organizations_of(&self, user_id: &str, scope: &Scope) -> Result<Vec<UserOrganization>, DbError> {
        let query = sqlx::query_as(match self.kind {
            StoreKind::Native => NATIVE_ORGANIZATIONS_OF,
            StoreKind::LiteLlm => LITELLM_ORGANIZATIONS_OF,
        });
        let query = query.bind(user_id.to_owned()).bind(visible_organizations(user_id, scope)).bind(MAX_ROWS);
        Ok(query.fetch_all(&mut *self.connection().await?).await?)
    }

    /// A user's teams within a scope, by name, at most 1,000.
    pub async fn teams_of(&self, user_id: &str, scope: &Scope) -> Result<Vec<UserTeam>, DbError> {
        let query = sqlx::query_as(match self.kind {
            StoreKind::Native => NATIVE_TEAMS_OF,
            StoreKind::LiteLlm => LITELLM_TEAMS_OF,
        });
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
