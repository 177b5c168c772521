//! How long a session lasts.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::World;

#[tokio::test]
async fn a_session_that_nobody_uses_ends() {
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
    assert!(!used.get(service.at("/")).await.body.contains("Alice"), "and shows nobody");
}

#[tokio::test]
async fn a_session_ends_however_much_it_is_used() {
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
async fn the_idle_clock_is_written_once_a_minute_at_most() {
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
async fn what_is_over_is_purged_and_nothing_else() {
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
async fn a_session_in_constant_use_lives_also_where_the_idle_timeout_is_short() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.session.idle_timeout = std::time::Duration::from_mins(1)).await;
    let mut browser = world.sign_in(&service, alice).await;
    for twenty_seconds in 1..10 {
        world.clock.advance(chrono::TimeDelta::seconds(20));
        assert_eq!(browser.me(&service).await.status, 200, "after {twenty_seconds} times twenty seconds");
    }
}
