//! Limits on the sign-ins and sync records of one user.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use entraway::config::Config;
use rstest::rstest;
use sqlx::AssertSqlSafe;

use crate::errors::shown;
use crate::support::scene::person;
use crate::support::{Browser, LiteLlm, Native, StoreKind, World};

fn three_a_minute(config: &mut Config) {
    config.limits.sign_ins_per_user = NonZeroU32::new(3);
}

#[rstest]
#[tokio::test]
async fn completed_signins_per_user_are_limited(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, bob) = (person(&world, "Alice Arden", &[]), person(&world, "Bob Birch", &[]));
    let service = world.service_with(three_a_minute).await;
    for _ in 0..3 {
        world.sign_in(&service, alice).await;
    }
    let before = world.traces().await;
    let page = shown(&world, (429, "too_many_sign_ins_of_user"), async || {
        let mut browser = Browser::new();
        let entra = browser.begin(&service).await;
        let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
        (browser, callback)
    });
    let page = page.await;
    let seconds: i64 = page.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&seconds), "at most 20 seconds, not {seconds} s");
    assert_eq!(world.traces().await, before, "neither a session nor a record");
    world.sign_in(&service, bob).await;
    world.clock.advance(TimeDelta::seconds(seconds));
    world.sign_in(&service, alice).await;
    assert_eq!(world.try_sign_in(&service, alice).await.status, 429, "one more is allowed, not all");
}

#[rstest]
#[tokio::test]
async fn expiry_job_keeps_newest_500_sync_records_per_user(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, bob) = (person(&world, "Alice Arden", &[]), person(&world, "Bob Birch", &[]));
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;
    let more = async |user: &str, count: i64| {
        let sql = format!(
            "insert into entraway.sync_runs select later.*
             from entraway.sync_runs run, generate_series(1, {count}) n, jsonb_populate_record(run, jsonb_build_object(
                 'run_id', gen_random_uuid(), 'started_at', run.started_at - n * interval '1 second')) later
             where run.user_id = '{user}'"
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
    };
    more(&alice.to_string(), 700).await;
    more(&bob.to_string(), 499).await;
    service.app.delete_expired().await.unwrap();
    let kept: Vec<(String, i64, f64)> = sqlx::query_as(
        "select user_id, count(*), extract(epoch from max(started_at) - min(started_at))::float8
         from entraway.sync_runs group by user_id",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert_eq!(kept.len(), 2, "{kept:?}");
    for (user, count, seconds) in kept {
        assert_eq!((count, seconds), (500, 499.0), "the newest of {user}");
    }
}
