//! The service's own tables of organizations, teams, users and memberships.

use serde_json::json;

use super::DbError;
use super::apply::{Locks, NewRow, Tables, bind_user, current, put_limits, superseding_period, uuids, written};
use super::connection::DbConnection;
use super::reconciliation::{MemberLocks, lock_users};
use crate::domain::{EntraUser, GroupId};
use crate::plan::{Applied, Current, NewOrganization, NewTeam, Plan, Planner};
use crate::policy::KeysOnRemoval;

pub(super) struct Native;

impl Tables for Native {
    const ORGANIZATIONS: &'static str = "entraway.organizations";
    const TEAMS: &'static str = "entraway.teams";

    async fn read(connection: &mut DbConnection, planner: &Planner<'_>) -> Result<Current, DbError> {
        let identity = planner.entra_user.identity;
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
                (select json_object_agg(m.team_id, json_build_object(
                            'team_alias', t.team_alias, 'organization_id', t.organization_id, 'sources', m.sources,
                            'role', m.role, 'present', true, 'last_admin', m.role = 'admin' and not exists (
                                select from entraway.team_members other
                                where other.team_id = m.team_id and other.role = 'admin' and other.user_id <> $1)))
                 from entraway.team_members m join entraway.teams t using (team_id)
                      left join unnest($4::text[]) as effective(id) on effective.id = m.team_id
                 where $3 and m.user_id = $1 and m.source = 'entra'
                   and (effective.id is null or m.sources <> '{}' and $5 || ':' || m.team_id <> all(m.sources))
                ) as managed_teams,
                (select json_object_agg(m.organization_id, json_build_object(
                            'organization_alias', o.organization_alias,
                            'teams', array(select t.team_id from entraway.team_members tm join entraway.teams t using (team_id)
                                           where tm.user_id = $1 and t.organization_id = m.organization_id),
                            'last_admin', m.user_role = 'org_admin' and not exists (
                                select from entraway.organization_members other
                                where other.organization_id = m.organization_id and other.user_role = 'org_admin'
                                  and other.user_id <> $1)))
                 from entraway.organization_members m join entraway.organizations o using (organization_id)
                      left join unnest($4::text[]) as effective(id) on effective.id = m.organization_id
                 where $3 and m.user_id = $1 and m.source = 'entra' and effective.id is null
                ) as managed_organizations,
                true as can_remove, '{}'::uuid[] as blocked_keys, true as can_restore_keys,
                (select true from entraway.disabled_accounts where object_id = $1 and tenant_id = $7) as can_restore_account,
                exists (select from entraway.audit_events
                        where object_id = $1 and at > $6 and at < $6 + $8 and actor = 'sign_in'
                          and action in ('team_member_added', 'team_member_removed'))
                or exists (select from entraway.sync_runs
                           where user_id = $1 and tenant_id = $7 and started_at > $6 and started_at < $6 + $8
                             and assigned_groups <> 'unknown' and member_of = 'known') as superseded,
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
        .bind(uuids(planner.directory.group_ids()))
        .bind(planner.directory.unknown().is_none())
        .bind(planner.directory.effective_groups().iter().map(ToString::to_string).collect::<Vec<_>>())
        .bind(&planner.policy.client_id)
        .bind(planner.now)
        .bind(identity.tenant_id.as_uuid())
        .bind(superseding_period(planner.scope))
        .fetch_one(connection)
        .await?;

        let current = current(&row)?;
        if current.user.as_ref().is_some_and(|user| user.tenant_id != Some(identity.tenant_id)) {
            return Err(DbError::OtherTenant);
        }
        Ok(current)
    }

    /// One lock for creating organizations or teams, one for removing administrators, then one per user. A lock per group would fill Postgres's lock
    /// table in a storm of sign-ins.
    async fn lock(connection: &mut DbConnection, entra_user: &EntraUser, locks: &Locks) -> Result<(), DbError> {
        sqlx::query(
            "select case when $1 then pg_advisory_xact_lock(hashtext('entraway.create'), 0) end,
                    case when $3 then pg_advisory_xact_lock(hashtext('entraway.admins'), 0) end,
                    pg_advisory_xact_lock(hashtext('entraway.person'), hashtext($2))",
        )
        .bind(locks.creates)
        .bind(entra_user.identity.object_id.to_string())
        .bind(locks.admins)
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
                insert into entraway.team_members (user_id, team_id, role, source, sources, created_at)
                select $1, id, 'user', 'entra', array[given], $2 from unnest($9::text[], $12::text[]) as m(id, given)
                on conflict do nothing
                returning team_id
            ), changed_sources as (
                update entraway.team_members m set sources = array(select jsonb_array_elements_text(changed.value))
                from jsonb_each($13) as changed(team_id, value)
                where m.user_id = $1 and m.team_id = changed.team_id and m.source = 'entra'
            )
            select exists (select from made_user) as user_created,
                   exists (select from changed_user) or exists (select from changed_roles) as user_updated,
                   (select coalesce(array_agg(organization_id), '{}') from joined_organizations) as organizations,
                   (select coalesce(array_agg(team_id), '{}') from joined_teams) as teams",
        );
        written(&bind_user(query, planner, plan).fetch_one(connection).await?, applied)
    }

    /// Arrays, because Postgres would scan a table for a join with a list of unknown length. Changed memberships notify replicas
    /// by a trigger. There are no keys.
    fn removal(_keys: KeysOnRemoval) -> String {
        ", teams as (
            delete from entraway.team_members m using entraway.teams t, leaving l
            where m.user_id = any(array(select user_id from leaving)) and m.user_id = l.user_id and m.team_id = l.team_id
              and m.source = 'entra' and t.team_id = m.team_id
            returning l.object_id, m.user_id, t.team_id, t.team_alias
        ), organizations as (
            delete from entraway.organization_members m using leaving_organizations l
            where m.user_id = any(array(select user_id from leaving_organizations)) and m.user_id = l.user_id
              and m.organization_id = l.organization_id and m.source = 'entra'
            returning l.object_id, m.user_id, m.organization_id
        )
        select (select coalesce(json_agg(json_build_array(object_id, user_id, team_id, team_alias)), '[]') from teams) as teams,
               (select coalesce(json_agg(json_build_array(object_id, user_id, organization_id)), '[]') from organizations)
                   as organizations,
               '[]'::json as keys"
            .to_owned()
    }

    const LEAVING: &'static str = "known as materialized (
            select w.object_id, u.user_id, w.sources
            from wanted w join entraway.users u on u.user_id = w.object_id and u.tenant_id = w.tenant_id
            where u.user_id = any(array(select object_id from wanted))
        ), leaving as materialized (
            select k.user_id, k.object_id, m.team_id
            from known k join entraway.team_members m on m.user_id = k.user_id and m.team_id = $6
            where $5 = 'team' and m.user_id = any(array(select user_id from known)) and m.source = 'entra'
              and m.sources = k.sources
              and (m.role <> 'admin' or $7::text[] = '{}' or exists (
                  select from entraway.team_members other
                  where other.team_id = $6 and other.role = 'admin' and other.user_id = any($7)))
        ), leaving_organizations as materialized (
            select k.user_id, k.object_id, m.organization_id
            from known k join entraway.organization_members m on m.user_id = k.user_id and m.organization_id = $6
            where $5 = 'organization' and m.user_id = any(array(select user_id from known)) and m.source = 'entra'
              and not exists (select from entraway.team_members tm join entraway.teams t using (team_id)
                              where tm.user_id = k.user_id and t.organization_id = $6)
              and (m.user_role is distinct from 'org_admin' or $7::text[] = '{}' or exists (
                  select from entraway.organization_members other
                  where other.organization_id = $6 and other.user_role = 'org_admin' and other.user_id = any($7)))
        )";

    async fn lock_members(connection: &mut DbConnection, locks: &MemberLocks<'_>) -> Result<(), DbError> {
        lock_users(connection, locks).await
    }
}
