//! Removal of memberships in a LiteLLM database, and the keys of their teams.
//!
//! Done as the proxy itself removes a member (`management_helpers/team_roster_sync.py`, 1.110.2), in its lock order, except
//! that keys are blocked and not deleted. It needs the privileges of `docs/litellm-grants-removal.sql`.

use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row as _};

use crate::db::DbError;
use crate::db::apply::removed;
use crate::db::connection::DbConnection;
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

/// The privileges that a removal needs: tables, columns and privileges, in parallel lists.
pub(super) fn privileges(keys: KeysOnRemoval) -> [Vec<&'static str>; 3] {
    let keys = if keys == KeysOnRemoval::Block { KEYS } else { &[] };
    parallel(&[MEMBERSHIPS, keys].concat())
}

/// The privileges that restoring keys needs.
pub(super) fn key_privileges() -> [Vec<&'static str>; 3] {
    parallel(KEYS)
}

fn parallel(needed: &[[&'static str; 3]]) -> [Vec<&'static str>; 3] {
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
    let [tables, columns, privileges] = privileges(keys);
    let query = sqlx::query_scalar(concat!("select ", missing_privileges_sql!("$1", "$2", "$3")));
    Ok(query.bind(tables).bind(columns).bind(privileges).fetch_one(connection).await?)
}

/// Blocks the keys of former members, in the order of their hashes. A key carries our own marker, and its hash is remembered,
/// so that only a key that the sync blocked is restored. Keys without a user belong to the team and are left alone.
const WITH_KEYS: &str = r#", keys as materialized (
            select token from public."LiteLLM_VerificationToken"
            where user_id = $1 and team_id = any($3) and blocked is not true
            order by token for no key update
        ), blocked as (
            update public."LiteLLM_VerificationToken" k
            set blocked = true, updated_at = now,
                metadata = case jsonb_typeof(k.metadata) when 'object' then k.metadata else '{}' end
                    || jsonb_build_object('entraway_blocked', jsonb_build_object('at', $2::timestamptz, 'run', $6::uuid))
            from now, keys
            where k.token = keys.token
            returning k.team_id, k.token
        ), remembered_keys as (
            insert into entraway.litellm_blocked_keys as known (user_id, team_id, tokens, blocked_at)
            select $1, team_id, array_agg(token), $2::timestamptz from blocked group by team_id
            on conflict (user_id, team_id) do update
            set tokens = known.tokens || excluded.tokens, blocked_at = excluded.blocked_at
        )"#;

/// The same names without rows.
const WITHOUT_KEYS: &str = ", blocked as (select null::text as team_id, null::text as token where $6::uuid is null)";

/// Removes the user from all three places of each team membership and from organizations, and blocks keys, in one
/// statement. Only teams that the plan names change; other entries of a roster keep their order.
pub(super) async fn write(
    connection: &mut DbConnection,
    planner: &Planner<'_>,
    plan: &Plan,
    applied: &mut Applied,
) -> Result<(), DbError> {
    let keys = if planner.policy.keys_on_removal == KeysOnRemoval::Block { WITH_KEYS } else { WITHOUT_KEYS };
    let sql = format!(
        r#"with now as (
            select $2::timestamptz at time zone 'UTC' as now
        ), team as materialized (
            select t.team_id, t.team_alias from public."LiteLLM_TeamTable" t where t.team_id = any($3::text[])
            order by t.team_id collate "C"
            for no key update of t
        ), changed_user as (
            update public."LiteLLM_UserTable" u
            set updated_at = now, teams = array(
                select team_id from unnest(u.teams) with ordinality as listed(team_id, place)
                where team_id <> all($3) order by place)
            from now where u.user_id = $1 and u.teams && $3
        ), memberships as (
            delete from public."LiteLLM_TeamMembership" where user_id = $1 and team_id = any($3)
        ), changed_rosters as (
            update public."LiteLLM_TeamTable" t
            set updated_at = now, members_with_roles = (
                select coalesce(jsonb_agg(member order by place), '[]')
                from jsonb_array_elements(t.members_with_roles) with ordinality as roster(member, place)
                where member ->> 'user_id' is distinct from $1)
            from now, team
            where t.team_id = team.team_id and jsonb_typeof(t.members_with_roles) = 'array'
              and t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', $1::text))
        ), organizations as (
            delete from public."LiteLLM_OrganizationMembership" where user_id = $1 and organization_id = any($4::text[])
            returning organization_id
        ), removed_teams as (
            delete from entraway.litellm_team_members where user_id = $1 and team_id = any($3) returning team_id
        ), forgotten_organizations as (
            delete from entraway.litellm_organization_members where user_id = $1 and organization_id = any($4)
        ){keys}, notified as materialized (
            select entraway.tell_sessions(array[$5::text])
        )
        select (select coalesce(json_object_agg(team_id, team_alias), '{{}}')
                from removed_teams left join team using (team_id)) as teams,
               (select coalesce(array_agg(organization_id), '{{}}') from organizations) as organizations,
               (select coalesce(json_object_agg(team_id, tokens), '{{}}')
                from (select team_id, array_agg(token) as tokens from blocked group by team_id) by_team) as keys
        from notified"#
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(plan.user_id.as_str())
        .bind(planner.now)
        .bind(plan.remove_from_teams.keys().collect::<Vec<_>>())
        .bind(plan.remove_from_organizations.keys().collect::<Vec<_>>())
        .bind(planner.entra_user.identity.object_id.to_string())
        .bind(planner.run_id)
        .fetch_one(connection)
        .await?;
    removed(&row, applied)?;
    Json(applied.keys_blocked) = row.try_get("keys")?;
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
