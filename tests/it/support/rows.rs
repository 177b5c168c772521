//! What the store holds, row by row.

use std::collections::BTreeMap;

use entraway::domain::ObjectId;
use serde_json::Value;
use sqlx::PgPool;

/// The rows of all tables that a sync writes, without what differs from run to run (times).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rows {
    pub(crate) organizations: BTreeMap<String, Value>,
    pub(crate) teams: BTreeMap<String, Value>,
    pub(crate) users: BTreeMap<String, Value>,
    /// By `user id / organization id`.
    pub(crate) organization_members: BTreeMap<String, Value>,
    /// By `user id / team id`.
    pub(crate) team_members: BTreeMap<String, Value>,
}

impl Rows {
    pub(crate) async fn read(pool: &PgPool) -> Self {
        let (organizations, teams, users, organization_members, team_members): (Value, Value, Value, Value, Value) =
            sqlx::query_as(
                "select
                (select coalesce(jsonb_object_agg(organization_id, to_jsonb(t) - 'created_at' - 'updated_at'), '{}') from entraway.organizations t),
                (select coalesce(jsonb_object_agg(team_id, to_jsonb(t) - 'created_at' - 'updated_at'), '{}') from entraway.teams t),
                (select coalesce(jsonb_object_agg(user_id, to_jsonb(t) - 'created_at' - 'updated_at'), '{}') from entraway.users t),
                (select coalesce(jsonb_object_agg(user_id || '/' || organization_id, to_jsonb(t) - 'created_at' - 'updated_at'), '{}')
                    from entraway.organization_members t),
                (select coalesce(jsonb_object_agg(user_id || '/' || team_id, to_jsonb(t) - 'created_at'), '{}') from entraway.team_members t)",
            )
            .fetch_one(pool)
            .await
            .unwrap();
        let map = |value: Value| serde_json::from_value(value).unwrap();
        Self {
            organizations: map(organizations),
            teams: map(teams),
            users: map(users),
            organization_members: map(organization_members),
            team_members: map(team_members),
        }
    }

    /// Every row's place and version: any insert, update or delete changes it, also one that writes the same values.
    pub(crate) async fn versions(pool: &PgPool) -> Vec<String> {
        sqlx::query_scalar(
            "select 'organization ' || organization_id || ' ' || ctid || ' ' || xmin from entraway.organizations
             union all select 'team ' || team_id || ' ' || ctid || ' ' || xmin from entraway.teams
             union all select 'user ' || user_id || ' ' || ctid || ' ' || xmin from entraway.users
             union all select 'organization member ' || user_id || organization_id || ' ' || ctid || ' ' || xmin
                       from entraway.organization_members
             union all select 'team member ' || user_id || team_id || ' ' || ctid || ' ' || xmin from entraway.team_members
             order by 1",
        )
        .fetch_all(pool)
        .await
        .unwrap()
    }

    /// The ids of the teams that a person is in.
    pub(crate) fn teams_of(&self, user: ObjectId) -> Vec<String> {
        members_of(&self.team_members, &user.to_string())
    }

    /// The ids of the organizations that a person is in.
    pub(crate) fn organizations_of(&self, user: ObjectId) -> Vec<String> {
        members_of(&self.organization_members, &user.to_string())
    }
}

fn members_of(rows: &BTreeMap<String, Value>, user: &str) -> Vec<String> {
    rows.keys()
        .filter_map(|key| key.split_once('/'))
        .filter(|(id, _)| *id == user)
        .map(|(_, id)| id.to_owned())
        .collect()
}
