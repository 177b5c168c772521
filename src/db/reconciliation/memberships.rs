//! Reads the managed memberships of all users, for a reconciliation plan: one statement for any number of groups and
//! users.

use std::collections::BTreeSet;

use serde::Deserialize;
use sqlx::types::Json;

use crate::db::litellm::missing_removal_privileges;
use crate::db::{Db, DbError};
use crate::domain::{Identity, ObjectId, StoreKind, TenantId};
use crate::policy::KeysOnRemoval;
use crate::reconciliation::{StoredMember, StoredMemberships, StoredOrganization, StoredTeam, StoredUser};

/// One row for each tenant with its users, and for each team and organization with its members, so that 100,000
/// memberships are not as many rows.
macro_rules! by_target {
    () => {
        "select 'user' as kind, tenant_id::text as target_id, null as target_name,
                json_agg(json_build_array(object_id, user_alias)) as users, null::json as members
         from known group by tenant_id
         union all
         select kind, target_id, min(target_name), null,
                json_agg(json_build_array(object_id, managed, is_admin, sources, teams) order by object_id)
         from (select * from team_member union all select * from organization_member) member
         group by kind, target_id"
    };
}

/// Managed members of teams and organizations, and all administrators of both who have signed in.
const NATIVE: &str = concat!(
    "
    with known as (
        select tenant_id, object_id, user_alias from entraway.users
    ), user_teams as materialized (
        select m.user_id, t.organization_id, array_agg(m.team_id order by m.team_id) as teams
        from entraway.team_members m join entraway.teams t using (team_id)
        where t.organization_id is not null
        group by m.user_id, t.organization_id
    ), team_member as (
        select 'team' as kind, m.team_id as target_id, t.team_alias as target_name, u.object_id,
               m.source = 'entra' as managed, m.role = 'admin' as is_admin, m.sources, '{}'::text[] as teams
        from entraway.team_members m join entraway.teams t using (team_id) join entraway.users u using (user_id)
        where m.source = 'entra' or m.role = 'admin'
    ), organization_member as (
        select 'organization', m.organization_id, o.organization_alias, u.object_id,
               m.source = 'entra', coalesce(m.user_role = 'org_admin', false), '{}'::text[], coalesce(user_teams.teams, '{}')
        from entraway.organization_members m join entraway.organizations o using (organization_id)
             join entraway.users u using (user_id)
             left join user_teams on user_teams.user_id = m.user_id and user_teams.organization_id = m.organization_id
        where m.source = 'entra' or m.user_role = 'org_admin'
    )
    ",
    by_target!()
);

/// A user's row is found by our record of it. A managed team membership counts as long as one of the three places has it,
/// and a roster counts for managed memberships only: no index leads from a user to rosters.
const LITELLM: &str = concat!(
    r#"
    with known as materialized (
        select distinct on (u.user_id) u.user_id, p.tenant_id, p.object_id::uuid as object_id, u.user_alias, u.teams
        from entraway.litellm_users p join public."LiteLLM_UserTable" u using (user_id)
        where p.row_created_at is not distinct from u.created_at
        order by u.user_id, p.object_id = u.user_id desc, p.object_id
    ), roster as materialized (
        select t.team_id, member ->> 'user_id' as user_id, bool_or(member ->> 'role' = 'admin') as is_admin
        from public."LiteLLM_TeamTable" t
             cross join lateral jsonb_array_elements(
                 case jsonb_typeof(t.members_with_roles) when 'array' then t.members_with_roles else '[]' end) listed(member)
        where t.team_id in (select team_id from entraway.litellm_team_members) and member ->> 'user_id' is not null
        group by 1, 2
    ), listed as materialized (
        select known.user_id, team_id from known cross join lateral unnest(known.teams) as own(team_id)
        union select m.user_id, m.team_id from public."LiteLLM_TeamMembership" m join known using (user_id)
    ), user_teams as materialized (
        select listed.user_id, t.organization_id, array_agg(listed.team_id order by listed.team_id) as teams
        from listed join public."LiteLLM_TeamTable" t using (team_id)
        where t.organization_id is not null
        group by listed.user_id, t.organization_id
    ), team_member as (
        select 'team' as kind, t.team_id as target_id, t.team_alias as target_name, known.object_id,
               given.user_id is not null as managed, coalesce(roster.is_admin, false) as is_admin,
               coalesce(given.sources, '{}') as sources, '{}'::text[] as teams
        from (select user_id, team_id from entraway.litellm_team_members
              union select user_id, team_id from roster where is_admin) wanted
             join known using (user_id)
             join public."LiteLLM_TeamTable" t using (team_id)
             left join entraway.litellm_team_members given using (user_id, team_id)
             left join roster using (user_id, team_id)
             left join listed using (user_id, team_id)
        where roster.user_id is not null or listed.user_id is not null
    ), organization_member as (
        select 'organization', m.organization_id, o.organization_alias, known.object_id,
               given.user_id is not null, coalesce(m.user_role = 'org_admin', false), '{}'::text[],
               coalesce(user_teams.teams, '{}')
        from public."LiteLLM_OrganizationMembership" m join known using (user_id)
             join public."LiteLLM_OrganizationTable" o using (organization_id)
             left join entraway.litellm_organization_members given
                 on given.user_id = m.user_id and given.organization_id = m.organization_id
                    and given.row_created_at is not distinct from m.created_at
             left join user_teams on user_teams.user_id = m.user_id and user_teams.organization_id = m.organization_id
        where given.user_id is not null or m.user_role = 'org_admin'
    )
    "#,
    by_target!()
);

#[derive(sqlx::FromRow)]
struct Row {
    /// `user`, `team` or `organization`.
    kind: String,
    /// ID of the tenant, team or organization.
    target_id: String,
    target_name: Option<String>,
    users: Option<Json<Vec<UserRow>>>,
    members: Option<Json<Vec<MemberRow>>>,
}

/// Object ID and name.
#[derive(Deserialize)]
struct UserRow(ObjectId, Option<String>);

#[derive(Deserialize)]
struct MemberRow {
    user: ObjectId,
    managed: bool,
    is_admin: bool,
    sources: Vec<String>,
    teams: Vec<String>,
}

impl Db {
    /// The managed memberships of all users, with the administrators of their teams and organizations.
    pub async fn managed_memberships(&self, keys: KeysOnRemoval) -> Result<StoredMemberships, DbError> {
        let mut connection = self.connection().await?;
        let (sql, missing_privileges) = match self.kind {
            StoreKind::Native => (NATIVE, Vec::new()),
            StoreKind::LiteLlm => (LITELLM, missing_removal_privileges(&mut connection, keys).await?),
        };
        let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(&mut *connection).await?;
        Ok(collect(rows, missing_privileges))
    }

    /// Whether a user with this object ID has signed in.
    pub async fn has_user(&self, user: ObjectId) -> Result<bool, DbError> {
        let sql = self.over_relations("select exists (select from identities where object_id = $1)");
        Ok(sqlx::query_scalar(sql).bind(user.to_string()).fetch_one(&mut *self.connection().await?).await?)
    }

    /// Whether there is a team or organization with this ID.
    pub async fn has_team_or_organization(&self, id: &str) -> Result<bool, DbError> {
        let sql = self.over_relations(
            "select exists (select from teams where team_id in ($1, lower($1)))
                 or exists (select from organizations where organization_id in ($1, lower($1)))",
        );
        Ok(sqlx::query_scalar(sql).bind(id).fetch_one(&mut *self.connection().await?).await?)
    }
}

fn collect(rows: Vec<Row>, missing_privileges: Vec<String>) -> StoredMemberships {
    let mut stored = StoredMemberships { missing_privileges, ..StoredMemberships::default() };
    for row in rows {
        let (admins, members) = split(row.members);
        match row.kind.as_str() {
            "team" => {
                stored.teams.insert(row.target_id, StoredTeam { name: row.target_name, admins, members });
            }
            "organization" => {
                let organization = StoredOrganization { name: row.target_name, admins, members };
                stored.organizations.insert(row.target_id, organization);
            }
            _ => {
                let Ok(tenant_id) = row.target_id.parse::<TenantId>() else { continue };
                let users = row.users.into_iter().flat_map(|Json(users)| users);
                stored.users.extend(users.map(|UserRow(object_id, name)| {
                    // A plan shows names, but no e-mail addresses.
                    let name = name.filter(|name| !name.contains('@'));
                    (object_id, StoredUser { identity: Identity { tenant_id, object_id }, name })
                }));
            }
        }
    }
    stored
}

/// The administrators, and the managed members.
fn split(rows: Option<Json<Vec<MemberRow>>>) -> (BTreeSet<ObjectId>, Vec<StoredMember>) {
    let mut admins = BTreeSet::new();
    let mut members = Vec::new();
    for MemberRow { user, managed, is_admin, sources, teams } in rows.into_iter().flat_map(|Json(rows)| rows) {
        if is_admin {
            admins.insert(user);
        }
        if managed {
            members.push(StoredMember { user, is_admin, sources, teams });
        }
    }
    (admins, members)
}
