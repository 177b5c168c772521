//! `/healthz` and `/readyz`: liveness, and readiness with only the state of each dependency.

use std::time::Duration;

use chrono::TimeDelta;
use entra_simulator::{Endpoint, Fault, FaultRule};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World};

/// Requests `/readyz` after the last result expired; returns the status and the body.
async fn ready(world: &World, service: &Service) -> (u16, Value) {
    world.clock.advance(TimeDelta::seconds(1));
    ask(service).await
}

async fn ask(service: &Service) -> (u16, Value) {
    let answer = Browser::new().get(service.at("/readyz")).await;
    assert_eq!(answer.headers["content-type"], "application/json", "{answer:#?}");
    (answer.status.as_u16(), answer.json())
}

/// The response with these states.
fn states(postgres: &str, entra: &str) -> (u16, Value) {
    let ready = (postgres, entra) == ("ok", "ok");
    (if ready { 200 } else { 503 }, json!({ "ready": ready, "postgres": postgres, "entra": entra }))
}

async fn is_alive(service: &Service) {
    let answer = Browser::new().get(service.at("/healthz")).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "status": "alive" })));
}

#[rstest]
#[tokio::test]
async fn readyz_reports_states_without_details(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    is_alive(&service).await;
    assert_eq!(ask(&service).await, states("ok", "ok"));
}

#[rstest]
#[tokio::test]
async fn database_outage_fails_readyz_and_not_healthz(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    assert_eq!(ask(&service).await, states("ok", "ok"));
    world.database_goes_away().await;
    is_alive(&service).await;
    assert_eq!(ready(&world, &service).await, states("failing", "ok"));
    world.database_comes_back().await;
    assert_eq!(ready(&world, &service).await, states("ok", "ok"), "it recovers");
}

#[rstest]
#[tokio::test]
async fn readyz_fails_without_the_schema(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    world.sql("drop schema entraway cascade").await;
    assert_eq!(ask(&service).await, states("failing", "ok"));
}

#[tokio::test]
async fn missing_entra_keys_fail_readyz_and_not_healthz() {
    let world = World::new().await;
    for (endpoint, fault) in [
        (Endpoint::Keys, Fault::status(503)),
        (Endpoint::Keys, Fault::Html),
        (Endpoint::Discovery, Fault::status(404)),
        (Endpoint::Discovery, Fault::CutBody),
    ] {
        let service = world.service().await;
        world.simulator.fault(FaultRule::on(endpoint, fault.clone()));
        is_alive(&service).await;
        assert_eq!(ready(&world, &service).await, states("ok", "failing"), "{endpoint:?} with {fault:?}");
        world.simulator.clear_faults();
        assert_eq!(ready(&world, &service).await, states("ok", "ok"), "it recovers");
    }
}

#[tokio::test]
async fn readyz_reuses_cached_keys() {
    let world = World::new().await;
    let service = world.service().await;
    for _ in 0..10 {
        assert_eq!(ask(&service).await.0, 200);
        world.clock.advance(TimeDelta::minutes(1));
    }
    assert_eq!(world.simulator.requests().len(), 2, "one discovery document, one key set");
    world.simulator.stop();
    world.clock.advance(TimeDelta::hours(25));
    let begin = std::time::Instant::now();
    assert_eq!(ask(&service).await.0, 200, "yesterday's keys still verify");
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
}

#[rstest]
#[tokio::test]
async fn readyz_queries_the_database_at_most_once_a_second(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    ask(&service).await;
    world.statements().await;
    let statements = async || world.statements().await.iter().map(|(_, calls)| calls).sum::<i64>();
    for _ in 0..20 {
        assert_eq!(ask(&service).await, states("ok", "ok"));
    }
    assert_eq!(statements().await, 0, "twenty requests within a second share the last result");
    world.clock.advance(TimeDelta::seconds(1));
    let asked = crate::support::join_all((0..40).map(|_| ask(&service))).await;
    assert!(asked.iter().all(|answer| *answer == states("ok", "ok")), "{asked:?}");
    assert!((1..=3).contains(&statements().await), "forty requests at once share one check");
}

/// Every connection of the pool waits for a lock.
#[tokio::test]
async fn readyz_succeeds_while_the_pool_is_exhausted() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.database.max_connections = 1).await;
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table entraway.used_attempts in access exclusive mode").execute(&mut *lock).await.unwrap();
    let signing_in = tokio::spawn(async move { browser.get(callback).await.status });
    crate::support::scene::until_it_waits(&world).await;
    for _ in 0..3 {
        let begin = std::time::Instant::now();
        assert_eq!(ready(&world, &service).await, states("ok", "ok"), "a busy pool is no failure");
        assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());
    }
    lock.rollback().await.unwrap();
    assert_eq!(signing_in.await.unwrap(), 303);
}
