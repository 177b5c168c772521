//! Entra's discovery document and JWKS: an invalid one counts as unavailable.

use entra_simulator::{Endpoint, Fault, FaultRule};
use entraway::config::Tenant;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::check::{assert_told, check};
use crate::cli::program::{CONFIG, environment};
use crate::support::{Browser, World};

async fn document(world: &World) -> Value {
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    let path = format!("/{tenant}/v2.0/.well-known/openid-configuration");
    let url = world.simulator.authority_url().join(&path).unwrap();
    Browser::new().get(url).await.json()
}

fn answer(world: &World, endpoint: Endpoint, body: Value) {
    world.simulator.clear_faults();
    world.simulator.fault(FaultRule::on(endpoint, Fault::Status { status: 200, retry_after: None, body: Some(body) }));
}

#[tokio::test]
async fn foreign_discovery_document_blocks_signin() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let good = document(&world).await;
    let issuer = good["issuer"].as_str().unwrap().to_owned();
    let other =
        issuer.replace(&world.simulator.edit(|directory| directory.tenant_id.to_string()), &Uuid::new_v4().to_string());
    let authority = world.simulator.authority_url();
    let cases: Vec<(&str, Value)> = vec![
        ("issuer", json!("https://login.evil.example/common/v2.0")),
        ("issuer", json!(other)),
        ("issuer", json!(format!("{issuer}/"))),
        ("issuer", json!(issuer.replace("/v2.0", ""))),
        ("issuer", json!(format!("{authority}{{tenantid}}/v2.0"))),
        ("issuer", Value::Null),
        ("token_endpoint", json!("http://evil.example/token")),
        ("authorization_endpoint", json!("http://evil.example/authorize")),
        ("authorization_endpoint", json!("javascript:alert(1)")),
        ("jwks_uri", json!("http://evil.example/keys")),
        ("jwks_uri", json!("file:///etc/passwd")),
        ("end_session_endpoint", json!("http://evil.example/logout")),
        ("token_endpoint", json!("not an address")),
        // HTTPS but another host, which would receive the app's credential, the codes and the browsers.
        ("token_endpoint", json!("https://evil.example/token")),
        ("authorization_endpoint", json!("https://evil.example/authorize")),
        ("jwks_uri", json!("https://evil.example/keys")),
        ("end_session_endpoint", json!("https://evil.example/logout")),
        // Another port.
        ("end_session_endpoint", json!("http://127.0.0.1:1/logout")),
    ];
    for (name, value) in cases {
        let mut document = good.clone();
        document[name] = value.clone();
        answer(&world, Endpoint::Discovery, document);
        let mut browser = Browser::new();
        let answer = browser.get(service.at("/sso/login")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "entra_unavailable"), "{name} is {value}");
        assert!(browser.cookies.is_empty(), "{name} is {value}: no sign-in was started");
        // Results are shared for a second.
        world.clock.advance(chrono::TimeDelta::seconds(1));
        let ready = browser.get(service.at("/readyz")).await;
        assert_eq!(ready.status, 503, "{name} is {value}");
        assert_eq!(ready.json()["entra"], "failing", "{name} is {value}");
    }
    world.simulator.clear_faults();
    world.sign_in(&service, alice).await;
}

#[tokio::test]
async fn check_names_origin_of_foreign_discovery_endpoint() {
    let world = World::new().await;
    let mut document = document(&world).await;
    document["jwks_uri"] = json!("https://keys.evil.example/a-path?with=query");
    answer(&world, Endpoint::Discovery, document);
    let ended = check(&world, CONFIG, &environment(&world)).await;
    let authority = world.simulator.authority_url().origin().ascii_serialization();
    let found = format!("names a jwks_uri on https://keys.evil.example, not on the login host {authority} (");
    assert_told(&ended, "FAIL", "Entra", &found, "set entra.authority_url");
    assert!(!ended.all().contains("a-path"), "an origin and no more: {ended:?}");
}

#[tokio::test]
async fn open_endpoint_requires_the_issuer_template() {
    let world = World::new().await;
    world.alice();
    let home = world.simulator.edit(|directory| directory.tenant_id);
    let service = world
        .service_with(|config| {
            config.entra.tenant = Tenant::Organizations;
            config.entra.allowed_tenants.insert(home.as_uuid().into());
        })
        .await;
    let of_one_tenant = document(&world).await;
    answer(&world, Endpoint::Discovery, of_one_tenant);
    let answer = Browser::new().get(service.at("/sso/login")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "entra_unavailable"));
}

#[tokio::test]
async fn signin_is_blocked_without_a_usable_key() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    for keys in [
        json!({ "keys": [] }),
        json!({ "keys": "none" }),
        json!({}),
        json!([]),
        json!({ "keys": [{ "kty": "unheard-of", "kid": "x" }, {}, 7] }),
    ] {
        answer(&world, Endpoint::Keys, keys.clone());
        let answer = Browser::new().get(service.at("/sso/login")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "entra_unavailable"), "{keys}");
    }
    for fault in [Fault::Html, Fault::MalformedJson, Fault::CutBody, Fault::status(500), Fault::status(302)] {
        for endpoint in [Endpoint::Discovery, Endpoint::Keys] {
            world.simulator.clear_faults();
            world.simulator.fault(FaultRule::on(endpoint, fault.clone()));
            let answer = Browser::new().get(service.at("/sso/login")).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "entra_unavailable"), "{fault:?}");
            assert!(answer.headers.contains_key("retry-after"), "{fault:?} at {endpoint:?}");
        }
    }
    world.simulator.clear_faults();
    world.sign_in(&service, alice).await;
}
