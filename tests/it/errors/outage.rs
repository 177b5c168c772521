//! Outages of Entra or the database: users are asked to retry, and can.

use entra_simulator::{Endpoint, Fault, FaultRule, TokenKind};
use rstest::rstest;

use super::{comes_back, shown};
use crate::support::{Browser, LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn token_endpoint_failure_is_entra_unavailable(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    for fault in [
        Fault::status(503),
        Fault::throttled(10),
        Fault::Html,
        Fault::MalformedJson,
        Fault::CutBody,
        Fault::Status { status: 502, retry_after: None, body: Some("Bad Gateway".into()) },
        Fault::Status { status: 200, retry_after: None, body: Some(serde_json::json!({ "access_token": 1 })) },
    ] {
        world.simulator.fault(FaultRule::on(Endpoint::Token, fault).token(TokenKind::Delegated));
        shown(&world, (503, "entra_unavailable"), async || comes_back(&world, &service, alice).await).await;
        world.simulator.clear_faults();
    }
    assert_eq!(world.traces().await, before, "nothing is written");
    world.sign_in(&service, alice).await;
}

#[tokio::test]
async fn transient_entra_error_is_entra_unavailable() {
    use entra_simulator::EntraError;
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    for error in ["temporarily_unavailable", "server_error"] {
        world.simulator.clear_faults();
        let error = EntraError::new(error, 90033, "A transient error has occurred. Please try again.");
        world.simulator.fault(FaultRule::on(Endpoint::Authorize, Fault::Entra(error)));
        shown(&world, (503, "entra_unavailable"), async || comes_back(&world, &service, alice).await).await;
    }
}

#[rstest]
#[tokio::test]
async fn entra_outage_blocks_signin_and_keeps_sessions(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let (service, fresh) = (world.service().await, world.service().await);
    let mut browser = world.sign_in(&service, alice).await;
    let under_way = [comes_back(&world, &service, alice).await, comes_back(&world, &service, alice).await];
    let before = world.traces().await;
    world.simulator.stop();

    let turn = std::sync::atomic::AtomicUsize::new(0);
    shown(&world, (503, "entra_unavailable"), async || {
        under_way[turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed)].clone()
    })
    .await;
    shown(&world, (503, "entra_unavailable"), async || (Browser::new(), fresh.at("/sso/login"))).await;
    for instance in [&service, &fresh] {
        assert_eq!(browser.me(instance).await.status, 200, "a session needs no Entra");
        assert_eq!(browser.get(instance.at("/")).await.status, 200, "a session needs no Entra");
    }
    assert_eq!(world.traces().await, before, "nothing is written");
}

#[tokio::test]
async fn database_outage_is_503_and_signin_finishes_afterwards() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut signed_in = world.sign_in(&service, alice).await;
    let (mut waiting, callback) = comes_back(&world, &service, alice).await;
    world.database_goes_away().await;

    let page = shown(&world, (503, "database_unavailable"), async || (waiting.clone(), callback.clone())).await;
    assert!(page.body.contains("Try again in a moment"), "{}", page.body);
    shown(&world, (503, "database_unavailable"), async || (signed_in.clone(), service.at("/"))).await;
    let answer = signed_in.me(&service).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (503, "database_unavailable"),
        "not 401: the session could not be checked"
    );
    let answer = signed_in.post(service.at("/sso/logout")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (503, "database_unavailable"),
        "the sign-out did not happen"
    );
    assert!(signed_in.cookies.contains_key("entraway"), "the cookie stays for a retry");
    // Pages that need no database still work.
    assert_eq!(Browser::new().get(service.at("/")).await.status, 200);
    assert_eq!(Browser::new().get(service.at("/sso/login")).await.status, 303);

    let refused = waiting.get(callback.clone()).await;
    assert_eq!(refused.status, 503);
    world.database_comes_back().await;
    let answer = waiting.get(callback).await;
    assert_eq!(answer.status, 303, "the login state is still valid: {answer:#?}");
    assert_eq!(waiting.me(&service).await.status, 200);
    assert_eq!(signed_in.me(&service).await.status, 200, "the previous session is still valid");
}

#[rstest]
#[tokio::test]
async fn database_loss_during_signin_opens_no_session(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let (mut browser, callback) = comes_back(&world, &service, alice).await;
    let slow = Fault::Delay(std::time::Duration::from_millis(800));
    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, slow));
    let (answer, ()) = tokio::join!(browser.get(callback.clone()), async {
        let begin = std::time::Instant::now();
        while world.simulator.requests_to(Endpoint::MemberOf).is_empty() {
            assert!(begin.elapsed().as_secs() < 10, "no request to Graph");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        world.database_goes_away().await;
    });
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "database_unavailable"), "{answer:#?}");
    // The consumed login state stays, so that its destination is not lost.
    let session = browser.cookies.keys().find(|name| !name.contains("-attempt-"));
    assert_eq!(session, None, "no session");
    world.database_comes_back().await;
    let traces = world.traces().await;
    assert_eq!((traces.sessions, traces.runs, traces.rows.users.len()), (0, 0, 0), "nothing was written");
    world.simulator.clear_faults();
    world.sign_in(&service, alice).await;
}
