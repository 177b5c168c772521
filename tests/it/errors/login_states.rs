//! Sign-ins that cannot be completed: the page links to a new sign-in that keeps the destination.

use chrono::TimeDelta;
use entra_simulator::Signing;
use rstest::rstest;

use super::{comes_back, shown};
use crate::support::{Browser, LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn unusable_login_state_page_offers_signin(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let foreign = async || {
        let (_, callback) = comes_back(&world, &service, alice).await;
        (Browser::new(), callback)
    };
    // The first time, an expired login state leads to a new sign-in.
    let late = async || {
        let (mut browser, callback) = comes_back(&world, &service, alice).await;
        world.clock.advance(TimeDelta::minutes(11));
        let restarted = browser.get(callback).await.location();
        let callback = browser.pick(&world.simulator, &service, &restarted, alice).await;
        world.clock.advance(TimeDelta::minutes(11));
        (browser, callback)
    };
    let pages = [
        shown(&world, (400, "attempt_unknown"), foreign).await,
        shown(&world, (400, "attempt_expired"), late).await,
        shown(&world, (400, "code_refused"), async || {
            let (browser, mut callback) = comes_back(&world, &service, alice).await;
            let query = callback.query().unwrap().replace("code=1.SIM.", "code=1.SIM.x");
            callback.set_query(Some(&query));
            (browser, callback)
        })
        .await,
        shown(&world, (400, "duplicate_parameter"), async || {
            (Browser::new(), service.at("/sso/callback?code=a&code=b"))
        })
        .await,
        shown(&world, (400, "return_to"), async || {
            (Browser::new(), service.at("/sso/login?return_to=https://evil.example"))
        })
        .await,
    ];
    for page in pages {
        assert!(
            page.body.contains("<a class=\"button\" href=\"/sso/login") && page.body.contains("Sign in again"),
            "{}",
            page.body
        );
    }
    world.simulator.next_id_token(|token| token.signing = Signing::CorruptSignature);
    shown(&world, (403, "id_token_signature"), async || comes_back(&world, &service, alice).await).await;
    assert_eq!(world.traces().await, before, "nothing is written");
}

#[tokio::test]
async fn consumed_login_state_has_its_own_error() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    shown(&world, (400, "attempt_used"), async || {
        let (browser, callback) = comes_back(&world, &service, alice).await;
        // In another tab, whose session this browser does not have yet.
        assert_eq!(browser.clone().get(callback.clone()).await.status, 303);
        (browser, callback)
    })
    .await;
}

#[tokio::test]
async fn retry_after_failed_signin_keeps_the_destination() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.simulator.next_id_token(|token| token.signing = Signing::CorruptSignature);
    let mut browser = Browser::new();
    let going_to = "/sso/login?return_to=/ui?a=b%26c=%22%3E%3Cscript%3E";
    let entra = browser.get(service.at(going_to)).await.location();
    let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
    let page = browser.get(callback).await;
    assert_eq!(page.status, 403);
    assert!(!page.body.contains("<script"), "{}", page.body);
    let (_, rest) = page.body.split_once("<a class=\"button\" href=\"").unwrap();
    let link = rest.split_once('"').unwrap().0.replace("&amp;", "&").replace("&#38;", "&");
    assert!(page.body.contains("prompt=select_account"), "a second link for another account: {}", page.body);

    world.simulator.clear_faults();
    let entra = browser.get(service.at(&link)).await.location();
    let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
    let answer = browser.get(callback).await;
    assert_eq!(answer.location().as_str(), "http://127.0.0.1:1/ui?a=b&c=%22%3E%3Cscript%3E");
}
