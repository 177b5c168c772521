//! docs/how-to/proxies/caddy.md with a real Caddy.

use reqwest::StatusCode;

use super::client::Client;
use super::recipe::{Proxy, Workplace, authority, recipe};
use super::upstream::Upstream;
use super::{SSO, Scene, asserting, binds_assertions_to_their_upstream, guards, lets_only_the_team_pass};
use crate::docs::markdown::root;

async fn start(scene: &Scene, change: impl Fn(String) -> String) -> Proxy {
    let text = recipe("docs/how-to/proxies/caddy.md", "caddyfile").replace("app:3000", &authority(&scene.upstream.url));
    run(scene, &change(text)).await
}

/// Runs a Caddyfile in front of the scene's Entraway.
async fn run(scene: &Scene, text: &str) -> Proxy {
    let text = text.replace("entraway:8080", &scene.entraway());
    Proxy::start(Workplace::new(), |place, port| {
        let folder = place.path().display().to_string();
        // Self-signed certificates, a test port, and all files in the folder.
        let global = format!(
            "{{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n\t\
             default_bind 127.0.0.1\n\thttps_port {port}\n\tstorage file_system {folder}/storage\n}}\n"
        );
        let file = place.file("Caddyfile", &format!("{global}{text}"));
        let mut command = std::process::Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config", &file]);
        command
            .env("SSO_HOST", "sso.example.com")
            .env("HOME", &folder)
            .env("XDG_DATA_HOME", &folder)
            .env("XDG_CONFIG_HOME", &folder);
        command
    })
    .await
}

#[tokio::test]
async fn caddy_recipe_admits_only_signed_in_users() {
    let scene = Scene::new().await;
    let proxy = start(&scene, |text| text).await;
    guards(&scene, &proxy).await;
}

#[tokio::test]
async fn compose_caddyfile_supports_signin_over_tls() {
    let scene = Scene::new().await;
    let ours = std::fs::read_to_string(root().join("deploy/compose/Caddyfile")).unwrap();
    // The test client waits for an application host, too.
    let proxy = run(&scene, &format!("{ours}\napp.example.com {{\n\trespond 204\n}}\n")).await;
    let mut client = Client::new(proxy.port);
    let entra = client.page(&format!("{SSO}/sso/login")).await;
    assert_eq!(entra.status, StatusCode::SEE_OTHER, "{entra:#?}\n{}", proxy.log());
    let callback = client.pick(&scene.world.simulator, &entra.location(), scene.alice).await;
    let back = client.page(callback.as_str()).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "{back:#?}\n{}", proxy.log());
    let me = client.page(&format!("{SSO}/api/me")).await;
    assert_eq!(me.json()["user"]["user_id"], scene.alice.to_string(), "{me:#?}");
}

#[tokio::test]
async fn caddy_upstreams_cannot_replay_assertions() {
    let scene = Scene::with(asserting).await;
    let other = Upstream::start().await;
    let proxy = start(&scene, |text| {
        let at = text.find("app.example.com {").unwrap();
        let second = text[at..].replace("app.example.com", "other.example.com");
        let second = second.replace(&authority(&scene.upstream.url), &authority(&other.url));
        format!("{text}{second}")
    });
    binds_assertions_to_their_upstream(&scene, &other, &proxy.await).await;
}

#[tokio::test]
async fn caddy_team_requirement_admits_only_that_team() {
    let scene = Scene::new().await;
    for (team, expected) in [(scene.group.to_string(), StatusCode::OK), ("another".to_owned(), StatusCode::FORBIDDEN)] {
        let narrowed = |text: String| text.replace("uri /auth/verify?", &format!("uri /auth/verify?team={team}"));
        let proxy = start(&scene, narrowed).await;
        lets_only_the_team_pass(&scene, &proxy, expected).await;
    }
}
