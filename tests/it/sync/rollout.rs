//! Two versions of the service with one database, as during a rollout or after a rollback: the older one still works
//! and starts.

use std::time::Duration;

use entraway::http::App;
use rstest::rstest;
use serde_json::json;

use super::support::{assigned, ids, person};
use crate::support::{LiteLlm, Native, StoreKind, World};

/// The statement that versions before the store `litellm` use to insert rows.
#[rstest]
#[tokio::test]
async fn older_version_can_still_insert_rows(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (table, rows) = match store {
        Native => ("entraway.teams", json!([{ "team_id": "a", "team_alias": "A" }])),
        LiteLlm => (
            r#"public."LiteLLM_TeamTable""#,
            json!([{ "team_id": "a", "team_alias": "A", "members_with_roles": [], "updated_at": "2026-01-01T00:00:00Z" }]),
        ),
    };
    let made: Vec<(String, Option<String>)> =
        sqlx::query_as("select key, refused from entraway.insert_rows($1::text::regclass, $2, $3)")
            .bind(table)
            .bind("team_id")
            .bind(rows)
            .fetch_all(&world.pool)
            .await
            .expect("the migrations have to leave insert_rows callable with three arguments");
    assert_eq!(made, [("a".to_owned(), None)], "the key of each row, and why it was rejected");
    assert_eq!(world.rows().await.teams["a"]["team_alias"], "A");
}

#[rstest]
#[tokio::test]
async fn service_starts_on_database_migrated_by_newer_version(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let sql = "insert into entraway._sqlx_migrations (version, description, success, checksum, execution_time)
               values (29991231000001, 'of a newer version', true, '\\x00', 1)";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    let started = App::build(world.config(), world.clock.clone(), Duration::from_secs(3)).await;
    assert!(started.is_ok(), "src/db/migrations.rs, set_ignore_missing: {:?}", started.err());
    world.sign_in(&world.service().await, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), ids(&[group]));
}
