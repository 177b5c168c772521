//! The service's own tables of organizations, teams, users and memberships.

use serde_json::json;

use super::DbError;
use super::apply::{Locks, NewRow, Tables, bind_user, current, put_limits, uuids, written};
use super::connection::DbConnection;
use crate::domain::{EntraUser, GroupId};
use crate::plan::{Applied, Current, Directory, NewOrganization, NewTeam, Plan, Planner};

pub(super) struct Native;

impl Tables for Native {
    const ORGANIZATIONS: &'static str = "entraway.organizations";
    const TEAMS: &'static str = "entraway.teams";

    async fn read(
        connection: &mut DbConnection,
        entra_user: &EntraUser,
        directory: &Directory,
    ) -> Result<Current, DbError> {
        let identity = entra_user.identity;
        // Joins, because the cached generic plan of `any($2)` compares each row with each ID.
        let row = sqlx::query(
            "select
                (select json_build_object('user_id', user_id, 'tenant_id', tenant_id, 'email', user_email, 'alias', user_alias,
                                          'role', user_role, 'sso_role', sso_user_role, 'offered_roles', sso_user_roles)
                 from entraway.users where user_id = $1) as user_row,
                (select coalesce(array_agg(wanted.id), '{}') from unnest($2::uuid[]) wanted (id)
                 join entraway.organizations on organization_id = wanted.id::text) as organizations,
                (select coalesce(array_agg(wanted.id), '{}') from unnest($2::uuid[]) wanted (id)
                 join entraway.team_members on team_id = wanted.id::text where user_id = $1) as team_members,
                '{}'::text[] as same_email, '{}'::text[] as same_sso_user_id,
                null::json as organization_models, null::json as team_models, null::json as member_budget_durations,
                team.teams, team.team_organizations,
                member.member_organizations, member.member_roles, member.member_sso_roles
             from (select coalesce(array_agg(wanted.id), '{}') as teams,
                          coalesce(array_agg(organization_id), '{}') as team_organizations
                   from unnest($2::uuid[]) wanted (id) join entraway.teams on team_id = wanted.id::text) team,
                  (select coalesce(array_agg(organization_id), '{}') as member_organizations,
                          coalesce(array_agg(user_role), '{}') as member_roles,
                          coalesce(array_agg(sso_user_role), '{}') as member_sso_roles
                   from entraway.organization_members where user_id = $1) member",
        )
        .bind(identity.object_id.to_string())
        .bind(uuids(directory.group_ids()))
        .fetch_one(connection)
        .await?;

        let current = current(&row)?;
        if current.user.as_ref().is_some_and(|user| user.tenant_id != Some(identity.tenant_id)) {
            return Err(DbError::OtherTenant);
        }
        Ok(current)
    }

    /// One lock for creating organizations or teams, then one per user. A lock per group would fill Postgres's lock
    /// table in a storm of sign-ins.
    async fn lock(connection: &mut DbConnection, entra_user: &EntraUser, locks: &Locks) -> Result<(), DbError> {
        sqlx::query(
            "select case when $1 then pg_advisory_xact_lock(hashtext('entraway.create'), 0) end,
                    pg_advisory_xact_lock(hashtext('entraway.person'), hashtext($2))",
        )
        .bind(locks.creates)
        .bind(entra_user.identity.object_id.to_string())
        .execute(connection)
        .await?;
        Ok(())
    }

    fn organization(id: GroupId, new: &NewOrganization, planner: &Planner<'_>) -> NewRow {
        let mut row = json!({
            "organization_id": id, "organization_alias": new.alias, "models": new.models,
            "budget_reset_at": new.budget_reset_at, "created_at": planner.now, "updated_at": planner.now,
        });
        put_limits(&mut row, &new.limits);
        NewRow { row, budget: None }
    }

    fn team(id: GroupId, new: &NewTeam, planner: &Planner<'_>) -> NewRow {
        let mut row = json!({
            "team_id": id, "team_alias": new.alias, "organization_id": new.organization_id,
            "models": new.models, "metadata": new.metadata, "budget_reset_at": new.budget_reset_at,
            "created_at": planner.now, "updated_at": planner.now,
        });
        put_limits(&mut row, &new.limits);
        NewRow { row, budget: None }
    }

    async fn write_user(
        connection: &mut DbConnection,
        planner: &Planner<'_>,
        plan: &Plan,
        applied: &mut Applied,
    ) -> Result<(), DbError> {
        let query = sqlx::query(
            "with made_user as (
                insert into entraway.users (user_id, tenant_id, object_id, user_email, user_alias, user_role, sso_user_role,
                                            sso_user_roles, models, max_budget, budget_duration, budget_reset_at, metadata,
                                            created_at, updated_at)
                select $1, $11, $10::uuid, n.user_email, n.user_alias, n.user_role, n.sso_user_role, n.sso_user_roles, n.models,
                       n.max_budget, n.budget_duration, n.budget_reset_at, '{\"auth_provider\": \"microsoft\"}', $2, $2
                from jsonb_to_record($3) as n(user_email text, user_alias text, user_role text, sso_user_role text,
                    sso_user_roles text[], models text[], max_budget double precision, budget_duration text, budget_reset_at timestamptz)
                where $3 is not null
                on conflict do nothing
                returning 1
            ), changed_user as (
                update entraway.users u
                set user_email = coalesce($4 ->> 'user_email', u.user_email),
                    user_alias = coalesce($4 ->> 'user_alias', u.user_alias),
                    user_role = coalesce($4 ->> 'user_role', u.user_role),
                    sso_user_role = case when $4 ? 'sso_user_role' then $4 ->> 'sso_user_role' else u.sso_user_role end,
                    sso_user_roles = case when $4 ? 'sso_user_role'
                        then array(select jsonb_array_elements_text($4 -> 'sso_user_roles')) else u.sso_user_roles end,
                    updated_at = $2
                where u.user_id = $1 and u.tenant_id = $11 and $4 is not null
                returning 1
            ), joined_organizations as (
                insert into entraway.organization_members
                       (user_id, organization_id, user_role, sso_user_role, source, created_at, updated_at)
                select $1, m.id, m.role, m.role, 'entra', $2, $2 from unnest($5::text[], $6::text[]) as m(id, role)
                on conflict do nothing
                returning organization_id
            ), changed_roles as (
                update entraway.organization_members o
                set user_role = m.role, sso_user_role = m.role, updated_at = $2
                from unnest($7::text[], $8::text[]) as m(id, role)
                where o.user_id = $1 and o.organization_id = m.id
                returning 1
            ), joined_teams as (
                insert into entraway.team_members (user_id, team_id, role, source, created_at)
                select $1, id, 'user', 'entra', $2 from unnest($9::text[]) as m(id)
                on conflict do nothing
                returning team_id
            )
            select exists (select from made_user) as user_created,
                   exists (select from changed_user) or exists (select from changed_roles) as user_updated,
                   (select coalesce(array_agg(organization_id), '{}') from joined_organizations) as organizations,
                   (select coalesce(array_agg(team_id), '{}') from joined_teams) as teams",
        );
        written(&bind_user(query, planner, plan).fetch_one(connection).await?, applied)
    }
}
