//! Helpers: reads the proxy's tables, changes them by hand, and sets up users and groups.

use chrono::{DateTime, NaiveDateTime, Utc};
use entra_simulator::{ObjectId, User};
use entraway::domain::StoreKind;
use serde_json::Value;
use sqlx::AssertSqlSafe;

pub(crate) use crate::support::scene::{assigned, person, until_it_waits};
use crate::support::{Service, World};

pub(crate) const ORGANIZATION: &str = "LiteLLM_OrganizationTable";
pub(crate) const BUDGET: &str = "LiteLLM_BudgetTable";
pub(crate) const TEAM: &str = "LiteLLM_TeamTable";
pub(crate) const USER: &str = "LiteLLM_UserTable";
pub(crate) const ORGANIZATION_MEMBER: &str = "LiteLLM_OrganizationMembership";
pub(crate) const TEAM_MEMBER: &str = "LiteLLM_TeamMembership";

/// The proxy's tables that a sign-in may write.
pub(crate) const WRITTEN: [&str; 6] = [BUDGET, ORGANIZATION, TEAM, USER, ORGANIZATION_MEMBER, TEAM_MEMBER];

/// A prepared proxy database and an empty tenant.
pub(crate) async fn world() -> World {
    World::of(StoreKind::LiteLlm).await
}

/// An instance with `entra_groups_also_create_orgs` on or off, and no other settings.
pub(crate) async fn plain(world: &World, on: bool) -> Service {
    world.service_of(world.config_of(&format!("  entra_groups_also_create_orgs: {on}\n"))).await
}

/// An instance with `default_team_params`.
pub(crate) async fn with_team_params(world: &World, on: bool, params: &str) -> Service {
    let settings = format!("  entra_groups_also_create_orgs: {on}\n  default_team_params: {{{params}}}\n");
    world.service_of(world.config_of(&settings)).await
}

/// Changes a user in Entra.
pub(crate) fn change(world: &World, person: ObjectId, change: impl FnOnce(&mut User)) {
    world.simulator.edit(|directory| directory.change_person(person, change)).unwrap();
}

/// Sets the app roles that are assigned directly to the user.
pub(crate) fn give_roles(world: &World, person: ObjectId, roles: &[&str]) {
    change(world, person, |person| person.app_roles = roles.iter().copied().map(str::to_owned).collect());
}

/// The address of `person("Alice Arden", …)`.
pub(crate) const ALICE: &str = "alice.arden@contoso-sim.example";

/// Runs a statement as an operator would with psql. `$1` and so on are text. It must change something.
pub(crate) async fn by_hand(world: &World, sql: &str, values: &[&dyn ToString]) {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    for value in values {
        query = query.bind(value.to_string());
    }
    let done = query.execute(&world.pool).await.unwrap_or_else(|error| panic!("{error} in {sql}"));
    assert_ne!(done.rows_affected(), 0, "the setup statement changed nothing: {sql}");
}

/// Runs a DDL statement.
pub(crate) async fn define(world: &World, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&world.pool).await;
    done.unwrap_or_else(|error| panic!("{error} in {sql}"));
}

/// A team created by hand, like the proxy's, with additional columns such as `, metadata` and `, '{"a": 1}'`.
pub(crate) async fn team_by_hand(world: &World, id: &dyn ToString, columns: &str, values: &str) {
    let sql = format!(
        r#"insert into public."LiteLLM_TeamTable" (team_id, team_alias, members_with_roles, updated_at{columns})
           values ($1, 'By hand', '[]', '2026-01-01'{values})"#
    );
    by_hand(world, &sql, &[id]).await;
}

/// A user's row created by hand, with or without an address.
pub(crate) async fn user_by_hand(world: &World, user_id: &dyn ToString, columns: &str, values: &str) {
    let sql = format!(
        r#"insert into public."LiteLLM_UserTable" (user_id, updated_at{columns}) values ($1, '2026-01-01'{values})"#
    );
    by_hand(world, &sql, &[user_id]).await;
}

/// Runs a query that returns one JSON value.
pub(crate) async fn json(world: &World, sql: &str, values: &[&dyn ToString]) -> Value {
    let mut query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
    for value in values {
        query = query.bind(value.to_string());
    }
    let value: Option<Value> =
        query.fetch_one(&world.pool).await.unwrap_or_else(|error| panic!("{error} in {sql} for {}", ids(values)));
    value.unwrap_or_default()
}

fn ids(values: &[&dyn ToString]) -> String {
    values.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}

/// All rows of a table, sorted by their text.
pub(crate) async fn all(world: &World, table: &str) -> Vec<Value> {
    let sql = format!(r#"select jsonb_agg(to_jsonb(t) order by to_jsonb(t)::text) from public."{table}" t"#);
    json(world, &sql, &[]).await.as_array().cloned().unwrap_or_default()
}

pub(crate) async fn team(world: &World, id: &dyn ToString) -> Value {
    json(world, r#"select to_jsonb(t) from public."LiteLLM_TeamTable" t where team_id = $1"#, &[id]).await
}

pub(crate) async fn user(world: &World, id: &dyn ToString) -> Value {
    json(world, r#"select to_jsonb(t) from public."LiteLLM_UserTable" t where user_id = $1"#, &[id]).await
}

/// The three columns of a team membership: how often the user is on the roster, in their own list, and in the table.
pub(crate) async fn places(world: &World, user_id: &dyn ToString, team_id: &dyn ToString) -> [i64; 3] {
    let sql = r#"select jsonb_build_array(
            (select count(*) from public."LiteLLM_TeamTable" t, jsonb_array_elements(t.members_with_roles) member
             where t.team_id = $2 and member ->> 'user_id' = $1),
            (select count(*) from public."LiteLLM_UserTable" u, unnest(u.teams) team
             where u.user_id = $1 and team = $2),
            (select count(*) from public."LiteLLM_TeamMembership" where user_id = $1 and team_id = $2))"#;
    serde_json::from_value(json(world, sql, &[user_id, team_id]).await).unwrap()
}

/// Location and version of each row of a table. Any write changes them, even one of the same values.
pub(crate) async fn versions(world: &World, tables: &[&str]) -> Vec<String> {
    let mut versions = Vec::new();
    for table in tables {
        let sql = format!(r#"select jsonb_agg(t.ctid || ' ' || t.xmin order by t.ctid) from public."{table}" t"#);
        versions.push(format!("{table} {}", json(world, &sql, &[]).await));
    }
    versions
}

/// Location and version of a user's row.
pub(crate) async fn user_version(world: &World, user_id: &dyn ToString) -> Value {
    let sql = r#"select to_jsonb(ctid || ' ' || xmin) from public."LiteLLM_UserTable" where user_id = $1"#;
    json(world, sql, &[user_id]).await
}

/// The failures of the newest sync record as `kind/alias/why`.
pub(crate) async fn failures(world: &World) -> Vec<String> {
    let run = world.last_run().await;
    let text = |failure: &Value, key: &str| failure[key].as_str().unwrap().to_owned();
    let each = |failure| ["kind", "alias", "why"].map(|key| text(failure, key)).join("/");
    run["failures"].as_array().unwrap().iter().map(each).collect()
}

/// Removes a timestamp from a row and returns it. The proxy's columns have no time zone and hold UTC.
#[track_caller]
pub(crate) fn take_time(row: &mut Value, column: &str) -> DateTime<Utc> {
    let taken =
        row.as_object_mut().and_then(|row| row.remove(column)).unwrap_or_else(|| panic!("no {column} in {row}"));
    let text = taken.as_str().unwrap_or_else(|| panic!("{column} is {taken}, which is not a timestamp, in {row}"));
    text.parse::<NaiveDateTime>().unwrap_or_else(|error| panic!("{column} is {taken}: {error}")).and_utc()
}

/// Removes a text from a row, such as a random ID.
#[track_caller]
pub(crate) fn take_text(row: &mut Value, column: &str) -> String {
    let taken =
        row.as_object_mut().and_then(|row| row.remove(column)).unwrap_or_else(|| panic!("no {column} in {row}"));
    taken.as_str().unwrap_or_else(|| panic!("{column} is {taken}, which is not text, in {row}")).to_owned()
}
