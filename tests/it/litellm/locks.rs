//! A concurrent proxy: a sign-in waits for its locks and keeps what it wrote meanwhile.

use entra_simulator::GroupId;
use serde_json::json;
use sqlx::{PgConnection, Postgres, Transaction};

use super::support::{
    ALICE, assigned, define, failures, person, places, plain, team, team_by_hand, until_it_waits, user, user_by_hand,
    world,
};
use crate::support::World;

/// A proxy's transaction that adds a member, up to its first statement, which locks the team.
async fn proxy_begins(world: &World, group: GroupId) -> Transaction<'static, Postgres> {
    let mut transaction = world.pool.begin().await.unwrap();
    step(&mut transaction, "select pg_advisory_xact_lock(hashtext($1))", &[&group]).await;
    transaction
}

async fn step(connection: &mut PgConnection, sql: &'static str, values: &[&dyn ToString]) {
    let mut query = sqlx::query(sql);
    for value in values {
        query = query.bind(value.to_string());
    }
    query.execute(connection).await.unwrap();
}

#[tokio::test]
async fn member_added_concurrently_by_proxy_stays_on_roster() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    team_by_hand(&world, &group, "", "").await;
    user_by_hand(&world, &"bob", "", "").await;
    let service = plain(&world, false).await;

    let mut proxy = proxy_begins(&world, group).await;
    // The proxy has read the roster, and writes all of it at the end.
    let (_, ()) = tokio::join!(world.sign_in(&service, alice), async {
        until_it_waits(&world).await;
        let bob = json!([{ "user_id": "bob", "user_email": null, "role": "admin" }]);
        let sql = r#"update public."LiteLLM_TeamTable" set members_with_roles = $2::jsonb where team_id = $1"#;
        step(&mut proxy, sql, &[&group, &bob]).await;
        proxy.commit().await.unwrap();
    });
    assert_eq!(
        team(&world, &group).await["members_with_roles"],
        json!([
            { "user_id": "bob", "user_email": null, "role": "admin" },
            { "user_id": alice, "user_email": ALICE, "role": "user" },
        ])
    );
    assert_eq!(world.last_run().await["retries"], 0, "it waited for the lock and lost no race");
}

#[tokio::test]
async fn user_added_concurrently_by_proxy_is_in_team_once() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    team_by_hand(&world, &group, "", "").await;
    let service = plain(&world, false).await;

    let mut proxy = proxy_begins(&world, group).await;
    let (_, ()) = tokio::join!(world.sign_in(&service, alice), async {
        until_it_waits(&world).await;
        let sql = r#"insert into public."LiteLLM_UserTable" (user_id, teams, updated_at)
                     values ($1, array[$2], '2026-01-01')"#;
        step(&mut proxy, sql, &[&alice, &group]).await;
        let sql = r#"insert into public."LiteLLM_TeamMembership" (user_id, team_id) values ($1, $2)"#;
        step(&mut proxy, sql, &[&alice, &group]).await;
        let roster = json!([{ "user_id": alice, "user_email": null, "role": "user" }]);
        let sql = r#"update public."LiteLLM_TeamTable" set members_with_roles = $2::jsonb where team_id = $1"#;
        step(&mut proxy, sql, &[&group, &roster]).await;
        proxy.commit().await.unwrap();
    });
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    assert_eq!(user(&world, &alice).await["user_email"], ALICE, "her row is taken over");
    assert_eq!(failures(&world).await, [""; 0]);
}

/// Also for a row that the proxy created, which names the user in `sso_user_id`.
#[tokio::test]
async fn concurrent_proxy_spend_is_not_lost() {
    for own_key in [true, false] {
        let world = world().await;
        let [group] = assigned(&world, ["Evals"]);
        let alice = person(&world, "Alice Arden", &[group]);
        let key = if own_key { alice.to_string() } else { "of-the-proxy".to_owned() };
        user_by_hand(&world, &key, ", sso_user_id", &format!(", '{alice}'")).await;
        team_by_hand(&world, &group, "", "").await;
        let service = plain(&world, false).await;

        let mut proxy = world.pool.begin().await.unwrap();
        let sql = r#"update public."LiteLLM_UserTable" set spend = spend + 5 where user_id = $1"#;
        step(&mut proxy, sql, &[&key]).await;
        let (_, ()) = tokio::join!(world.sign_in(&service, alice), async {
            until_it_waits(&world).await;
            let sql = r#"update public."LiteLLM_TeamTable" set spend = spend + 7 where team_id = $1"#;
            step(&mut proxy, sql, &[&group]).await;
            proxy.commit().await.unwrap();
        });
        assert_eq!(user(&world, &key).await["spend"], 5, "of {key}");
        assert_eq!(team(&world, &group).await["spend"], 7);
        assert_eq!(places(&world, &key, &group).await, [1, 1, 1]);
        assert_eq!(
            world.last_run().await["retries"],
            0,
            "the row of {key} is locked before a team's is, and there is no deadlock: src/db/litellm.rs, lock"
        );
    }
}

/// Rows are locked in byte order, independent of the database's collation. In English, `~` sorts first.
#[tokio::test]
async fn user_rows_are_locked_in_bytewise_key_order() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    team_by_hand(&world, &group, "", "").await;
    define(&world, r#"alter table public."LiteLLM_UserTable" alter user_id type text collate "en-x-icu""#).await;
    // The higher key is also the first row of the table.
    user_by_hand(&world, &"~ of the proxy", ", sso_user_id", &format!(", '{alice}'")).await;
    user_by_hand(&world, &alice, "", "").await;
    let service = plain(&world, false).await;

    let spend = r#"update public."LiteLLM_UserTable" set spend = spend + 5 where user_id = $1"#;
    let mut proxy = world.pool.begin().await.unwrap();
    // Postgres must not cancel the proxy's transaction in a deadlock.
    step(&mut proxy, "set local deadlock_timeout = '1min'", &[]).await;
    step(&mut proxy, spend, &[&alice]).await;
    let (_, ()) = tokio::join!(world.sign_in(&service, alice), async {
        until_it_waits(&world).await;
        step(&mut proxy, spend, &[&"~ of the proxy"]).await;
        proxy.commit().await.unwrap();
    });
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    for key in [&alice as &dyn ToString, &"~ of the proxy"] {
        assert_eq!(user(&world, key).await["spend"], 5, "of {}", key.to_string());
    }
    assert_eq!(
        world.last_run().await["retries"],
        0,
        "the sign-in held the higher row while it waited for the lower, which is a deadlock: src/db/litellm.rs, lock"
    );
}

#[tokio::test]
async fn only_joins_of_over_100_teams_are_serialized() {
    let world = world().await;
    let groups: Vec<GroupId> = (0..34).flat_map(|_| assigned(&world, ["One", "Two", "Three"])).collect();
    let alice = person(&world, "Alice Arden", &groups);
    let bob = person(&world, "Bob Birch", &groups[..100]);
    let service = plain(&world, false).await;

    let mut other = world.pool.begin().await.unwrap();
    step(&mut other, "select pg_advisory_xact_lock(hashtext('entraway.many'), 0)", &[]).await;
    world.sign_in(&service, bob).await;
    let (_, ()) = tokio::join!(world.sign_in(&service, alice), async {
        until_it_waits(&world).await;
        other.commit().await.unwrap();
    });
    for (person, joined) in [(alice, 102), (bob, 100)] {
        assert_eq!(user(&world, &person).await["teams"].as_array().map(Vec::len), Some(joined));
    }
}
