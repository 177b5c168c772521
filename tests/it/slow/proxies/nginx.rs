//! docs/how-to/proxies/nginx.md with a real nginx.

use reqwest::StatusCode;

use super::recipe::{Proxy, Workplace, authority, recipe};
use super::upstream::Upstream;
use super::{Scene, asserting, binds_assertions_to_their_upstream, guards, lets_only_the_team_pass};

pub(crate) async fn start(scene: &Scene, change: impl Fn(String) -> String) -> Proxy {
    let place = Workplace::new();
    let (certificate, key) = place.certificate();
    let text = recipe("docs/how-to/proxies/nginx.md", "nginx")
        .replace("/etc/nginx/tls/example.com.pem", &certificate)
        .replace("/etc/nginx/tls/example.com.key", &key)
        .replace("http://entraway:8080", &format!("http://{}", scene.entraway()))
        .replace("http://app:3000", &format!("http://{}", authority(&scene.upstream.url)));
    let text = change(text);
    let folder = place.path().display().to_string();
    Proxy::start(place, |place, port| {
        let servers = text.replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port} ssl;"));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("    {what}_temp_path {folder}/{what};\n"))
            .concat();
        // The rest of nginx.conf, for a single foreground process.
        let whole = format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\n    \
             access_log off;\n{temporary}{servers}}}\n"
        );
        let file = place.file("nginx.conf", &whole);
        let program = if std::path::Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut command = std::process::Command::new(program);
        command.args(["-p", &folder, "-c", &file]);
        command
    })
    .await
}

#[tokio::test]
async fn nginx_recipe_admits_only_signed_in_users() {
    let scene = Scene::new().await;
    let proxy = start(&scene, |text| text).await;
    guards(&scene, &proxy).await;
}

#[tokio::test]
async fn nginx_upstreams_cannot_replay_assertions() {
    let scene = Scene::with(asserting).await;
    let other = Upstream::start().await;
    let proxy = start(&scene, |text| {
        // Duplicates the application's server for the second application.
        let at = text.rfind("server {").unwrap();
        let second = text[at..].replace("app.example.com", "other.example.com");
        let second = second.replace(&authority(&scene.upstream.url), &authority(&other.url));
        format!("{text}{second}")
    });
    binds_assertions_to_their_upstream(&scene, &other, &proxy.await).await;
}

#[tokio::test]
async fn nginx_team_requirement_admits_only_that_team() {
    let scene = Scene::new().await;
    for (team, expected) in [(scene.group.to_string(), StatusCode::OK), ("another".to_owned(), StatusCode::FORBIDDEN)] {
        let narrowed = |text: String| text.replace("/auth/verify;", &format!("/auth/verify?team={team};"));
        let proxy = start(&scene, narrowed).await;
        lets_only_the_team_pass(&scene, &proxy, expected).await;
    }
}
