//! Number and kind of Graph requests: sign-ins share a fetch of the assignments, and both lists are read concurrently.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use entra_simulator::{Endpoint, Fault, FaultRule, ObjectId, TokenKind};
use rstest::rstest;
use url::Url;

use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World, join_all};

async fn with_ttl(world: &World, seconds: u64) -> Service {
    world.service_with(|config| config.sync.assigned_groups_ttl = Duration::from_secs(seconds)).await
}

fn readings(world: &World) -> usize {
    world.simulator.requests_to(Endpoint::AssignedTo).len()
}

#[rstest]
#[tokio::test]
async fn signins_share_one_assignments_fetch_within_the_ttl(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = with_ttl(&world, 60).await;
    for _ in 0..4 {
        world.sign_in(&service, alice).await;
    }
    assert_eq!(readings(&world), 1, "within a minute");
    assert_eq!(world.simulator.requests_to(Endpoint::MemberOf).len(), 4, "memberships are fetched for each sign-in");
    world.clock.advance(TimeDelta::seconds(61));
    let new = world.simulator.edit(|directory| {
        let new = directory.group("New");
        directory.assign(new);
        new
    });
    world.sign_in(&service, alice).await;
    assert_eq!(readings(&world), 2, "after a minute");
    assert!(world.rows().await.teams.contains_key(&new.to_string()), "the new group is visible then");
}

#[tokio::test]
async fn expired_assignments_do_not_replace_a_failed_fetch() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = with_ttl(&world, 60).await;
    world.sign_in(&service, alice).await;
    world.simulator.fault(FaultRule::on(Endpoint::AssignedTo, Fault::Html));
    world.sign_in(&service, alice).await;
    assert_eq!(world.last_run().await["assigned_groups"], "known", "no fetch within the minute");
    world.clock.advance(TimeDelta::seconds(61));
    for turn in 2..=3 {
        world.sign_in(&service, alice).await;
        assert_eq!(world.last_run().await["assigned_groups"], "unknown");
        assert_eq!(readings(&world), turn, "a failure is not cached");
    }
    world.simulator.clear_faults();
    world.sign_in(&service, alice).await;
    assert_eq!(world.last_run().await["assigned_groups"], "known", "the next fetch succeeds");
}

/// Browsers that were redirected back from Entra, each with its callback URL.
async fn at_the_door(world: &World, service: &Service, person: ObjectId, count: usize) -> Vec<(Browser, Url)> {
    let mut waiting = Vec::new();
    for _ in 0..count {
        let mut browser = Browser::new();
        let entra = browser.begin(service).await;
        let callback = browser.pick(&world.simulator, service, &entra, person).await;
        waiting.push((browser, callback));
    }
    waiting
}

#[tokio::test]
async fn concurrent_signins_share_one_fetch_without_caching() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = with_ttl(&world, 0).await;
    world.sign_in(&service, alice).await;
    world.sign_in(&service, alice).await;
    assert_eq!(readings(&world), 2, "sequential sign-ins do not share");

    for fault in [None, Some(Fault::status(404))] {
        world.simulator.clear_requests();
        world.simulator.clear_faults();
        let slow = Fault::Delay(Duration::from_millis(700));
        world.simulator.fault(FaultRule::on(Endpoint::AssignedTo, slow).times(1));
        if let Some(fault) = fault.clone() {
            world.simulator.fault(FaultRule::on(Endpoint::AssignedTo, fault));
        }
        let waiting = at_the_door(&world, &service, alice, 20).await;
        let statuses =
            join_all(waiting.into_iter().map(async |(mut browser, url)| browser.get(url).await.status.as_u16())).await;
        assert_eq!(statuses, [303; 20], "{fault:?}");
        // The first sign-in fetches; those that arrive before its response share it.
        assert!(readings(&world) <= 4, "{} fetches for twenty sign-ins ({fault:?})", readings(&world));
        assert_eq!(world.simulator.requests_to(Endpoint::MemberOf).len(), 20, "memberships are fetched for each user");
    }
}

#[rstest]
#[tokio::test]
async fn concurrent_signins_at_startup_share_token_and_keys(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = with_ttl(&world, 60).await;
    let begun = join_all((0..20).map(|_| {
        let service = &service;
        async move {
            let mut browser = Browser::new();
            let entra = browser.begin(service).await;
            (browser, entra)
        }
    }))
    .await;
    assert_eq!(world.simulator.requests_to(Endpoint::Keys).len(), 1);
    assert_eq!(world.simulator.requests_to(Endpoint::Discovery).len(), 1);
    let statuses = join_all(begun.into_iter().map(async |(mut browser, entra)| {
        let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
        browser.get(callback).await.status.as_u16()
    }))
    .await;
    assert_eq!(statuses, [303; 20]);
    let tokens = world.simulator.requests_to(Endpoint::Token);
    assert_eq!(tokens.iter().filter(|seen| seen.token == Some(TokenKind::AppOnly)).count(), 1, "one app token");
    assert_eq!(readings(&world), 1);
    assert_eq!(world.rows().await.users.len(), 1);
}

#[tokio::test]
async fn both_lists_are_requested_concurrently() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = with_ttl(&world, 0).await;
    // The service has its app token from here on.
    world.sign_in(&service, alice).await;
    world.simulator.clear_requests();
    let delay = Duration::from_secs(2);
    for endpoint in [Endpoint::AssignedTo, Endpoint::MemberOf] {
        world.simulator.fault(FaultRule::on(endpoint, Fault::Delay(delay)));
    }
    let (mut browser, callback) = at_the_door(&world, &service, alice, 1).await.remove(0);
    let signing_in = tokio::spawn(async move { browser.get(callback).await });
    let asked = |endpoint| !world.simulator.requests_to(endpoint).is_empty();
    let begin = Instant::now();
    while !(asked(Endpoint::AssignedTo) || asked(Endpoint::MemberOf)) {
        assert!(begin.elapsed() < Duration::from_secs(10), "no request to Graph");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let first = Instant::now();
    while !(asked(Endpoint::AssignedTo) && asked(Endpoint::MemberOf)) {
        assert!(first.elapsed() < delay, "the second list is requested only after the first response");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!signing_in.is_finished(), "both requests are in flight");
    assert_eq!(signing_in.await.unwrap().status, 303);
    assert_eq!(world.last_run().await["assigned_groups"], "known");
}

#[tokio::test]
async fn graph_requests_are_plain_and_have_unique_ids() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    for nested_groups in [false, true] {
        let service = world.service_with(|config| config.sync.nested_groups = nested_groups).await;
        world.sign_in(&service, alice).await;
    }
    let graph: Vec<_> = [Endpoint::AssignedTo, Endpoint::MemberOf]
        .into_iter()
        .flat_map(|endpoint| world.simulator.requests_to(endpoint))
        .collect();
    assert_eq!(graph.len(), 4);
    for seen in &graph {
        assert_eq!(seen.consistency_level, None, "the index behind ConsistencyLevel may be stale: {seen:?}");
        assert_eq!(seen.method, "GET", "{seen:?}");
        assert!(seen.user_agent.as_deref().is_some_and(|agent| agent.starts_with("entraway/")), "{seen:?}");
        let kind = if seen.endpoint == Endpoint::MemberOf { TokenKind::Delegated } else { TokenKind::AppOnly };
        assert_eq!(seen.token, Some(kind), "{seen:?}");
    }
    let ids: BTreeSet<_> = graph.iter().filter_map(|seen| seen.client_request_id.clone()).collect();
    assert_eq!(ids.len(), graph.len(), "request IDs are unique");
    let paths: Vec<&str> =
        graph.iter().filter(|seen| seen.endpoint == Endpoint::MemberOf).map(|seen| seen.path.as_str()).collect();
    assert!(
        paths[0].starts_with("/v1.0/me/memberOf?") && paths[1].starts_with("/v1.0/me/transitiveMemberOf?"),
        "{paths:?}"
    );
    for seen in world.simulator.requests() {
        assert_eq!(seen.consistency_level, None, "{seen:?}");
    }
}
