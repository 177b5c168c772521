//! Entra or Graph is away, slow or asks for patience, and many people come at once: who is signed in notices nothing, and
//! all together ask no more than is due.

use std::time::Duration;

use entra_simulator::{Endpoint, Fault, FaultRule, ObjectId, TokenKind};
use url::Url;

use super::storm::until;
use crate::errors::{shown, tells_nothing};
use crate::support::scene::person;
use crate::support::{Answer, Browser, Service, World, join_all};

const PEOPLE: usize = 40;

/// A test's service has three seconds for a list. Where Graph asks for one of patience, and the backoff comes on top, that
/// is once at the beginning and twice more.
const TRIES: usize = 3;

/// Somebody who is signed in and remembered, in a browser.
async fn known(world: &World, service: &Service, person: ObjectId) -> Browser {
    let mut browser = world.sign_in(service, person).await;
    until("sessions are remembered", async || service.app.sessions().is_caching()).await;
    go_on(&mut browser, service).await;
    browser
}

/// Whoever is signed in is answered, as a proxy asks and on pages.
async fn go_on(browser: &mut Browser, service: &Service) {
    for path in ["/auth/verify", "/api/me", "/", "/teams"] {
        assert_eq!(browser.get(service.at(path)).await.status, 200, "{path} needs neither Entra nor Graph");
    }
}

/// People who were sent back from Entra and have only to come in.
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

/// All of them come in at the same moment, while somebody who is signed in goes on.
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
        assert_eq!(answer.status, 303, "a list that is unknown keeps nobody outside: {answer:#?}");
        let page = browser.get(service.at("/")).await;
        assert!(page.body.contains("Microsoft did not report which groups"), "the page says so: {}", page.body);
    }
    let (own, shared) = (asked(&world, Endpoint::MemberOf), asked(&world, Endpoint::AssignedTo));
    assert!((PEOPLE..=TRIES * PEOPLE).contains(&own), "{PEOPLE} people asked {own} times for their own groups");
    // One reading for all, or another one for those who came too late for it.
    assert!((1..=3 * TRIES).contains(&shared), "{PEOPLE} people asked {shared} times which groups are assigned");

    world.simulator.clear_faults();
    let mut well = world.sign_in(&service, alice).await;
    assert!(
        !well.get(service.at("/")).await.body.contains("Microsoft did not report"),
        "and the next sign-in is as ever"
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
    assert_eq!(asked(&world, Endpoint::MemberOf), PEOPLE, "once for each sign-in");
    assert!(asked(&world, Endpoint::AssignedTo) <= PEOPLE, "and no more than that for what they share");
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
        assert!(answer.body.contains("Try again in a moment"), "a page with advice: {}", answer.body);
        tells_nothing(&world, &answer);
        let session = browser.cookies.keys().find(|name| !name.contains("-attempt-"));
        assert_eq!(session, None, "no session");
    }
    assert_eq!(asked(&world, Endpoint::Token), PEOPLE, "a code is redeemed once, and not again by itself");
    assert_eq!(asked(&world, Endpoint::MemberOf) + asked(&world, Endpoint::AssignedTo), 0, "nobody knows who they are");
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
        // Slow as well, so that all of them ask before there is an answer.
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
        assert!(readings <= 4, "{how}: {PEOPLE} people at once caused {readings} readings");
        go_on(&mut known, &fresh).await;
        shown(&world, (503, "entra_unavailable"), async || (Browser::new(), fresh.at("/sso/login"))).await;
        world.simulator.clear_faults();
        world.sign_in(&fresh, alice).await;
    }
}
