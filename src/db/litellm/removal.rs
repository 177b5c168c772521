//! Removal of memberships in a LiteLLM database, and the keys of their teams.
//!
//! Done as the proxy itself removes a member (`management_helpers/team_roster_sync.py`, 1.110.2), in its lock order, except
//! that keys are blocked and not deleted. It needs the privileges of `docs/litellm-grants-removal.sql`.

use sqlx::types::Json;

use crate::db::DbError;
use crate::db::connection::DbConnection;
use crate::db::reconciliation::{MemberLocks, lock_users};
use crate::plan::{Applied, Plan, Planner};
use crate::policy::KeysOnRemoval;

/// Privileges for the removal of memberships: table, column (empty for the whole table), privilege.
const MEMBERSHIPS: &[[&str; 3]] =
    &[["LiteLLM_TeamMembership", "", "DELETE"], ["LiteLLM_OrganizationMembership", "", "DELETE"]];

/// Privileges for blocking the keys of a team's former member.
const KEYS: &[[&str; 3]] = &[
    ["LiteLLM_VerificationToken", "token", "SELECT"],
    ["LiteLLM_VerificationToken", "user_id", "SELECT"],
    ["LiteLLM_VerificationToken", "team_id", "SELECT"],
    ["LiteLLM_VerificationToken", "blocked", "SELECT"],
    ["LiteLLM_VerificationToken", "metadata", "SELECT"],
    ["LiteLLM_VerificationToken", "blocked", "UPDATE"],
    ["LiteLLM_VerificationToken", "metadata", "UPDATE"],
    ["LiteLLM_VerificationToken", "updated_at", "UPDATE"],
];

/// Privileges for following the names of groups.
const NAMES: &[[&str; 3]] = &[
    ["LiteLLM_TeamTable", "team_alias", "UPDATE"],
    ["LiteLLM_TeamTable", "updated_at", "UPDATE"],
    ["LiteLLM_OrganizationTable", "organization_alias", "UPDATE"],
    ["LiteLLM_OrganizationTable", "updated_at", "UPDATE"],
];

/// The privileges that a removal needs: tables, columns and privileges, in parallel lists.
pub(super) fn privileges(keys: KeysOnRemoval) -> [Vec<&'static str>; 3] {
    let keys = if keys == KeysOnRemoval::Block { KEYS } else { &[] };
    parallel(&[MEMBERSHIPS, keys].concat())
}

/// The privileges that restoring keys needs.
pub(super) fn key_privileges() -> [Vec<&'static str>; 3] {
    parallel(KEYS)
}

pub(super) fn parallel(needed: &[[&'static str; 3]]) -> [Vec<&'static str>; 3] {
    [0, 1, 2].map(|index| needed.iter().map(|one| one[index]).collect())
}

/// SQL for the missing ones of these privileges, as `table.column: privilege`. A missing table or column counts as a missing
/// privilege. `$tables`, `$columns` and `$privileges` are replaced by parameters.
macro_rules! missing_privileges_sql {
    ($tables:literal, $columns:literal, $privileges:literal) => {
        concat!(
            "(select coalesce(array_agg(wanted.privilege || ' on ' || wanted.relation
                                        || case wanted.attribute when '' then '' else '.' || wanted.attribute end), '{}')
              from unnest(", $tables, "::text[], ", $columns, "::text[], ", $privileges, "::text[])
                       as wanted(relation, attribute, privilege)
                   left join pg_class c on c.oid = to_regclass(format('public.%I', wanted.relation))
                   left join pg_attribute a on a.attrelid = c.oid and a.attname = wanted.attribute and not a.attisdropped
              where not coalesce(case when wanted.attribute = '' then has_table_privilege(c.oid, wanted.privilege)
                                      else has_column_privilege(c.oid, a.attnum, wanted.privilege) end, false))"
        )
    };
}
pub(super) use missing_privileges_sql;

/// The missing privileges, such as `DELETE on LiteLLM_TeamMembership`.
pub(in crate::db) async fn missing_privileges(
    connection: &mut DbConnection,
    keys: KeysOnRemoval,
) -> Result<Vec<String>, DbError> {
    missing(connection, privileges(keys)).await
}

/// Whether names can follow those of groups.
pub(in crate::db) async fn may_rename(connection: &mut DbConnection) -> Result<bool, DbError> {
    Ok(missing(connection, parallel(NAMES)).await?.is_empty())
}

async fn missing(
    connection: &mut DbConnection,
    [tables, columns, privileges]: [Vec<&'static str>; 3],
) -> Result<Vec<String>, DbError> {
    let query = sqlx::query_scalar(concat!("select ", missing_privileges_sql!("$1", "$2", "$3")));
    Ok(query.bind(tables).bind(columns).bind(privileges).fetch_one(connection).await?)
}

/// Blocks the keys of former members, in the order of their hashes. A key carries our own marker, and its hash is remembered,
/// so that only a key that the sync blocked is restored. Keys without a user belong to the team and are left alone.
const WITH_KEYS: &str = r#", keys as materialized (
            select k.token, l.object_id from public."LiteLLM_VerificationToken" k join leaving l using (user_id, team_id)
            where k.user_id = any(array(select user_id from leaving)) and k.blocked is not true
            order by k.token for no key update of k
        ), blocked as (
            update public."LiteLLM_VerificationToken" k
            set blocked = true, updated_at = now,
                metadata = case jsonb_typeof(k.metadata) when 'object' then k.metadata else '{}' end
                    || jsonb_build_object('entraway_blocked', jsonb_build_object('at', at, 'run', run))
            from now, parameters, keys
            where k.token = keys.token
            returning keys.object_id, k.user_id, k.team_id, k.token
        ), remembered_keys as (
            insert into entraway.litellm_blocked_keys as known (user_id, team_id, tokens, blocked_at)
            select user_id, team_id, array_agg(token), at from blocked cross join parameters group by user_id, team_id, at
            on conflict (user_id, team_id) do update
            set tokens = known.tokens || excluded.tokens, blocked_at = excluded.blocked_at
        )"#;

/// The same names without rows.
const WITHOUT_KEYS: &str = ", blocked as (
            select null::text as object_id, null::text as user_id, null::text as team_id, null::text as token where false
        )";

/// Removes users from all three places of each team membership and from organizations, and blocks keys. Only teams that
/// `leaving` names change; other entries of a roster keep their order. Arrays, because Postgres would scan a table for a join
/// with a list of unknown length.
pub(super) fn sql(keys: KeysOnRemoval) -> String {
    let keys = if keys == KeysOnRemoval::Block { WITH_KEYS } else { WITHOUT_KEYS };
    format!(
        r#", now as (
            select at at time zone 'UTC' as now from parameters
        ), team as materialized (
            select t.team_id, t.team_alias from public."LiteLLM_TeamTable" t
            where t.team_id = any(array(select team_id from leaving))
            order by t.team_id collate "C"
            for no key update of t
        ), changed_users as (
            update public."LiteLLM_UserTable" u
            set updated_at = now, teams = array(
                select team_id from unnest(u.teams) with ordinality as listed(team_id, place)
                where not exists (select from leaving l where l.user_id = u.user_id and l.team_id = listed.team_id)
                order by place)
            from now
            where u.user_id = any(array(select user_id from leaving))
              and exists (select from leaving l where l.user_id = u.user_id and l.team_id = any(u.teams))
        ), memberships as (
            delete from public."LiteLLM_TeamMembership" m using leaving l
            where m.user_id = any(array(select user_id from leaving)) and m.user_id = l.user_id and m.team_id = l.team_id
        ), changed_rosters as (
            update public."LiteLLM_TeamTable" t
            set updated_at = now, members_with_roles = (
                select coalesce(jsonb_agg(member order by place), '[]')
                from jsonb_array_elements(t.members_with_roles) with ordinality as roster(member, place)
                where not exists (
                    select from leaving l where l.team_id = t.team_id and l.user_id = member ->> 'user_id'))
            from now, team
            where t.team_id = any(array(select team_id from leaving)) and t.team_id = team.team_id and jsonb_typeof(t.members_with_roles) = 'array' and exists (
                select from leaving l
                where l.team_id = t.team_id
                  and t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', l.user_id)))
        ), organizations as (
            delete from public."LiteLLM_OrganizationMembership" m using leaving_organizations l
            where m.user_id = any(array(select user_id from leaving_organizations)) and m.user_id = l.user_id and m.organization_id = l.organization_id
            returning l.object_id, m.user_id, m.organization_id
        ), removed_teams as (
            delete from entraway.litellm_team_members m using leaving l
            where m.user_id = any(array(select user_id from leaving)) and m.user_id = l.user_id and m.team_id = l.team_id
            returning l.object_id, m.user_id, m.team_id
        ), forgotten_organizations as (
            delete from entraway.litellm_organization_members m using leaving_organizations l
            where m.user_id = any(array(select user_id from leaving_organizations)) and m.user_id = l.user_id and m.organization_id = l.organization_id
        ){keys}, notified as materialized (
            select entraway.tell_sessions(array(
                select object_id from leaving union select object_id from leaving_organizations))
        )
        select (select coalesce(json_agg(json_build_array(object_id, user_id, team_id, team_alias)), '[]')
                from removed_teams left join team using (team_id)) as teams,
               (select coalesce(json_agg(json_build_array(object_id, user_id, organization_id)), '[]') from organizations)
                   as organizations,
               (select coalesce(json_agg(json_build_array(object_id, user_id, team_id, tokens)), '[]')
                from (select object_id, user_id, team_id, array_agg(token) as tokens
                      from blocked group by object_id, user_id, team_id) by_team) as keys
        from notified"#
    )
}

/// A user's row is found by our record of it, as in `memberships.rs`.
pub(super) const LEAVING: &str = r#"known as materialized (
            select distinct on (u.user_id) w.object_id, u.user_id, u.teams, w.sources
            from wanted w
                 join entraway.litellm_users p on p.object_id = w.object_id and p.tenant_id = w.tenant_id
                 join public."LiteLLM_UserTable" u on u.user_id = p.user_id
            where p.object_id = any(array(select object_id from wanted)) and p.row_created_at is not distinct from u.created_at
            order by u.user_id
        ), leaving as materialized (
            select k.user_id, k.object_id, given.team_id
            from known k
                 join entraway.litellm_team_members given on given.user_id = k.user_id and given.team_id = $6
                 join public."LiteLLM_TeamTable" t on t.team_id = given.team_id
            where $5 = 'team' and given.user_id = any(array(select user_id from known)) and given.sources = k.sources
              and (not coalesce(t.members_with_roles @> jsonb_build_array(
                           jsonb_build_object('user_id', k.user_id, 'role', 'admin')), false)
                   or $7::text[] = '{}' or exists (
                       select from jsonb_array_elements(t.members_with_roles) as roster(member)
                                   join entraway.litellm_users admin on admin.user_id = member ->> 'user_id'
                       where member ->> 'role' = 'admin' and admin.object_id = any($7)))
        ), own_teams as materialized (
            select team_id from public."LiteLLM_TeamTable" where $5 = 'organization' and organization_id = $6
        ), leaving_organizations as materialized (
            select k.user_id, k.object_id, m.organization_id
            from known k
                 join public."LiteLLM_OrganizationMembership" m on m.user_id = k.user_id and m.organization_id = $6
                 join entraway.litellm_organization_members given
                     on given.user_id = m.user_id and given.organization_id = m.organization_id
                        and given.row_created_at is not distinct from m.created_at
            where $5 = 'organization' and m.user_id = any(array(select user_id from known))
              and not exists (select from own_teams where team_id = any(k.teams))
              and not exists (select from own_teams join public."LiteLLM_TeamMembership" tm using (team_id)
                              where tm.user_id = k.user_id)
              and (m.user_role is distinct from 'org_admin' or $7::text[] = '{}' or exists (
                  select from public."LiteLLM_OrganizationMembership" other
                              join entraway.litellm_users admin on admin.user_id = other.user_id
                  where other.organization_id = $6 and other.user_role = 'org_admin' and admin.object_id = any($7)))
        )"#;

/// After our own locks, the proxy's lock of the team, then the users' rows in the proxy's order.
pub(super) async fn lock_members(connection: &mut DbConnection, locks: &MemberLocks<'_>) -> Result<(), DbError> {
    lock_users(connection, locks).await?;
    if let Some(team) = locks.team {
        sqlx::query("select pg_advisory_xact_lock(hashtext($1))").bind(team).execute(&mut *connection).await?;
    }
    sqlx::query(
        r#"select u.user_id from public."LiteLLM_UserTable" u
           where u.user_id = any(array(select user_id from entraway.litellm_users where object_id = any($1)))
           order by u.user_id collate "C" for update"#,
    )
    .bind(&locks.users)
    .execute(connection)
    .await?;
    Ok(())
}

/// Restores the keys that the sync blocked, in the order of their hashes, in one statement.
pub(super) async fn restore_keys(
    connection: &mut DbConnection,
    planner: &Planner<'_>,
    plan: &Plan,
    applied: &mut Applied,
) -> Result<(), DbError> {
    Json(applied.keys_restored) = sqlx::query_scalar(
        r#"with keys as materialized (
            select token from public."LiteLLM_VerificationToken"
            where user_id = $1 and team_id = any($2::text[])
              and jsonb_typeof(metadata) = 'object' and metadata ? 'entraway_blocked'
              -- The owner of a key may be able to write the mark.
              and token in (select unnest(tokens) from entraway.litellm_blocked_keys
                            where user_id = $1 and team_id = any($2))
            order by token for no key update
        ), restored as (
            update public."LiteLLM_VerificationToken" k
            set blocked = false, updated_at = $3::timestamptz at time zone 'UTC', metadata = k.metadata - 'entraway_blocked'
            from keys where k.token = keys.token
            returning k.team_id, k.token
        ), forgotten as (
            delete from entraway.litellm_blocked_keys where user_id = $1 and team_id = any($2)
        )
        select coalesce(json_object_agg(team_id, tokens), '{}')
        from (select team_id, array_agg(token) as tokens from restored group by team_id) by_team"#,
    )
    .bind(plan.user_id.as_str())
    .bind(plan.restore_keys.iter().map(ToString::to_string).collect::<Vec<_>>())
    .bind(planner.now)
    .fetch_one(connection)
    .await?;
    Ok(())
}
