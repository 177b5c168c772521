//! The tables of both stores under the same names and columns, so that each query for reading exists once.
//!
//! A query starts with its store's relations as common table expressions. Postgres inlines them and skips those that the
//! query does not name, so a column such as `lower(t.team_alias)` still uses the index on the table's own expression.
//!
//! | relation | rows |
//! |---|---|
//! | `users` | users, with what the sync last granted |
//! | `user_names` | users without grants, for joins with long lists |
//! | `identities` | users who have signed in, by object ID and tenant; `is_owner` unless the row has another owner now |
//! | `organizations` | `created` is the column of the index on age, see [`Db::to_timestamp`] |
//! | `teams` | `created` as for organizations; `own_alias` is null for a LiteLLM team without a name, which is shown by its ID |
//! | `organization_members` | |
//! | `team_members` | memberships as the user's row lists them, as on LiteLLM's own pages |
//! | `team_memberships` | memberships in `LiteLLM_TeamMembership`, which may differ from those of the user's row |
//! | `rosters` | members as the team's row lists them, with names; `created` orders them by joining |

use sqlx::AssertSqlSafe;

use super::Db;
use super::roles::litellm_role;
use crate::domain::StoreKind;

const NATIVE: &str = "with users as not materialized (
        select user_id, object_id::text as object_id, tenant_id, user_alias, user_email, user_role, sso_user_role,
               sso_user_roles, null::text as withheld_role, models, max_budget, budget_duration, budget_reset_at,
               null::bigint as tpm_limit, null::bigint as rpm_limit, created_at, created_at as created
        from entraway.users
    ), user_names as not materialized (
        select user_id, user_alias, user_email from entraway.users
    ), identities as not materialized (
        select user_id as object_id, tenant_id, user_id, user_alias, user_email, user_role, true as is_owner
        from entraway.users
    ), organizations as not materialized (
        select organization_id, organization_alias, models, max_budget, budget_duration, budget_reset_at, tpm_limit,
               rpm_limit, created_at, created_at as created
        from entraway.organizations
    ), teams as not materialized (
        select team_id, team_alias, team_alias as own_alias, organization_id, models, max_budget, budget_duration,
               budget_reset_at, tpm_limit, rpm_limit, created_at, created_at as created
        from entraway.teams
    ), organization_members as not materialized (
        select user_id, organization_id, user_role, source, created_at as joined_at, created_at as created
        from entraway.organization_members
    ), team_members as not materialized (
        select user_id, team_id, role, source, created_at as joined_at from entraway.team_members
    ), team_memberships as not materialized (
        select user_id, team_id from entraway.team_members
    ), rosters as not materialized (
        select m.team_id, m.user_id, u.user_alias, u.user_email, m.role, m.source, true as has_row,
               m.created_at as joined_at, m.created_at as created
        from entraway.team_members m join entraway.users u on u.user_id = m.user_id
    ) ";

/// LiteLLM treats a null list as empty. A roster is a JSON array in the order of joining; its position replaces the time.
///
/// The owner of a user's row is found as for sessions. What the sync granted counts only while
/// the row is the one that the sync wrote (same `created_at`).
const LITELLM: &str = concat!(
    "with users as not materialized (
        select u.user_id, p.object_id, p.tenant_id, u.user_alias, u.user_email, ",
    litellm_role!(),
    r#" as user_role,
               case when p.row_created_at is not distinct from u.created_at then p.sso_user_role end as sso_user_role,
               case when p.row_created_at is not distinct from u.created_at then p.sso_user_roles else '{}' end
                   as sso_user_roles,
               case when p.row_created_at is not distinct from u.created_at then p.withheld_role end as withheld_role,
               coalesce(u.models, '{}') as models, u.max_budget, u.budget_duration,
               u.budget_reset_at at time zone 'UTC' as budget_reset_at, u.tpm_limit, u.rpm_limit,
               u.created_at at time zone 'UTC' as created_at, coalesce(u.created_at, 'epoch') as created
        from public."LiteLLM_UserTable" u left join lateral (
            select object_id, tenant_id, sso_user_role, sso_user_roles, withheld_role, row_created_at
            from entraway.litellm_users p
            where p.user_id = u.user_id and p.object_id in (u.user_id, u.sso_user_id)
            order by p.object_id = u.user_id desc limit 1) p on true
    ), user_names as not materialized (
        select user_id, user_alias, user_email from public."LiteLLM_UserTable"
    ), identities as not materialized (
        select p.object_id, p.tenant_id, u.user_id, u.user_alias, u.user_email, "#,
    litellm_role!(),
    r#" as user_role, p.object_id in (u.user_id, u.sso_user_id) as is_owner
        from entraway.litellm_users p join public."LiteLLM_UserTable" u on u.user_id = p.user_id
    ), organizations as not materialized (
        select o.organization_id, o.organization_alias, coalesce(o.models, '{}') as models, b.max_budget,
               b.budget_duration, b.budget_reset_at at time zone 'UTC' as budget_reset_at, b.tpm_limit, b.rpm_limit,
               o.created_at at time zone 'UTC' as created_at, o.created_at as created
        from public."LiteLLM_OrganizationTable" o
             left join public."LiteLLM_BudgetTable" b on b.budget_id = o.budget_id
    ), teams as not materialized (
        select team_id, coalesce(team_alias, team_id) as team_alias, team_alias as own_alias, organization_id,
               coalesce(models, '{}') as models, max_budget, budget_duration,
               budget_reset_at at time zone 'UTC' as budget_reset_at, tpm_limit, rpm_limit,
               created_at at time zone 'UTC' as created_at, created_at as created
        from public."LiteLLM_TeamTable"
    ), organization_members as not materialized (
        select m.user_id, m.organization_id, m.user_role,
               case when provenance.user_id is null then 'manual' else 'entra' end as source,
               m.created_at at time zone 'UTC' as joined_at, m.created_at as created
        from public."LiteLLM_OrganizationMembership" m
             left join entraway.litellm_organization_members provenance
                 on provenance.user_id = m.user_id and provenance.organization_id = m.organization_id
                    and provenance.row_created_at is not distinct from m.created_at
    ), team_members as not materialized (
        select u.user_id, t.team_id,
               case when t.members_with_roles @> jsonb_build_array(
                             jsonb_build_object('user_id', u.user_id, 'role', 'admin'))
                    then 'admin' else 'user' end as role,
               case when provenance.user_id is null then 'manual' else 'entra' end as source, provenance.created_at as joined_at
        from public."LiteLLM_UserTable" u join public."LiteLLM_TeamTable" t on t.team_id = any(u.teams)
             left join entraway.litellm_team_members provenance on provenance.user_id = u.user_id and provenance.team_id = t.team_id
    ), team_memberships as not materialized (
        select user_id, team_id from public."LiteLLM_TeamMembership"
    ), rosters as not materialized (
        select t.team_id, coalesce(r.member ->> 'user_id', r.member ->> 'user_email', '') as user_id, u.user_alias,
               coalesce(u.user_email, r.member ->> 'user_email') as user_email, r.member ->> 'role' as role,
               case when provenance.user_id is null then 'manual' else 'entra' end as source,
               u.user_id is not null as has_row, provenance.created_at as joined_at,
               'epoch'::timestamp + r.place * interval '1 second' as created
        from public."LiteLLM_TeamTable" t
             cross join lateral jsonb_array_elements(
                 case when jsonb_typeof(t.members_with_roles) = 'array' then t.members_with_roles else '[]' end
             ) with ordinality as r(member, place)
             left join public."LiteLLM_UserTable" u on u.user_id = r.member ->> 'user_id'
             left join entraway.litellm_team_members provenance on provenance.user_id = u.user_id and provenance.team_id = t.team_id
    ) "#
);

impl Db {
    /// The relations of this store, as the start of a query.
    pub(super) fn relations(&self) -> &'static str {
        match self.kind {
            StoreKind::Native => NATIVE,
            StoreKind::LiteLlm => LITELLM,
        }
    }

    /// A query over the relations.
    pub(super) fn over_relations(&self, query: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(format!("{}{query}", self.relations()))
    }

    /// SQL that converts a column `created` to a timestamp with time zone, and back: LiteLLM's timestamps are UTC
    /// without a time zone.
    pub(super) fn to_timestamp(&self) -> &'static str {
        match self.kind {
            StoreKind::Native => "",
            StoreKind::LiteLlm => " at time zone 'UTC'",
        }
    }
}
