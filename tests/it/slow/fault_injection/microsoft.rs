//! Entra or Graph is down, slow or throttling while many users sign in: existing sessions are unaffected, and the
//! number of requests to Microsoft stays bounded.

use std::time::Duration;

use entra_simulator::{Endpoint, Fault, FaultRule, ObjectId, TokenKind};
use url::Url;

use super::storm::until;
use crate::errors::{shown, tells_nothing};
use crate::support::scene::person;
use crate::support::{Answer, Browser, Service, World, join_all};

const PEOPLE: usize = 40;

/// Attempts per list. A test's service has a budget of three seconds per list; with a Retry-After of one second and the
/// backoff that is one attempt and two retries.
const TRIES: usize = 3;

/// A browser with a cached session.
async fn known(world: &World, service: &Service, person: ObjectId) -> Browser {
    let mut browser = world.sign_in(service, person).await;
    until("sessions are remembered", async || service.app.sessions().is_caching()).await;
    go_on(&mut browser, service).await;
    browser
}

/// Asserts that an existing session works for forward auth and pages.
async fn go_on(browser: &mut Browser, service: &Service) {
    for path in ["/auth/verify", "/api/me", "/", "/teams"] {
        assert_eq!(browser.get(service.at(path)).await.status, 200, "{path} needs neither Entra nor Graph");
    }
}

/// Browsers that were redirected back from Entra, each with its callback URL.
async fn at_the_door(world: &World, service: &Service) -> Vec<(Browser, Url)> {
    let mut waiting = Vec::new();
    for number in 0..PEOPLE {
        let person = person(world, &format!("Person {number}"), &[]);
        let mut browser = Browser::new();
        let entra = browser.begin(service).await;
        waiting.push((browser.clone(), browser.pick(&world.simulator, service, &entra, person).await));
    }
    world.simulator.clear_requests();
    waiting
}

/// Opens all callbacks at once while an existing session keeps working.
async fn all_come_in(waiting: Vec<(Browser, Url)>, known: &mut Browser, service: &Service) -> Vec<(Browser, Answer)> {
    let come = join_all(waiting.into_iter().map(async |(mut browser, callback)| {
        let answer = browser.get(callback).await;
        (browser, answer)
    }));
    let (answers, ()) = tokio::join!(come, go_on(known, service));
    answers
}

fn asked(world: &World, endpoint: Endpoint) -> usize {
    world.simulator.requests_to(endpoint).len()
}

async fn scene() -> (World, Service, ObjectId, Browser) {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let known = known(&world, &service, alice).await;
    (world, service, alice, known)
}

#[tokio::test]
async fn throttled_graph_lets_users_in_within_retry_budget() {
    let (world, service, alice, mut known) = scene().await;
    for endpoint in [Endpoint::MemberOf, Endpoint::AssignedTo] {
        world.simulator.fault(FaultRule::on(endpoint, Fault::throttled(1)));
    }
    let waiting = at_the_door(&world, &service).await;
    for (mut browser, answer) in all_come_in(waiting, &mut known, &service).await {
        assert_eq!(answer.status, 303, "an unknown list does not block the sign-in: {answer:#?}");
        let page = browser.get(service.at("/")).await;
        assert!(page.body.contains("Microsoft did not report which groups"), "the page reports it: {}", page.body);
    }
    let (own, shared) = (asked(&world, Endpoint::MemberOf), asked(&world, Endpoint::AssignedTo));
    assert!((PEOPLE..=TRIES * PEOPLE).contains(&own), "{own} requests for the groups of {PEOPLE} users");
    // One shared fetch, and possibly further ones for sign-ins that arrived after it.
    assert!((1..=3 * TRIES).contains(&shared), "{shared} requests for the assigned groups, for {PEOPLE} users");

    world.simulator.clear_faults();
    let mut well = world.sign_in(&service, alice).await;
    assert!(
        !well.get(service.at("/")).await.body.contains("Microsoft did not report"),
        "the next sign-in is unaffected"
    );
}

#[tokio::test]
async fn graph_is_not_retried_when_retry_after_exceeds_budget() {
    let (world, service, _, mut known) = scene().await;
    for endpoint in [Endpoint::MemberOf, Endpoint::AssignedTo] {
        world.simulator.fault(FaultRule::on(endpoint, Fault::throttled(60)));
    }
    let waiting = at_the_door(&world, &service).await;
    for (_, answer) in all_come_in(waiting, &mut known, &service).await {
        assert_eq!(answer.status, 303, "{answer:#?}");
    }
    assert_eq!(asked(&world, Endpoint::MemberOf), PEOPLE, "one request per sign-in");
    assert!(asked(&world, Endpoint::AssignedTo) <= PEOPLE, "at most as many for the shared list");
}

#[tokio::test]
async fn hanging_token_endpoint_is_called_once_per_signin() {
    let (world, service, alice, mut known) = scene().await;
    world
        .simulator
        .fault(FaultRule::on(Endpoint::Token, Fault::Hang(Duration::from_secs(30))).token(TokenKind::Delegated));
    let waiting = at_the_door(&world, &service).await;
    for (browser, answer) in all_come_in(waiting, &mut known, &service).await {
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "entra_unavailable"), "{answer:#?}");
        assert!(answer.headers.contains_key("retry-after"), "{answer:#?}");
        assert!(answer.body.contains("Try again in a moment"), "the page advises to retry: {}", answer.body);
        tells_nothing(&world, &answer);
        let session = browser.cookies.keys().find(|name| !name.contains("-attempt-"));
        assert_eq!(session, None, "no session");
    }
    assert_eq!(asked(&world, Endpoint::Token), PEOPLE, "each code is redeemed once, without retries");
    assert_eq!(
        asked(&world, Endpoint::MemberOf) + asked(&world, Endpoint::AssignedTo),
        0,
        "no Graph request without an ID token"
    );
    go_on(&mut known, &service).await;
    world.simulator.clear_faults();
    world.sign_in(&service, alice).await;
}

#[tokio::test]
async fn concurrent_logins_share_failed_key_fetches() {
    let (world, service, alice, mut known) = scene().await;
    drop(service);
    let late = Duration::from_millis(700);
    for (endpoint, first, fault) in [
        (Endpoint::Discovery, Fault::Hang(late), Fault::Html),
        (Endpoint::Keys, Fault::Delay(late), Fault::Html),
        (Endpoint::Keys, Fault::Delay(late), Fault::status(503)),
        (Endpoint::Keys, Fault::Delay(late), Fault::CutBody),
    ] {
        let fresh = world.service().await;
        let how = format!("{endpoint:?} with {fault:?}");
        world.simulator.clear_requests();
        // Slow as well, so that all sign-ins start before the first response.
        world.simulator.fault(FaultRule::on(Endpoint::Discovery, first).times(1));
        world.simulator.fault(FaultRule::on(endpoint, fault));
        let answers = join_all((0..PEOPLE).map(async |_| Browser::new().get(fresh.at("/sso/login")).await)).await;
        for answer in answers {
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (503, "entra_unavailable"),
                "{how}: {answer:#?}"
            );
        }
        let readings = asked(&world, Endpoint::Discovery);
        assert!(readings <= 4, "{how}: {PEOPLE} concurrent sign-ins caused {readings} fetches");
        go_on(&mut known, &fresh).await;
        shown(&world, (503, "entra_unavailable"), async || (Browser::new(), fresh.at("/sso/login"))).await;
        world.simulator.clear_faults();
        world.sign_in(&fresh, alice).await;
    }
}
