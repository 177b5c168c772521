//! `/healthz` and `/readyz`: alive, and ready, with a reason for each part.

use std::time::Duration;

use chrono::TimeDelta;
use entraway::fake::{Endpoint, Fault, FaultRule};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Answer, Browser, LiteLlm, Native, Service, StoreKind, World};

async fn ready(service: &Service) -> Answer {
    let answer = Browser::new().get(service.at("/readyz")).await;
    assert_eq!(answer.headers["content-type"], "application/json", "{answer:#?}");
    answer
}

async fn is_alive(service: &Service) {
    let answer = Browser::new().get(service.at("/healthz")).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "status": "alive" })));
}

fn reason<'a>(body: &'a Value, part: &str) -> &'a str {
    body[part]["reason"].as_str().unwrap()
}

#[rstest]
#[tokio::test]
async fn a_service_that_has_all_it_needs_is_ready_and_says_why(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    is_alive(&service).await;
    let answer = ready(&service).await;
    let body = answer.json();
    assert_eq!(answer.status, 200, "{body:#}");
    assert_eq!(
        (&body["ready"], &body["postgres"]["ready"], &body["entra"]["ready"]),
        (&json!(true), &json!(true), &json!(true))
    );
    assert!(reason(&body, "postgres").contains("answers"), "{body:#}");
    assert!(reason(&body, "entra").contains("Entra's endpoints and 1 signing key are known"), "{body:#}");
}

#[rstest]
#[tokio::test]
async fn without_a_database_a_service_is_alive_and_not_ready(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    ready(&service).await;
    world.database_goes_away().await;
    is_alive(&service).await;
    let answer = ready(&service).await;
    let body = answer.json();
    assert_eq!(answer.status, 503, "{body:#}");
    assert_eq!(
        (&body["ready"], &body["postgres"]["ready"], &body["entra"]["ready"]),
        (&json!(false), &json!(false), &json!(true))
    );
    assert!(reason(&body, "postgres").contains("database"), "{body:#}");
    assert!(!answer.body.contains(&world.database_name), "the reason names nothing inside: {}", answer.body);
    world.database_comes_back().await;
    assert_eq!(ready(&service).await.status, 200, "it comes back by itself");
}

#[rstest]
#[tokio::test]
async fn a_database_without_our_tables_is_not_ready(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    world.sql("drop schema entraway cascade").await;
    let answer = ready(&service).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["postgres"]["ready"], false);
}

#[tokio::test]
async fn without_entras_keys_a_service_is_alive_and_not_ready() {
    let world = World::new().await;
    for (endpoint, fault, said) in [
        (Endpoint::Keys, Fault::status(503), "503"),
        (Endpoint::Keys, Fault::Html, "signing keys"),
        (Endpoint::Discovery, Fault::status(404), "404"),
        (Endpoint::Discovery, Fault::CutBody, "discovery document"),
    ] {
        let service = world.service().await;
        world.fake.fault(FaultRule::on(endpoint, fault.clone()));
        is_alive(&service).await;
        let answer = ready(&service).await;
        let body = answer.json();
        assert_eq!(answer.status, 503, "{endpoint:?} with {fault:?}: {body:#}");
        assert_eq!((&body["postgres"]["ready"], &body["entra"]["ready"]), (&json!(true), &json!(false)), "{body:#}");
        assert!(reason(&body, "entra").contains(said), "{endpoint:?} with {fault:?}: {body:#}");
        world.fake.clear_faults();
        assert_eq!(ready(&service).await.status, 200, "it comes back by itself");
    }
}

#[tokio::test]
async fn asking_whether_it_is_ready_is_cheap() {
    let world = World::new().await;
    let service = world.service().await;
    for _ in 0..10 {
        assert_eq!(ready(&service).await.status, 200);
        world.clock.advance(TimeDelta::minutes(1));
    }
    assert_eq!(world.fake.requests().len(), 2, "one discovery document, one key set");
    world.fake.stop();
    world.clock.advance(TimeDelta::hours(25));
    let begin = std::time::Instant::now();
    assert_eq!(ready(&service).await.status, 200, "yesterday's keys still verify");
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
}
