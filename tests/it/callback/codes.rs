//! Codes that are not this attempt's, or not good any more.

use entraway::fake::{Endpoint, EntraError, Fault, FaultRule, TokenKind};

use super::{parameter, refuses, with};
use crate::support::{Browser, World};

#[tokio::test]
async fn a_code_of_another_attempt_is_refused() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let eve = world.fake.edit(|directory| directory.person("Eve Evers", |_| {}));
    let service = world.service().await;
    let before = world.traces().await;

    let mut browser = Browser::new();
    let (first, second) = (browser.begin(&service).await, browser.begin(&service).await);
    let first = browser.pick(&world.fake, &service, &first, alice).await;
    let second = browser.pick(&world.fake, &service, &second, alice).await;
    let mixed = with(&first, "code", &parameter(&second, "code"));
    let whose = (&mut browser, mixed);
    refuses(&world, &service, &before, whose, (400, "code_refused"), "the code of another tab").await;

    // Eve wants Alice to work under Eve's name.
    let mut of_eve = Browser::new();
    let entra = of_eve.begin(&service).await;
    let of_eve = of_eve.pick(&world.fake, &service, &entra, eve).await;
    let mut of_alice = Browser::new();
    let entra = of_alice.begin(&service).await;
    let injected = with(&of_eve, "state", &parameter(&entra, "state"));
    let whose = (&mut of_alice, injected);
    refuses(&world, &service, &before, whose, (400, "code_refused"), "the code of another browser").await;
}

#[tokio::test]
async fn a_code_that_was_redeemed_is_refused_even_if_we_forgot_the_attempt() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.fake, &service, &entra, alice).await;
    let mut again = browser.clone();
    assert_eq!(browser.get(callback.clone()).await.status, 303);
    world.sql("delete from entraway.used_attempts").await;
    let before = world.traces().await;
    let whose = (&mut again, callback);
    refuses(&world, &service, &before, whose, (400, "code_refused"), "a code that was redeemed").await;
}

#[tokio::test]
async fn a_code_that_entra_does_not_take_is_refused() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let expired = "The provided authorization code or refresh token has expired due to inactivity.";
    for (how, error, expected) in [
        ("an expired code", EntraError::new("invalid_grant", 70008, expired), (400, "code_refused")),
        ("a malformed code", EntraError::new("invalid_grant", 9_002_313, "Invalid request."), (400, "code_refused")),
        ("a disabled account", EntraError::new("invalid_grant", 50057, "It is disabled."), (403, "entra_refused")),
        ("Conditional Access", EntraError::new("invalid_grant", 53003, "Blocked."), (403, "entra_refused")),
        ("no consent", EntraError::new("invalid_grant", 65001, "No consent."), (403, "consent_refused")),
        ("one more step", EntraError::mfa_required(), (403, "interaction_required")),
        ("an error that nobody knows", EntraError::new("unheard_of", 1, "<b>Unheard of</b>"), (400, "code_refused")),
    ] {
        world.fake.fault(FaultRule::on(Endpoint::Token, Fault::Entra(error)).token(TokenKind::Delegated));
        let mut browser = Browser::new();
        let entra = browser.begin(&service).await;
        let callback = browser.pick(&world.fake, &service, &entra, alice).await;
        refuses(&world, &service, &before, (&mut browser, callback), expected, how).await;
        world.fake.clear_faults();
    }

    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.fake, &service, &entra, alice).await;
    let url = with(&callback, "code", &"x".repeat(3_000));
    refuses(&world, &service, &before, (&mut browser, url), (400, "code_refused"), "a made-up code").await;
}

#[tokio::test]
async fn a_code_for_which_entra_wants_more_proof_is_refused() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let challenge = Fault::Entra(EntraError::mfa_required());
    world.fake.fault(FaultRule::on(Endpoint::Token, challenge).token(TokenKind::Delegated));
    let mut browser = Browser::new();
    let answer = browser.sign_in(&world.fake, &service, alice).await;
    assert_eq!(answer.status, 403, "{answer:#?}");
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    assert_eq!(world.traces().await, before);
}
