//! A LiteLLM proxy uses the service's database at the same time: it adds and deletes members, flushes spend and edits
//! rows. No write of either side may be lost, and neither may block the other.

mod proxy;
mod races;
mod reconciliation;
mod storm;

use std::collections::BTreeMap;

use entra_simulator::GroupId;
use serde_json::Value;

use crate::support::World;
use crate::support::scene::{many_assigned, person};

/// Memberships as `team/user` in each of LiteLLM's three places, sorted. Duplicates are kept.
#[derive(Debug, PartialEq, Eq)]
struct Memberships {
    /// `members_with_roles` of teams.
    rosters: Vec<String>,
    /// `teams` of users.
    users: Vec<String>,
    /// The membership table.
    rows: Vec<String>,
}

impl Memberships {
    async fn read(world: &World) -> Self {
        let (rosters, users, rows) = sqlx::query_as(
            r#"select
                (select coalesce(array_agg(team_id || '/' || (member ->> 'user_id')), '{}')
                 from public."LiteLLM_TeamTable",
                      jsonb_array_elements(case when jsonb_typeof(members_with_roles) = 'array'
                                                then members_with_roles else '[]' end) member),
                (select coalesce(array_agg(team || '/' || user_id), '{}')
                 from public."LiteLLM_UserTable", unnest(teams) team),
                (select coalesce(array_agg(team_id || '/' || user_id), '{}') from public."LiteLLM_TeamMembership")"#,
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        let [rosters, users, rows] = [rosters, users, rows].map(|mut list: Vec<String>| {
            list.sort();
            list
        });
        Self { rosters, users, rows }
    }

    /// The same memberships in all three places.
    fn everywhere(mut list: Vec<String>) -> Self {
        list.sort();
        Self { rosters: list.clone(), users: list.clone(), rows: list }
    }
}

/// `team/user` for each of these teams.
fn in_teams(user: &dyn ToString, teams: &[GroupId]) -> Vec<String> {
    teams.iter().map(|team| format!("{team}/{}", user.to_string())).collect()
}

/// Sum of `retries` over all sync records.
async fn retries(world: &World) -> i64 {
    sqlx::query_scalar("select coalesce(sum(retries), 0) from entraway.sync_runs").fetch_one(&world.pool).await.unwrap()
}

/// Complete rows of one of the proxy's tables, by key.
async fn rows(world: &World, sql: &'static str) -> BTreeMap<String, Value> {
    let rows: Vec<(String, Value)> = sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap();
    rows.into_iter().collect()
}
