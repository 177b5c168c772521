//! The app authenticates with a certificate.

use std::fs;

use chrono::TimeDelta;
use entraway::config::ClientAuth;
use entraway::http::server::ConnectionTimeouts;
use entraway::util::clock::Clock;
use serde_json::json;
use uuid::Uuid;

use super::{Scene, decoded};
use crate::support::{Certified, World, tenants};

/// A scene with this certificate in the app registration.
async fn scene(certificate: &Certified) -> Scene {
    let scene = Scene::new().await;
    scene.world.simulator.edit(|directory| directory.certificates.push(certificate.der.clone()));
    scene.write(&certificate.pem());
    scene
}

#[tokio::test]
async fn certificate_redeems_code_and_gets_app_token() {
    let certificate = Certified::for_days(90);
    let scene = scene(&certificate).await;
    let service = scene.service(ClientAuth::Certificate).await;
    scene.signs_in(&service).await;

    let (client_id, tenant) =
        scene.world.simulator.edit(|directory| (directory.client_id.clone(), directory.tenant_id));
    let endpoint = scene.world.simulator.authority_url().join(&format!("/{tenant}/oauth2/v2.0/token")).unwrap();
    let assertions = scene.assertions();
    assert_eq!(assertions.len(), 2, "one for the code, one for the app-only token");
    let mut ids = Vec::new();
    for assertion in &assertions {
        let (header, claims) = decoded(assertion);
        assert_eq!(header, json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": certificate.sha256() }));
        assert_eq!(
            (&claims["aud"], &claims["iss"], &claims["sub"]),
            (&json!(endpoint), &json!(client_id), &json!(client_id))
        );
        let time = |name: &str| claims[name].as_i64().unwrap();
        let good_for = time("exp") - time("nbf");
        assert!((300..=600).contains(&good_for), "five to ten minutes, not {good_for} seconds");
        assert!(time("nbf") < time("iat") && time("iat") < time("exp"), "{claims}");
        ids.push(claims["jti"].as_str().unwrap().parse::<Uuid>().unwrap());
    }
    assert_ne!(ids[0], ids[1], "each has its own ID");
}

#[tokio::test]
async fn certificate_works_with_the_organizations_endpoint() {
    let certificate = Certified::for_days(90);
    let scene = scene(&certificate).await;
    let tenant = scene.world.simulator.edit(|directory| directory.tenant_id);
    let path = scene.folder.path().join("credential");
    let change = |config: &mut entraway::config::Config| {
        config.entra.client_auth = ClientAuth::Certificate(path);
        config.entra.tenant = entraway::config::Tenant::Organizations;
        config.entra.allowed_tenants = tenants([tenant]);
    };
    let service = scene.world.service_with(change).await;
    scene.signs_in(&service).await;
    let audience = |assertion: &String| decoded(assertion).1["aud"].as_str().unwrap().to_owned();
    let audiences: Vec<String> = scene.assertions().iter().map(audience).collect();
    let endpoint = |tenant: &str| format!("{}{tenant}/oauth2/v2.0/token", scene.world.simulator.authority_url());
    assert_eq!(audiences, [endpoint("organizations"), endpoint(&tenant.to_string())], "the called endpoint");
}

#[tokio::test]
async fn renewed_certificate_is_used_without_a_restart() {
    let (old, new) = (Certified::for_days(3), Certified::for_days(90));
    let scene = scene(&old).await;
    let service = scene.service(ClientAuth::Certificate).await;
    scene.signs_in(&service).await;

    scene.world.simulator.edit(|directory| directory.certificates = vec![new.der.clone()]);
    scene.refuses(&service, "app_refused", "the old one was taken out of the app registration").await;
    scene.sent();

    scene.write(&new.pem());
    scene.signs_in(&service).await;
    for assertion in scene.assertions() {
        assert_eq!(decoded(&assertion).0["x5t#S256"], new.sha256());
    }
}

#[tokio::test]
async fn unknown_or_expired_certificate_is_rejected() {
    let certificate = Certified::for_days(90);
    let scene = scene(&certificate).await;
    let service = scene.service(ClientAuth::Certificate).await;
    scene.write(&Certified::for_days(90).pem());
    scene.refuses(&service, "app_refused", "a certificate of another app").await;

    let ended = Certified::for_days(-1);
    scene.world.simulator.edit(|directory| directory.certificates.push(ended.der.clone()));
    scene.write(&ended.pem());
    scene.refuses(&service, "app_refused", "a certificate that ended yesterday").await;

    scene.write(&certificate.pem());
    scene.signs_in(&service).await;
}

#[tokio::test]
async fn broken_certificate_file_is_used_again_after_repair() {
    let certificate = Certified::for_days(90);
    let scene = scene(&certificate).await;
    let service = scene.service(ClientAuth::Certificate).await;
    let pem = certificate.pem();
    for (how, content) in [("half of it", &pem[..pem.len() / 2]), ("nothing", ""), ("something else", "S3cret")] {
        scene.write(content);
        scene.refuses(&service, "credential_unusable", how).await;
        assert_eq!(scene.sent().len(), 0, "{how}: no request to Entra");
    }
    fs::remove_file(scene.folder.path().join("credential")).unwrap();
    scene.refuses(&service, "credential_unusable", "no file").await;

    scene.write(&pem);
    scene.signs_in(&service).await;
}

#[tokio::test]
async fn certificate_auth_tolerates_only_minutes_of_clock_skew() {
    let certificate = Certified::for_days(90);
    for (minutes, good) in [(-4, true), (4, true), (-60, false), (60, false)] {
        let scene = scene(&certificate).await;
        let clock = Clock::system();
        clock.advance(TimeDelta::minutes(minutes));
        let mut config = scene.world.config();
        config.entra.client_auth = ClientAuth::Certificate(scene.folder.path().join("credential"));
        let service = World::service_at(config, clock, ConnectionTimeouts::default()).await;
        if good {
            scene.signs_in(&service).await;
        } else {
            scene.refuses(&service, "app_refused", &format!("{minutes} minutes off")).await;
        }
    }
}
