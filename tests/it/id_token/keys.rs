//! Key rotation at Entra does not disturb users.

use chrono::TimeDelta;
use entra_simulator::{Endpoint, Fault, FaultRule, Signing};

use crate::support::{Browser, World, join_all};

#[tokio::test]
async fn signin_succeeds_after_key_rotation() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    for turn in 1..=3 {
        world.clock.advance(TimeDelta::seconds(61));
        world.simulator.rotate_keys();
        let answer = world.try_sign_in(&service, alice).await;
        assert_eq!(answer.status, 303, "after change {turn}: {answer:#?}");
    }
}

#[tokio::test]
async fn signin_in_progress_survives_key_rotation() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    // The keys were read a moment ago, at the start of the sign-in.
    let service = world.service().await;
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    world.simulator.rotate_keys();
    let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
    let answer = browser.get(callback).await;
    assert_eq!(answer.status, 303, "the key that signs was published in time: {answer:#?}");
    assert_eq!(browser.me(&service).await.status, 200);
}

#[tokio::test]
async fn key_published_in_advance_needs_no_new_fetch() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let next = world.simulator.add_key();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    assert!(world.simulator.sign_with(&next));
    world.simulator.retire_keys();
    world.sign_in(&service, alice).await;
    assert_eq!(world.simulator.requests_to(Endpoint::Keys).len(), 1, "the key was known already");
}

#[tokio::test]
async fn unknown_key_fetches_the_jwks_at_most_once_a_minute() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let refused = async || {
        let answer = world.try_sign_in(&service, alice).await;
        assert_eq!(answer.code(), "id_token_unknown_key", "{answer:#?}");
    };
    world.sign_in(&service, alice).await;
    world.simulator.next_id_token(|token| token.signing = Signing::UnknownKey);
    let mut most = world.simulator.requests_to(Endpoint::Keys).len();
    assert_eq!(most, 1, "one reading for the first sign-in");
    for minute in 1..=2 {
        for _ in 0..3 {
            refused().await;
        }
        most += 1;
        let readings = world.simulator.requests_to(Endpoint::Keys).len();
        assert!(readings <= most, "{readings} readings up to minute {minute}, at most {most} are allowed");
        world.clock.advance(TimeDelta::seconds(61));
    }
    refused().await;
    assert!(world.simulator.requests_to(Endpoint::Keys).len() >= 3, "after a minute the keys are read again");
}

#[tokio::test]
async fn concurrent_signins_with_unknown_key_cause_one_fetch() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.clock.advance(TimeDelta::seconds(61));
    world.simulator.rotate_keys();
    let statuses = join_all((0..8).map(async |_| world.try_sign_in(&service, alice).await.status.as_u16())).await;
    assert_eq!(statuses, [303; 8], "all of them sign in");
    assert_eq!(world.simulator.requests_to(Endpoint::Keys).len(), 2, "one reading at the start, one for all of them");
}

#[tokio::test]
async fn stale_keys_verify_while_entra_is_unavailable() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.clock.advance(TimeDelta::hours(25));
    world.simulator.clear_requests();
    for endpoint in [Endpoint::Discovery, Endpoint::Keys] {
        world.simulator.fault(FaultRule::on(endpoint, Fault::status(503)));
        let answer = world.try_sign_in(&service, alice).await;
        assert_eq!(answer.status, 303, "without {endpoint:?}: {answer:#?}");
        assert_eq!(world.simulator.requests_to(endpoint).len(), 1, "{endpoint:?} was requested, and failed");
        world.simulator.clear_faults();
        world.simulator.clear_requests();
        world.clock.advance(TimeDelta::seconds(61));
    }
    world.simulator.rotate_keys();
    world.simulator.fault(FaultRule::on(Endpoint::Keys, Fault::status(503)));
    let answer = world.try_sign_in(&service, alice).await;
    assert!(!answer.status.is_redirection(), "a token with an unknown key is rejected: {answer:#?}");
    world.simulator.clear_faults();
    let answer = world.try_sign_in(&service, alice).await;
    assert_eq!(answer.status, 303, "Entra is available again, and its new key is read now: {answer:#?}");
}

#[tokio::test]
async fn stale_keys_are_refetched_at_most_once_a_minute() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.clock.advance(chrono::TimeDelta::hours(25));
    world.simulator.fault(FaultRule::on(Endpoint::Discovery, Fault::status(503)));
    world.simulator.clear_requests();
    for _ in 0..5 {
        world.sign_in(&service, alice).await;
    }
    let asked = world.simulator.requests_to(Endpoint::Discovery).len();
    assert_eq!(asked, 1, "five sign-ins with expired keys caused {asked} reads");
}
