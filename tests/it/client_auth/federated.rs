//! The app authenticates with a token of another identity provider, which is in a file.

use std::fs;

use chrono::TimeDelta;
use entra_simulator::Issuer;
use entraway::config::ClientAuth;

use super::Scene;

const CLUSTER: &str = "https://oidc.cluster.example/";
const SUBJECT: &str = "system:serviceaccount:sso:entraway";

/// A scene whose app registration trusts the cluster, with a valid token in the file.
async fn scene() -> (Scene, Issuer) {
    let scene = Scene::new().await;
    let cluster = Issuer::new(CLUSTER);
    scene.world.simulator.edit(|directory| directory.federated_credentials.push(cluster.credential(SUBJECT)));
    scene.write(&cluster.token(SUBJECT, Issuer::AUDIENCE, now(&scene)));
    (scene, cluster)
}

fn now(scene: &Scene) -> i64 {
    scene.world.clock.now().timestamp()
}

#[tokio::test]
async fn federated_token_redeems_code_and_gets_app_token() {
    let (scene, cluster) = scene().await;
    let token = cluster.token(SUBJECT, Issuer::AUDIENCE, now(&scene));
    for content in [token.clone(), format!("{token}\n")] {
        scene.write(&content);
        let service = scene.service(ClientAuth::FederatedToken).await;
        scene.signs_in(&service).await;
        assert_eq!(scene.assertions(), [token.clone(), token.clone()], "only the file's content");
    }
}

#[tokio::test]
async fn federated_token_file_is_read_at_each_use() {
    let (scene, cluster) = scene().await;
    let service = scene.service(ClientAuth::FederatedToken).await;
    scene.signs_in(&service).await;
    scene.sent();
    scene.world.clock.advance(TimeDelta::hours(2));
    scene.refuses(&service, "app_refused", "a token that has expired").await;
    scene.sent();

    let rotated = cluster.token(SUBJECT, Issuer::AUDIENCE, now(&scene));
    scene.write(&rotated);
    scene.signs_in(&service).await;
    assert_eq!(scene.assertions(), [rotated.clone(), rotated], "the new one, for the code and for the app-only token");
}

#[tokio::test]
async fn untrusted_federated_token_is_an_operator_error() {
    let (scene, cluster) = scene().await;
    let service = scene.service(ClientAuth::FederatedToken).await;
    let now = now(&scene);
    let stranger = Issuer::new(CLUSTER);
    for (how, token) in [
        ("another subject", cluster.token("system:serviceaccount:sso:other", Issuer::AUDIENCE, now)),
        ("another audience", cluster.token(SUBJECT, "https://kubernetes.default.svc", now)),
        ("another issuer", Issuer::new("https://oidc.other.example/").token(SUBJECT, Issuer::AUDIENCE, now)),
        ("another key", stranger.token(SUBJECT, Issuer::AUDIENCE, now)),
        ("not yet good", cluster.token(SUBJECT, Issuer::AUDIENCE, now + 3600)),
    ] {
        scene.write(&token);
        scene.refuses(&service, "app_refused", how).await;
    }
}

#[tokio::test]
async fn missing_federated_token_file_is_used_again_after_repair() {
    let (scene, cluster) = scene().await;
    let service = scene.service(ClientAuth::FederatedToken).await;
    for content in ["", "no token", "a.b"] {
        scene.write(content);
        scene.refuses(&service, "credential_unusable", content).await;
    }
    fs::remove_file(scene.folder.path().join("credential")).unwrap();
    scene.refuses(&service, "credential_unusable", "no file").await;
    assert_eq!(scene.sent().len(), 0, "no request to Entra");

    scene.write(&cluster.token(SUBJECT, Issuer::AUDIENCE, now(&scene)));
    scene.signs_in(&service).await;
}
