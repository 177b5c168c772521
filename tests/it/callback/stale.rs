//! Login states that are expired, consumed or unknown: none is a dead end, and none is a loop.

use chrono::TimeDelta;
use entra_simulator::{Endpoint, ObjectId};
use url::Url;

use super::{parameter, with, without};
use crate::support::{Answer, Browser, Service, World};

/// Starts a sign-in with a destination; returns the browser and the callback URL.
async fn comes_back(world: &World, service: &Service, user: ObjectId) -> (Browser, Url) {
    let mut browser = Browser::new();
    let entra =
        browser.get(service.at("/sso/login?prompt=select_account&return_to=/teams?search=a%2526b")).await.location();
    let callback = browser.pick(&world.simulator, service, &entra, user).await;
    (browser, callback)
}

/// The login state in a redirect to Entra.
#[track_caller]
fn state_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{answer:#?}");
    let entra = answer.location();
    assert!(entra.path().ends_with("/authorize"), "not Entra: {entra}");
    parameter(&entra, "state")
}

const DESTINATION: &str = "http://127.0.0.1:1/teams?search=a%26b";

#[tokio::test]
async fn callback_expired_state_restarts_with_destination() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    // Overnight, but less than the day for which the browser keeps the cookie.
    for late in [TimeDelta::minutes(10), TimeDelta::hours(20)] {
        let (mut browser, callback) = comes_back(&world, &service, alice).await;
        world.clock.advance(late);
        let answer = browser.get(callback.clone()).await;
        assert_ne!(state_of(&answer), parameter(&callback, "state"), "a new login state");
        assert_eq!(parameter(&answer.location(), "prompt"), "select_account", "as at the first time");
        assert_eq!(browser.cookies.len(), 1, "the expired cookie is gone: {:?}", browser.cookies.keys());
        let callback = browser.pick(&world.simulator, &service, &answer.location(), alice).await;
        let answer = browser.get(callback).await;
        assert_eq!(answer.location().as_str(), DESTINATION, "after {late}");
        assert_eq!(browser.me(&service).await.status, 200);
    }
}

#[tokio::test]
async fn callback_expired_twice_stops_with_a_page() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let (mut browser, callback) = comes_back(&world, &service, alice).await;
    world.clock.advance(TimeDelta::minutes(11));
    let restarted = browser.get(callback).await.location();
    let callback = browser.pick(&world.simulator, &service, &restarted, alice).await;
    world.clock.advance(TimeDelta::minutes(11));
    for _ in 0..2 {
        let page = browser.get(callback.clone()).await;
        assert_eq!((page.status.as_u16(), page.code().as_str()), (400, "attempt_expired"), "{page:#?}");
        assert!(page.body.contains("return_to=%2Fteams%3Fsearch%3Da%2526b"), "the destination: {}", page.body);
    }
    assert_eq!(world.sessions_and_runs().await, (0, 0));
}

#[tokio::test]
async fn callback_expired_code_opens_no_session() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let (mut browser, callback) = comes_back(&world, &service, alice).await;
    world.clock.advance(TimeDelta::minutes(11));
    world.simulator.clear_requests();
    let answer = browser.get(callback).await;
    state_of(&answer);
    assert!(!answer.set_cookies().iter().any(|cookie| cookie.starts_with("entraway=")), "{answer:#?}");
    assert!(world.simulator.requests_to(Endpoint::Token).is_empty(), "the code was redeemed");
    assert_eq!(world.sessions_and_runs().await, (0, 0));
}

#[tokio::test]
async fn callback_expired_and_canceled_shows_the_cancel_page() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let (mut browser, callback) = comes_back(&world, &service, alice).await;
    world.clock.advance(TimeDelta::minutes(11));
    let canceled = with(&with(&without(&callback, "code"), "error", "access_denied"), "error_subcode", "cancel");
    let page = browser.get(canceled).await;
    assert_eq!((page.status.as_u16(), page.code().as_str()), (403, "canceled"), "{page:#?}");
    assert!(page.body.contains("return_to=%2Fteams"), "{}", page.body);
}

#[tokio::test]
async fn callback_repeated_while_signed_in_redirects() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let (mut browser, callback) = comes_back(&world, &service, alice).await;
    let attempt = browser.cookies.clone();
    assert_eq!(browser.get(callback.clone()).await.status, 303);
    let signed_in = browser.cookies.clone();

    let back = browser.get(callback.clone()).await;
    assert_eq!(back.location().as_str(), "http://127.0.0.1:1/", "the login state is lost, so the front page");
    let stranger = with(&callback, "state", "abcdefghijkl.x");
    assert_eq!(browser.get(stranger).await.location().as_str(), "http://127.0.0.1:1/");
    browser.cookies.extend(attempt);
    let back = browser.get(callback).await;
    assert_eq!(back.location().as_str(), DESTINATION, "the login state is still known");
    browser.cookies.retain(|name, _| signed_in.contains_key(name));
    assert_eq!(browser.cookies, signed_in, "the session is the same");
    assert_eq!(world.sessions_and_runs().await, (1, 1));
}

#[tokio::test]
async fn callback_after_failure_keeps_the_destination() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let (mut browser, callback) = comes_back(&world, &service, alice).await;
    let canceled = with(&without(&callback, "code"), "error", "access_denied");
    assert_eq!(browser.get(canceled).await.code(), "canceled");
    // Back to Entra to pick an account after all.
    let page = browser.get(callback.clone()).await;
    assert_eq!((page.status.as_u16(), page.code().as_str()), (400, "attempt_used"), "{page:#?}");
    assert!(page.body.contains("return_to=%2Fteams"), "{}", page.body);
    world.clock.advance(TimeDelta::minutes(11));
    let restarted = browser.get(callback).await;
    let callback = browser.pick(&world.simulator, &service, &restarted.location(), alice).await;
    assert_eq!(browser.get(callback).await.location().as_str(), DESTINATION);
}

#[tokio::test]
async fn callback_unknown_state_offers_a_new_signin() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let (_, callback) = comes_back(&world, &service, alice).await;
    let mut other = Browser::new();
    let page = other.get(callback).await;
    assert_eq!((page.status.as_u16(), page.code().as_str()), (400, "attempt_unknown"), "{page:#?}");
    assert!(page.body.contains("<a class=\"button\" href=\"/sso/login\">Sign in again</a>"), "{}", page.body);
    let entra = other.get(service.at("/sso/login")).await.location();
    let callback = other.pick(&world.simulator, &service, &entra, alice).await;
    assert_eq!(other.get(callback).await.location().as_str(), "http://127.0.0.1:1/");
}
