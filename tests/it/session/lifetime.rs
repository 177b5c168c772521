//! How long a session lasts.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::World;

#[tokio::test]
async fn session_ends_after_idle_timeout() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.session.idle_timeout = Duration::from_hours(2)).await;
    let mut used = world.sign_in(&service, alice).await;
    let mut unused = world.sign_in(&service, alice).await;
    for _ in 0..3 {
        world.clock.advance(TimeDelta::minutes(110));
        assert_eq!(used.me(&service).await.status, 200, "each use is a new beginning");
    }
    assert_eq!(unused.me(&service).await.status, 401, "after five hours and a half without use");
    world.clock.advance(TimeDelta::minutes(121));
    assert_eq!(used.me(&service).await.status, 401, "after two hours without use");
    assert_eq!(used.get(service.at("/")).await.status, 200, "the front page is the way in again");
    assert!(!used.get(service.at("/")).await.body.contains("Alice"), "and shows no user");
}

#[tokio::test]
async fn session_ends_at_maximum_lifetime() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    for hours in [6, 6, 6, 5] {
        world.clock.advance(TimeDelta::hours(hours));
        assert_eq!(browser.me(&service).await.status, 200, "within 24 hours");
    }
    world.clock.advance(TimeDelta::minutes(61));
    assert_eq!(browser.me(&service).await.status, 401, "after 24 hours");
}

async fn last_seen(world: &World) -> (DateTime<Utc>, String) {
    sqlx::query_as("select last_seen_at, ctid::text from entraway.sessions").fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn last_seen_is_written_at_most_once_a_minute() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let mut seen = last_seen(&world).await;
    for _ in 0..3 {
        for _ in 0..4 {
            world.clock.advance(TimeDelta::seconds(10));
            assert_eq!(browser.me(&service).await.status, 200);
            assert_eq!(last_seen(&world).await, seen, "within a minute nothing is written");
        }
        world.clock.advance(TimeDelta::seconds(21));
        assert_eq!(browser.me(&service).await.status, 200);
        let now = last_seen(&world).await;
        assert!(now.0 - seen.0 > TimeDelta::minutes(1), "after a minute it is");
        seen = now;
    }
}

#[tokio::test]
async fn expiry_job_deletes_only_expired_rows() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    assert_eq!(service.app.delete_expired().await.unwrap(), 0, "nothing is over yet");
    world.clock.advance(TimeDelta::hours(7));
    let mut goes_on = world.sign_in(&service, alice).await;
    world.clock.advance(TimeDelta::hours(2));
    assert_eq!(service.app.delete_expired().await.unwrap(), 3, "the idle session and both attempts");
    assert_eq!(goes_on.me(&service).await.status, 200);
    assert_eq!(world.traces().await.sessions, 1);
}

#[tokio::test]
async fn sync_records_are_kept_for_ninety_days() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.clock.advance(TimeDelta::days(89));
    world.sign_in(&service, alice).await;
    service.app.delete_expired().await.unwrap();
    assert_eq!(world.traces().await.runs, 2, "neither is old enough");
    world.clock.advance(TimeDelta::days(2));
    service.app.delete_expired().await.unwrap();
    assert_eq!(world.traces().await.runs, 1, "the first is, the second is not");
}

#[tokio::test]
async fn used_session_survives_one_minute_idle_timeout() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.session.idle_timeout = std::time::Duration::from_mins(1)).await;
    let mut browser = world.sign_in(&service, alice).await;
    for twenty_seconds in 1..10 {
        world.clock.advance(chrono::TimeDelta::seconds(20));
        assert_eq!(browser.me(&service).await.status, 200, "after {twenty_seconds} times twenty seconds");
    }
}
