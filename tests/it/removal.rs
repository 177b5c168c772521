//! Memberships end when the user leaves the group that gave them, and only those (`sync.memberships: follow`).

mod events;
mod guards;
mod keys;
mod organizations;
mod sources;
mod teams;

use entra_simulator::{GroupId, ObjectId};
use serde_json::Value;
use sqlx::AssertSqlSafe;

pub(crate) use crate::support::scene::{assigned, person};
use crate::support::{StoreKind, World};

/// A prepared store in which memberships can be removed.
async fn world(store: StoreKind) -> World {
    let world = World::of(store).await;
    world.grant_removal().await;
    world
}

/// Removes the user from a group in Entra.
fn leave(world: &World, user: ObjectId, group: GroupId) {
    world.simulator.edit(|directory| directory.take_out(user, group));
}

/// Adds the user to a group in Entra.
fn enter(world: &World, user: ObjectId, group: GroupId) {
    world.simulator.edit(|directory| directory.put(user, group));
}

/// Runs a query that returns one JSON value.
async fn json(world: &World, sql: &str) -> Value {
    let value: Option<Value> = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&world.pool).await.unwrap();
    value.unwrap_or_default()
}

/// The places in which a LiteLLM database has a membership: roster, own list, membership table.
async fn places(world: &World, user: ObjectId, team: GroupId) -> Value {
    let sql = format!(
        r#"select jsonb_build_array(
             (select count(*) from public."LiteLLM_TeamTable"
              where team_id = '{team}' and members_with_roles @> '[{{"user_id": "{user}"}}]'),
             (select count(*) from public."LiteLLM_UserTable" where user_id = '{user}' and '{team}' = any(teams)),
             (select count(*) from public."LiteLLM_TeamMembership" where user_id = '{user}' and team_id = '{team}'))"#
    );
    json(world, &sql).await
}
