//! A `LiteLLM` proxy goes on in the database that the service writes to: it adds and deletes members, flushes what was
//! spent, edits rows. Nothing of either side may be lost, and neither may stop the other.

mod proxy;
mod races;
mod storm;

use std::collections::BTreeMap;

use entra_simulator::GroupId;
use serde_json::Value;

use crate::support::World;
use crate::support::scene::{many_assigned, person};

/// Who is in which team, as `team / user`, by each of the three places where the proxy looks; sorted, and whoever is
/// there twice is listed twice.
#[derive(Debug, PartialEq, Eq)]
struct Memberships {
    /// The team's `members_with_roles`.
    rosters: Vec<String>,
    /// The user's `teams`.
    users: Vec<String>,
    /// The table of memberships.
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

    /// The same in all three places.
    fn everywhere(mut list: Vec<String>) -> Self {
        list.sort();
        Self { rosters: list.clone(), users: list.clone(), rows: list }
    }
}

/// `team / user` for each of these teams.
fn in_teams(user: &dyn ToString, teams: &[GroupId]) -> Vec<String> {
    teams.iter().map(|team| format!("{team}/{}", user.to_string())).collect()
}

/// The sync records' `retries`, added up.
async fn retries(world: &World) -> i64 {
    sqlx::query_scalar("select coalesce(sum(retries), 0) from entraway.sync_runs").fetch_one(&world.pool).await.unwrap()
}

/// The rows of one of the proxy's tables by their key, whole.
async fn rows(world: &World, sql: &'static str) -> BTreeMap<String, Value> {
    let rows: Vec<(String, Value)> = sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap();
    rows.into_iter().collect()
}
