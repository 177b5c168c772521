//! Reads the facts about a user for [`crate::explain`]: one statement, and one more to find a team. All lookups use a
//! key or an index.

use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row as _};

use crate::db::roles::litellm_role;
use crate::db::{Db, DbError};
use crate::domain::{ObjectId, StoreKind};
use crate::explain::{Facts, KnownTeam};

/// The user: the row, the sync's record of it, and the ID that sync records have. A denied user has no row, but a sync
/// record.
const NATIVE_PERSON: &str = ", person as materialized (
        select coalesce(u.user_id, ran.user_id) as user_id, coalesce(u.user_id, ran.user_id) as object_id,
               coalesce(u.tenant_id, ran.tenant_id) as tenant_id, u.user_email as email, u.user_alias as name,
               u.user_role as role, u.sso_user_role as sso_role, coalesce(u.sso_user_roles, '{}') as offered_roles,
               null::text as withheld_role, u.user_id is not null as has_row, u.user_id is not null as from_here
        from (select) one
             left join lateral (
                 select user_id, tenant_id from entraway.sync_runs where user_id = any($1)
                 order by started_at desc limit 1) ran on true
             left join entraway.users u on u.user_id = any($1)
        where coalesce(u.user_id, ran.user_id) is not null
    )";

/// Finds the row that is known to belong to the object ID, else the one that the next sign-in would find.
const LITELLM_PERSON: &str = concat!(
    r#", found as materialized (
        select user_id from unnest($1) as user_id
        union select user_id from entraway.litellm_users where object_id = any($1)
        union select user_id from public."LiteLLM_UserTable" a where sso_user_id = any($1) and not exists (
            select from entraway.litellm_users other
            where other.user_id = a.user_id and other.object_id <> all($1)
              and other.row_created_at is not distinct from a.created_at)
    ), account as materialized (
        select user_id, sso_user_id, user_email, user_alias, user_role, teams, created_at
        from public."LiteLLM_UserTable" where user_id = any(array(select user_id from found))
        order by user_id = ($1)[1] desc, user_id = any($1) desc limit 1
    ), given as materialized (
        select o.object_id, o.tenant_id, o.sso_user_role, o.sso_user_roles, o.withheld_role, o.row_created_at
        from account a join entraway.litellm_users o using (user_id)
        where o.row_created_at is not distinct from a.created_at
        order by o.object_id = a.user_id desc limit 1
    ), person as materialized (
        select coalesce(u.user_id, ran.user_id) as user_id,
               coalesce(p.object_id,
                   case when u.user_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then u.user_id end,
                   u.sso_user_id, u.user_id, ran.user_id) as object_id,
               coalesce(p.tenant_id, ran.tenant_id) as tenant_id, u.user_email as email, u.user_alias as name, "#,
    litellm_role!(),
    " as role, p.sso_user_role as sso_role, coalesce(p.sso_user_roles, '{}') as offered_roles, p.withheld_role,
               u.user_id is not null as has_row, p.object_id is not null as from_here
        from (select) one
             left join lateral (
                 select user_id, tenant_id from entraway.sync_runs where user_id = any($1)
                 order by started_at desc limit 1) ran on true
             left join account u on true left join given p on true
        where coalesce(u.user_id, ran.user_id) is not null
    )"
);

/// The groups that Entra last named.
const READING: &str = ", reading as materialized (
        select g.assigned_groups, g.groups, g.confirmed_at
        from person p join entraway.person_groups g on g.user_id = p.object_id
             and g.tenant_id = coalesce(p.tenant_id, g.tenant_id)
    ), asked as materialized (
        select jsonb_object_keys(groups) as id from reading
    )";

const NATIVE_TEAM_MEMBERS: &str = ", team_member as materialized (
        select m.team_id, m.role, m.source, null::json as places from person p join team_members m using (user_id)
    )";

/// Memberships that are only on a team's roster are found only for the user's own groups: no index leads from a user to
/// rosters.
const LITELLM_TEAM_MEMBERS: &str = r#", team_member as materialized (
        select team_id, case when leads then 'admin' else 'user' end as role,
               case when membership and remembered then 'entra' else 'manual' end as source,
               json_build_object('roster', roster, 'person', person, 'membership', membership) as places
        from (
            select t.team_id,
                   t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', a.user_id)) as roster,
                   t.members_with_roles
                       @> jsonb_build_array(jsonb_build_object('user_id', a.user_id, 'role', 'admin')) as leads,
                   coalesce(t.team_id = any(a.teams), false) as person,
                   m.user_id is not null as membership, given.user_id is not null as remembered
            from account a
                 join public."LiteLLM_TeamTable" t on t.team_id = any(array(
                     select id from asked
                     union select unnest(teams) from account
                     union select team_id from account join public."LiteLLM_TeamMembership" using (user_id)))
                 left join public."LiteLLM_TeamMembership" m on m.user_id = a.user_id and m.team_id = t.team_id
                 left join entraway.litellm_team_members given
                     on given.user_id = a.user_id and given.team_id = t.team_id
        ) found
        where coalesce(roster, false) or person or membership
    )"#;

/// All facts.
///
/// `record` is the user's sync records. When a list was last known ignores records of older versions, which kept no
/// list and did not measure Entra's time.
const FACTS: &str = ", organization_member as materialized (
        select m.organization_id, m.user_role as role, m.source
        from person p join organization_members m using (user_id)
    ), record as not materialized (
        select r.run_id, r.started_at, r.assigned_groups, r.member_of, r.entra_ms is not null as has_lists,
               r.assigned_groups in ('known', 'not_configured') and r.member_of = 'known' as complete,
               json_build_object('started_at', r.started_at, 'outcome', r.outcome,
                   'assigned_groups', r.assigned_groups, 'assigned_groups_why', r.assigned_groups_why,
                   'member_of', r.member_of, 'member_of_why', r.member_of_why, 'failures', r.failures) as summary
        from entraway.sync_runs r
        where r.user_id = (select object_id from person)
          and r.tenant_id = coalesce((select tenant_id from person), r.tenant_id)
    ), known as materialized (
        select coalesce((select max(started_at) from record where complete and has_lists),
                        (select confirmed_at from reading where assigned_groups <> 'unknown')) as assigned_groups,
               coalesce((select max(started_at) from record where member_of = 'known' and has_lists),
                        (select confirmed_at from reading)) as member_of
    )
    select to_json(p) as person,
        (select to_json(r) from reading r) as reading,
        json_build_object('as_of', known.assigned_groups, 'unknown_since', (
            select min(started_at) from record
            where started_at > coalesce(known.assigned_groups, '-infinity') and assigned_groups = 'unknown'
        )) as assigned_groups,
        json_build_object('as_of', known.member_of, 'unknown_since', (
            select min(started_at) from record
            where started_at > coalesce(known.member_of, '-infinity') and member_of = 'unknown'
        )) as member_of,
        (select summary from record order by started_at desc, run_id desc limit 1) as newest,
        (select summary from record where complete order by started_at desc, run_id desc limit 1) as complete,
        (select coalesce(json_agg(json_build_object('id', t.team_id, 'name', t.own_alias,
                    'organization_id', t.organization_id, 'organization_name', o.organization_alias,
                    'made', to_json(m))), '[]')
         from teams t left join organizations o using (organization_id)
              left join entraway.made_teams m on m.team_id = t.team_id
         where t.team_id = any(array(select id from asked union select team_id from team_member))) as teams,
        (select coalesce(json_agg(json_build_object('id', o.organization_id, 'name', o.organization_alias)), '[]')
         from organizations o where o.organization_id = any(
             array(select id from asked union select organization_id from organization_member))) as organizations,
        (select coalesce(json_agg(to_json(m)), '[]') from team_member m) as team_members,
        (select coalesce(json_agg(to_json(m)), '[]') from organization_member m) as organization_members,
        (select coalesce(json_agg(json_build_object('kind', target_kind, 'id', target_id, 'name', target_name, 'at', at,
                    'cause', cause, 'actor', actor, 'run_id', run_id)), '[]')
         from (select distinct on (target_kind, target_id) target_kind, target_id, target_name, at, cause, action, actor,
                      run_id
               from entraway.audit_events
               where object_id = (select object_id from person) and result = 'applied' and action in (
                   'team_member_added', 'team_member_removed',
                   'organization_member_added', 'organization_member_removed')
               order by target_kind, target_id, at desc, event_id desc) last
         where action in ('team_member_removed', 'organization_member_removed')) as removals,
        (select json_build_object('cause', d.cause, 'since', d.since) from entraway.disabled_accounts d
         where d.object_id = p.object_id and d.tenant_id = p.tenant_id) as disabled
    from person p cross join known";

/// Finds all matching names first and limits them afterwards: a longer list would not help to tell teams of the same
/// name apart. A role with privileges on single columns sees no statistics of expressions; Postgres would assume that
/// the name is frequent and scan the table.
const TEAMS_CALLED: &str = ", called as materialized (
        select team_id, own_alias from teams where lower(team_alias) = lower($1)
    )
    (select team_id as id, own_alias as name from teams where team_id = any($2))
    union (select team_id, own_alias from called limit 20)";

impl Db {
    /// Loads the facts about a user, by row key or object ID. `None` if neither is known.
    pub async fn explain_facts(&self, user: &str) -> Result<Option<Facts>, DbError> {
        let Some(ids) = spellings(user) else { return Ok(None) };
        let (person, team_members) = match self.kind {
            StoreKind::Native => (NATIVE_PERSON, NATIVE_TEAM_MEMBERS),
            StoreKind::LiteLlm => (LITELLM_PERSON, LITELLM_TEAM_MEMBERS),
        };
        let sql = AssertSqlSafe([self.relations(), person, READING, team_members, FACTS].concat());
        let row = sqlx::query(sql).bind(ids).fetch_optional(&mut *self.connection().await?).await?;
        row.map(|row| facts(&row)).transpose()
    }

    /// Finds teams by ID or name; at most a few of each.
    pub async fn teams_called(&self, wanted: &str) -> Result<Vec<KnownTeam>, DbError> {
        let wanted = wanted.trim();
        let Some(ids) = spellings(wanted) else { return Ok(Vec::new()) };
        let rows = sqlx::query(self.over_relations(TEAMS_CALLED))
            .bind(wanted)
            .bind(ids)
            .fetch_all(&mut *self.connection().await?)
            .await?;
        rows.iter().map(|row| Ok(KnownTeam { id: row.try_get("id")?, name: row.try_get("name")? })).collect()
    }
}

/// The ID as given and, if it is a GUID, in canonical form. `None` if no text column can hold it.
fn spellings(id: &str) -> Option<Vec<String>> {
    if id.is_empty() || id.contains('\0') {
        return None;
    }
    let mut ids = vec![id.to_owned()];
    ids.extend(id.parse::<ObjectId>().ok().map(|id| id.to_string()));
    ids.dedup();
    Some(ids)
}

fn facts(row: &PgRow) -> Result<Facts, DbError> {
    Ok(Facts {
        user: json(row, "person")?,
        reading: maybe(row, "reading")?,
        assigned_groups: json(row, "assigned_groups")?,
        member_of: json(row, "member_of")?,
        newest: maybe(row, "newest")?,
        complete: maybe(row, "complete")?,
        teams: json(row, "teams")?,
        organizations: json(row, "organizations")?,
        team_members: json(row, "team_members")?,
        organization_members: json(row, "organization_members")?,
        removals: json(row, "removals")?,
        disabled: maybe(row, "disabled")?,
    })
}

fn json<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<T, DbError> {
    let Json(value) = row.try_get(column)?;
    Ok(value)
}

fn maybe<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<Option<T>, DbError> {
    Ok(row.try_get::<Option<Json<T>>, _>(column)?.map(|Json(value)| value))
}
