//! Two client secrets at once, so that a secret can be replaced without failed sign-ins.

use entra_simulator::{AppCredential, Endpoint, EntraError, Fault, FaultRule, TokenKind};
use entraway::config::ClientAuth;

use super::Scene;
use crate::support::{Browser, Service, join_all};

const OLD: &str = "0ld~secret-that-nobody-may-see";
const NEW: &str = "n3w~secret-that-nobody-may-see";

/// A service with these two secrets in this order.
async fn service(scene: &Scene, [one, other]: [&str; 2]) -> Service {
    let way = ClientAuth::Secrets { primary: one.into(), secondary: Some(other.into()) };
    scene.world.service_with(|config| config.entra.client_auth = way).await
}

/// Makes Entra accept these secrets and report those as expired.
fn entra_takes(scene: &Scene, secret: &str, second: Option<&str>, ended: &[&str]) {
    scene.world.simulator.edit(|directory| {
        secret.clone_into(&mut directory.client_secret);
        directory.second_client_secret = second.map(str::to_owned);
        directory.ended_client_secrets = ended.iter().map(|secret| (*secret).to_owned()).collect();
    });
}

/// The secrets that were sent with codes, in order.
fn sent_for_codes(scene: &Scene) -> Vec<String> {
    let of_code = |(kind, _, credentials): (TokenKind, String, Vec<AppCredential>)| match &credentials[..] {
        [AppCredential::Secret(secret)] => (kind == TokenKind::Delegated).then(|| secret.clone()),
        other => panic!("expected one secret, not {other:?}"),
    };
    scene.sent().into_iter().filter_map(of_code).collect()
}

#[tokio::test]
async fn either_secret_redeems_the_code_and_is_tried_first_next() {
    for order in [[OLD, NEW], [NEW, OLD]] {
        let scene = Scene::new().await;
        // The new secret is in the file before Entra knows it.
        entra_takes(&scene, OLD, None, &[]);
        let service = service(&scene, order).await;
        scene.signs_in(&service).await;
        let expected = if order[0] == OLD { vec![OLD] } else { vec![NEW, OLD] };
        assert_eq!(
            sent_for_codes(&scene),
            expected,
            "{order:?}: the code is redeemed with the secret that Entra knows"
        );
        scene.signs_in(&service).await;
        assert_eq!(sent_for_codes(&scene), [OLD], "{order:?}: the invalid secret is not tried again");

        entra_takes(&scene, OLD, Some(NEW), &[]);
        scene.signs_in(&service).await;
        assert_eq!(sent_for_codes(&scene), [OLD], "{order:?}: both are valid, so the one that worked");

        entra_takes(&scene, NEW, None, &[OLD]);
        scene.signs_in(&service).await;
        assert_eq!(sent_for_codes(&scene), [OLD, NEW], "{order:?}: the same code with the other secret");
        scene.signs_in(&service).await;
        assert_eq!(sent_for_codes(&scene), [NEW], "{order:?}: from now on the new one");
    }
}

#[tokio::test]
async fn app_token_request_uses_the_secret_that_worked() {
    let scene = Scene::new().await;
    let service = service(&scene, [OLD, NEW]).await;
    entra_takes(&scene, OLD, Some(NEW), &[]);
    scene.signs_in(&service).await;
    scene.sent();
    entra_takes(&scene, NEW, None, &[OLD]);
    scene.world.clock.advance(chrono::TimeDelta::hours(2));
    scene.signs_in(&service).await;
    let sent: Vec<(TokenKind, AppCredential)> =
        scene.sent().into_iter().map(|(kind, _, mut credentials)| (kind, credentials.remove(0))).collect();
    let secret = |secret: &str| AppCredential::Secret(secret.to_owned());
    let expected =
        [(TokenKind::Delegated, secret(OLD)), (TokenKind::Delegated, secret(NEW)), (TokenKind::AppOnly, secret(NEW))];
    assert_eq!(sent, expected, "the next request uses the result of the first");
}

#[tokio::test]
async fn concurrent_signins_succeed_during_secret_rotation() {
    let scene = Scene::new().await;
    entra_takes(&scene, OLD, None, &[]);
    let service = service(&scene, [OLD, NEW]).await;
    scene.signs_in(&service).await;
    for (good, bad) in [(NEW, OLD), (OLD, NEW)] {
        let mut callbacks = Vec::new();
        for _ in 0..10 {
            let mut browser = Browser::new();
            let entra = browser.begin(&service).await;
            let callback = browser.pick(&scene.world.simulator, &service, &entra, scene.alice).await;
            callbacks.push((browser, callback));
        }
        entra_takes(&scene, good, None, &[bad]);
        let all = callbacks.iter_mut().map(|(browser, callback)| browser.get(callback.clone()));
        for answer in join_all(all).await {
            assert_eq!(answer.status, 303, "{answer:#?}");
        }
        scene.sent();
        scene.signs_in(&service).await;
        assert_eq!(sent_for_codes(&scene), [good], "the valid one is now tried first");
    }
}

#[tokio::test]
async fn signin_fails_after_each_secret_was_tried_once() {
    let scene = Scene::new().await;
    entra_takes(&scene, "an0ther~secret", None, &[OLD]);
    let service = service(&scene, [OLD, NEW]).await;
    for _ in 0..2 {
        scene.refuses(&service, "app_refused", "neither is good").await;
        assert_eq!(sent_for_codes(&scene), [OLD, NEW]);
    }
    entra_takes(&scene, NEW, None, &[]);
    scene.signs_in(&service).await;
}

#[tokio::test]
async fn unrelated_token_error_does_not_try_the_second_secret() {
    let scene = Scene::new().await;
    entra_takes(&scene, OLD, Some(NEW), &[]);
    let service = service(&scene, [OLD, NEW]).await;
    for (error, number) in
        [("invalid_grant", 54005), ("temporarily_unavailable", 90033), ("unauthorized_client", 700_016)]
    {
        let error = EntraError::new(error, number, "No.");
        scene.world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::Entra(error)).token(TokenKind::Delegated));
        let answer = scene.world.try_sign_in(&service, scene.alice).await;
        assert!(answer.status.as_u16() >= 400, "{number}: {answer:#?}");
        assert_eq!(sent_for_codes(&scene), [OLD], "{number}: a code is sent once");
        scene.world.simulator.clear_faults();
    }
}
