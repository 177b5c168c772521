//! The tables of a LiteLLM proxy.
//!
//! They are written as the proxy writes them, so that both can run together: its locks in its order, all three places
//! of a team membership, and no column that it does not have. Observed on LiteLLM 1.109.1.

mod columns;
mod leftovers;
mod removal;
mod team_models;
mod user;

use serde_json::json;
use sqlx::Row as _;
use uuid::Uuid;

use super::DbError;
use super::apply::{Locks, NewRow, Tables, current, put_limits, superseding_period, uuids};
use super::connection::DbConnection;
use super::reconciliation::MemberLocks;
use crate::domain::{Email, EntraUser, GroupId, TenantId};
use crate::plan::{Applied, Budget, Current, NewOrganization, NewTeam, Plan, Planner};
use crate::policy::KeysOnRemoval;
use crate::util::random;

pub use leftovers::Leftovers;

pub(super) use columns::check;
pub(super) use removal::missing_privileges as missing_removal_privileges;

/// `created_by` of rows without an author, as the proxy writes it.
const PROXY_ADMIN: &str = "default_user_id";

/// Users who join more teams than this take turns. Postgres has room for a few thousand locks, and a full lock table
/// also affects the proxy.
const MANY_TEAMS: usize = 100;

pub(super) struct LiteLlm;

impl Tables for LiteLlm {
    const ORGANIZATIONS: &'static str = r#"public."LiteLLM_OrganizationTable""#;
    const TEAMS: &'static str = r#"public."LiteLLM_TeamTable""#;

    /// Finds the user by object ID, as `user_id` or else as `sso_user_id`, never by e-mail address.
    ///
    /// A row known to belong to another user stays theirs whatever its `sso_user_id` says: the proxy's own sign-in
    /// overwrites it for a user with the same address.
    ///
    /// A team membership counts if all three places say so. Team models are read only if they differ from the
    /// organization's and the team is still the one that the sync created.
    async fn read(connection: &mut DbConnection, planner: &Planner<'_>) -> Result<Current, DbError> {
        let Planner { entra_user, directory, policy, now, scope, .. } = *planner;
        let [tables, columns, privileges] = removal::privileges(policy.keys_on_removal);
        let [key_tables, key_columns, key_privileges] = removal::key_privileges();
        let row = sqlx::query(concat!(
            r#"with user_row as materialized (
                select user_id, user_email, user_alias, user_role, teams, created_at from public."LiteLLM_UserTable" u
                where user_id = $1 or sso_user_id = $1 and not exists (
                    select from entraway.litellm_users other
                    where other.user_id = u.user_id and other.object_id <> $1
                      and other.row_created_at is not distinct from u.created_at)
                order by user_id = $1 desc limit 1
            ), given as materialized (
                select object_id, tenant_id, o.sso_user_role, o.sso_user_roles, o.premade, o.withheld_role
                from user_row join entraway.litellm_users o using (user_id)
                where o.row_created_at is not distinct from user_row.created_at
                order by object_id = $1 desc limit 1
            ), managed_teams as materialized (
                select p.team_id, p.sources, t.team_alias, t.organization_id, m.user_id is not null as has_membership,
                       coalesce(p.team_id = any(user_row.teams), false) as in_user_row,
                       coalesce(t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', p.user_id)), false)
                           as on_roster,
                       coalesce(t.members_with_roles @> jsonb_build_array(
                           jsonb_build_object('user_id', p.user_id, 'role', 'admin')), false) as is_admin
                from user_row join entraway.litellm_team_members p on p.user_id = user_row.user_id
                     left join public."LiteLLM_TeamTable" t on t.team_id = p.team_id
                     left join public."LiteLLM_TeamMembership" m on m.user_id = p.user_id and m.team_id = p.team_id
                     left join unnest($3::text[]) as effective(id) on effective.id = p.team_id
                where $5 and (effective.id is null
                              or p.sources <> '{}' and $6 || ':' || p.team_id <> all(p.sources))
            ), managed_organizations as materialized (
                select m.organization_id, o.organization_alias, m.user_role
                from user_row join public."LiteLLM_OrganizationMembership" m on m.user_id = user_row.user_id
                     join entraway.litellm_organization_members p
                          on p.user_id = m.user_id and p.organization_id = m.organization_id
                             and p.row_created_at is not distinct from m.created_at
                     left join public."LiteLLM_OrganizationTable" o on o.organization_id = m.organization_id
                     left join unnest($3::text[]) as effective(id) on effective.id = m.organization_id
                where $5 and effective.id is null
            ), own_teams as materialized (
                select team_id, organization_id from public."LiteLLM_TeamTable"
                where team_id = any(array(
                    select unnest(teams) from user_row
                    union select team_id from user_row join public."LiteLLM_TeamMembership" using (user_id)))
            ), blocked_keys as materialized (
                select team_id from user_row join entraway.litellm_blocked_keys using (user_id)
                where team_id = any($3::text[])
            )
            select (select tenant_id from entraway.litellm_users where object_id = $1) as tenant_id,
                (select json_object_agg(team_id, json_build_object(
                            'team_alias', team_alias, 'organization_id', organization_id, 'sources', sources,
                            'role', case when is_admin then 'admin' else 'user' end,
                            'present', has_membership or in_user_row or on_roster,
                            'last_admin', is_admin and not exists (
                                select from public."LiteLLM_TeamTable" t,
                                            jsonb_array_elements(t.members_with_roles) as roster(member)
                                            join entraway.litellm_users known on known.user_id = member ->> 'user_id'
                                where t.team_id = managed.team_id and member ->> 'role' = 'admin'
                                  and known.user_id <> (select user_id from user_row))))
                 from managed_teams managed) as managed_teams,
                (select json_object_agg(organization_id, json_build_object(
                            'organization_alias', organization_alias,
                            'teams', array(select team_id from own_teams
                                           where organization_id = managed.organization_id),
                            'last_admin', user_role = 'org_admin' and not exists (
                                select from public."LiteLLM_OrganizationMembership" other
                                            join entraway.litellm_users known on known.user_id = other.user_id
                                where other.organization_id = managed.organization_id and other.user_role = 'org_admin'
                                  and other.user_id <> (select user_id from user_row))))
                 from managed_organizations managed) as managed_organizations,
                case when exists (select from managed_teams) or exists (select from managed_organizations)
                     then "#,
            removal::missing_privileges_sql!("$8", "$9", "$10"),
            r#" = '{}' end as can_remove,
                (select coalesce(array_agg(team_id::uuid), '{}') from blocked_keys) as blocked_keys,
                case when exists (select from blocked_keys) then "#,
            removal::missing_privileges_sql!("$11", "$12", "$13"),
            r#" = '{}' end as can_restore_keys,
                exists (select from entraway.audit_events
                        where object_id = $1 and at > $7 and at < $7 + $15 and actor = 'sign_in'
                          and action in ('team_member_added', 'team_member_removed'))
                or exists (select from entraway.sync_runs
                           where user_id = $1 and tenant_id = $14 and started_at > $7 and started_at < $7 + $15
                             and assigned_groups <> 'unknown' and member_of = 'known') as superseded,
                (select json_build_object('user_id', p.user_id, 'email', p.user_email, 'alias', p.user_alias,
                            'role', p.user_role, 'sso_role', given.sso_user_role,
                            'offered_roles', coalesce(given.sso_user_roles, '{}'), 'withheld_role', given.withheld_role,
                            'tenant_id', case when given.object_id = $1 then given.tenant_id end,
                            'unconfirmed', (given.object_id is distinct from $1 or given.premade) and not exists (
                                select from entraway.litellm_adopted_rows a
                                where a.object_id = $1 and a.user_id = p.user_id
                                  and a.row_created_at is not distinct from p.created_at))
                 from user_row p left join given on true) as user_row,
                (select coalesce(array_agg(team_id::uuid), '{}')
                 from (select unnest($3::text[]) as team_id intersect select unnest(user_row.teams) from user_row) listed
                      join public."LiteLLM_TeamMembership" m using (team_id)
                 -- A roster may be long: look only into those that are left.
                 where m.user_id = (select user_id from user_row) and (
                     select t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', p.user_id))
                     from user_row p, public."LiteLLM_TeamTable" t where t.team_id = listed.team_id)
                ) as team_members,
                (select coalesce(array_agg(user_id), '{}')
                 from (select user_id from public."LiteLLM_UserTable"
                       where lower(user_email) = lower($4) and user_id is distinct from (select user_id from user_row)
                       order by user_id limit 5) others) as same_email,
                (select coalesce(array_agg(user_id), '{}') from public."LiteLLM_UserTable"
                 where sso_user_id = $1 and user_id is distinct from (select user_id from user_row)) as same_sso_user_id,
                asked.*, member.member_organizations, member.member_roles, member.member_sso_roles
            from (select coalesce(array_agg(wanted.id) filter (where own.organization_id is not null), '{}') as organizations,
                         json_object_agg(wanted.id, coalesce(own.models, '{}'))
                             filter (where own.organization_id is not null and t.team_id is null) as organization_models,
                         coalesce(array_agg(wanted.id) filter (where t.team_id is not null), '{}') as teams,
                         coalesce(array_agg(home.id) filter (where t.team_id is not null), '{}') as team_organizations,
                         json_object_agg(wanted.id, json_build_object(
                                 'models', coalesce(t.models, '{}'), 'organization', coalesce(home.models, '{}'),
                                 'expanded', (select expanded_models from entraway.made_teams where team_id = t.team_id)))
                             filter (where home.id is not null and coalesce(t.models, '{}') <> coalesce(home.models, '{}')
                                 and exists (
                                     select from entraway.made_teams made
                                     where made.team_id = t.team_id
                                       and (made.organizations_on or made.expanded_models is not null)
                                       -- A team that was created again by hand is left alone. Rounding differs.
                                       and t.created_at at time zone 'UTC'
                                           between made.made_at - interval '1 s' and made.made_at + interval '1 s'))
                             as team_models,
                         json_object_agg(wanted.id, (
                                 select budget_duration from public."LiteLLM_BudgetTable"
                                 where budget_id = t.metadata ->> 'team_member_budget_id'))
                             filter (where cardinality(t.default_team_member_models) > 0 and wanted.id::text = any($3))
                             as member_budget_durations
                  from unnest($2::uuid[]) wanted (id)
                       left join public."LiteLLM_OrganizationTable" own on own.organization_id = wanted.id::text
                       left join public."LiteLLM_TeamTable" t on t.team_id = wanted.id::text
                       -- Only if it is not the group's own organization.
                       left join public."LiteLLM_OrganizationTable" other
                           on other.organization_id = nullif(t.organization_id, own.organization_id)
                       cross join lateral (
                           select case when t.organization_id = own.organization_id then own.organization_id
                                       else other.organization_id end as id,
                                  case when t.organization_id = own.organization_id then own.models
                                       else other.models end as models
                       ) home) asked,
                 (select coalesce(array_agg(m.organization_id), '{}') as member_organizations,
                         coalesce(array_agg(m.user_role), '{}') as member_roles,
                         coalesce(array_agg(given.sso_user_role), '{}') as member_sso_roles
                  from user_row join public."LiteLLM_OrganizationMembership" m using (user_id)
                       left join entraway.litellm_organization_members given
                       on given.user_id = m.user_id and given.organization_id = m.organization_id
                          and given.row_created_at is not distinct from m.created_at) member"#
        ))
        .bind(entra_user.identity.object_id.to_string())
        .bind(uuids(directory.group_ids()))
        .bind(directory.effective_groups().iter().map(ToString::to_string).collect::<Vec<_>>())
        .bind(entra_user.email.as_ref().map(Email::as_str))
        .bind(directory.unknown().is_none())
        .bind(&policy.client_id)
        .bind(now)
        .bind(tables)
        .bind(columns)
        .bind(privileges)
        .bind(key_tables)
        .bind(key_columns)
        .bind(key_privileges)
        .bind(entra_user.identity.tenant_id.as_uuid())
        .bind(superseding_period(scope))
        .fetch_one(connection)
        .await?;

        let tenant: Option<Uuid> = row.try_get("tenant_id")?;
        if tenant.is_some_and(|tenant| TenantId::from(tenant) != entra_user.identity.tenant_id) {
            return Err(DbError::OtherTenant);
        }
        current(&row)
    }

    /// Takes our own locks, then the proxy's lock of each team whose roster changes, by ID, then the user's row.
    ///
    /// This is the proxy's order in member-add and in its spend writer. It never locks team rows first, so those locks
    /// are taken last, with the write.
    async fn lock(connection: &mut DbConnection, entra_user: &EntraUser, locks: &Locks) -> Result<(), DbError> {
        let object_id = entra_user.identity.object_id.to_string();
        sqlx::query(
            "select case when $1 then pg_advisory_xact_lock(hashtext('entraway.create'), 0) end,
                    case when $4 then pg_advisory_xact_lock(hashtext('entraway.admins'), 0) end,
                    case when $3 then pg_advisory_xact_lock(hashtext('entraway.many'), 0) end,
                    pg_advisory_xact_lock(hashtext('entraway.person'), hashtext($2))",
        )
        .bind(locks.creates)
        .bind(&object_id)
        .bind(locks.teams.len() > MANY_TEAMS)
        .bind(locks.admins)
        .execute(&mut *connection)
        .await?;
        if !locks.teams.is_empty() {
            sqlx::query("select pg_advisory_xact_lock(hashtext(team_id)) from unnest($1::text[]) as team_id")
                .bind(locks.teams.iter().collect::<Vec<_>>())
                .execute(&mut *connection)
                .await?;
        }
        sqlx::query(
            r#"select user_id from public."LiteLLM_UserTable" where user_id = $1 or sso_user_id = $1
               order by user_id collate "C" for update"#,
        )
        .bind(&object_id)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// An organization's limits are in its budget row.
    fn organization(id: GroupId, new: &NewOrganization, planner: &Planner<'_>) -> NewRow {
        let budget_id = random::uuid().to_string();
        let row = json!({
            "organization_id": id, "organization_alias": new.alias, "budget_id": budget_id, "models": new.models,
            "created_by": PROXY_ADMIN, "updated_by": PROXY_ADMIN,
            "created_at": planner.now, "updated_at": planner.now,
        });
        let budget = Budget { limits: new.limits.clone(), reset_at: new.budget_reset_at };
        NewRow { row, budget: Some(budget_row(&budget_id, &budget, planner)) }
    }

    /// The budget of the members is referenced by the team's metadata.
    fn team(id: GroupId, new: &NewTeam, planner: &Planner<'_>) -> NewRow {
        let mut metadata = new.metadata.clone();
        let budget = new.member_budget.as_ref().map(|budget| {
            let budget_id = format!("team-{}-budget-{}", new.alias.replace(' ', "-"), random::uuid().simple());
            metadata.insert("team_member_budget_id".to_owned(), json!(budget_id));
            budget_row(&budget_id, budget, planner)
        });
        let mut row = json!({
            "team_id": id, "team_alias": new.alias, "organization_id": new.organization_id,
            "admins": [], "members": [], "members_with_roles": [], "metadata": metadata,
            "models": new.models, "access_group_ids": new.access_group_ids,
            "team_member_permissions": new.team_member_permissions.as_deref().unwrap_or_default(),
            "budget_reset_at": new.budget_reset_at, "created_at": planner.now, "updated_at": planner.now,
        });
        put_limits(&mut row, &new.limits);
        NewRow { row, budget }
    }

    async fn write_team_models(
        connection: &mut DbConnection,
        planner: &Planner<'_>,
        plan: &Plan,
        applied: &mut Applied,
    ) -> Result<(), DbError> {
        team_models::write(connection, planner, plan, applied).await
    }

    async fn write_user(
        connection: &mut DbConnection,
        planner: &Planner<'_>,
        plan: &Plan,
        applied: &mut Applied,
    ) -> Result<(), DbError> {
        user::write(connection, planner, plan, applied).await
    }

    fn removal(keys: KeysOnRemoval) -> String {
        removal::sql(keys)
    }

    const LEAVING: &'static str = removal::LEAVING;

    async fn lock_members(connection: &mut DbConnection, locks: &MemberLocks<'_>) -> Result<(), DbError> {
        removal::lock_members(connection, locks).await
    }

    async fn restore_keys(
        connection: &mut DbConnection,
        planner: &Planner<'_>,
        plan: &Plan,
        applied: &mut Applied,
    ) -> Result<(), DbError> {
        removal::restore_keys(connection, planner, plan, applied).await
    }
}

fn budget_row(budget_id: &str, budget: &Budget, planner: &Planner<'_>) -> serde_json::Value {
    let mut row = json!({
        "budget_id": budget_id, "budget_reset_at": budget.reset_at,
        "created_by": PROXY_ADMIN, "updated_by": PROXY_ADMIN, "created_at": planner.now, "updated_at": planner.now,
    });
    put_limits(&mut row, &budget.limits);
    row
}
