//! Metrics contain no secrets and no personal data, regardless of earlier requests.

use entra_simulator::{Endpoint, EntraError, Fault, FaultRule};
use reqwest::Method;
use rstest::rstest;

use super::Watch;
use crate::support::{Browser, LiteLlm, Native, Secrets, StoreKind, World, no_address_is_in};

#[rstest]
#[tokio::test]
async fn metrics_contain_no_identifiers_or_secrets(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let service = world.service().await;
    let watch = Watch::new(&service).await;
    let directory = world.simulator.edit(|directory| directory.clone());
    let mut secrets = Secrets::default();
    for (what, secret) in [
        ("person's id", alice.to_string()),
        ("group's id", group.to_string()),
        ("tenant's id", directory.tenant_id.to_string()),
        ("client id", directory.client_id),
        ("client secret", directory.client_secret),
        ("service principal's id", directory.service_principal_id),
        ("name of a person", "Alice".to_owned()),
        ("name of a group", "Production".to_owned()),
        ("made-up word", "sesame".to_owned()),
        ("address of the database", world.database.clone()),
        ("name of the database", world.database_name.clone()),
        ("address of Entra", world.simulator.authority_url().to_string()),
    ] {
        secrets.add(what, secret);
    }

    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    secrets.add_request(&entra);
    secrets.add_cookies(&browser);
    let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
    secrets.add_callback(&callback);
    assert_eq!(browser.get(callback.clone()).await.status, 303);
    secrets.add_cookies(&browser);
    for path in [
        "/",
        "/api/me",
        "/teams",
        "/people?search=alice.arden@contoso-sim.example",
        "/people/alice.arden@contoso-sim.example",
        "/sesame",
        "/sesame/sesame?sesame=sesame",
        "/auth/verify",
        "/auth/verify?team=sesame",
        "/auth/verify/sesame",
        "/auth/verify/envoy/sesame",
        "/api/sesame",
        "/assets/sesame",
        "/healthz",
        "/readyz",
        "/sso/callback?state=sesame&code=sesame",
        "/sso/frontchannel-logout?sid=sesame",
        "/.well-known/jwks.json",
    ] {
        browser.get(service.at(path)).await;
        browser.get_json(service.at(path)).await;
        let odd = browser.request(Method::from_bytes(b"SESAME").unwrap(), service.at(path));
        browser.send(odd.header("X-Request-Id", "sesame-sesame").header("X-Original-URL", "https://sesame")).await;
    }
    browser.get(callback).await;
    let refused = Fault::Entra(EntraError::new("sesame", 50_105, "sesame alice.arden@contoso-sim.example"));
    world.simulator.fault(FaultRule::on(Endpoint::Authorize, refused));
    world.try_sign_in(&service, alice).await;
    world.simulator.clear_faults();
    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::status(403)));
    world.sign_in(&service, alice).await;

    let text = watch.read().await.text;
    secrets.are_not_in("/metrics", &text);
    no_address_is_in("/metrics", &text);
    let lower = text.to_lowercase();
    assert!(!lower.contains("sesame"), "it contains outside input: {text}");
}
