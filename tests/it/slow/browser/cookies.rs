//! Cookies planted in a real browser by a sibling host and by a plain-http page.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use reqwest::StatusCode;
use reqwest::header::{HeaderValue, SET_COOKIE};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::scene::pick;
use super::webdriver::WebDriver;
use crate::slow::proxies::{Scene, nginx};

/// White space that browsers keep in cookie names. `char::is_whitespace` matches it.
const SPACES: [&str; 3] = ["\u{2000}", "\u{a0}", "\u{3000}"];

/// A plain-http server that sets a session token under names similar to ours.
struct Planter {
    port: u16,
    _stop: DropGuard,
}

impl Planter {
    async fn start(token: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let app = Router::new().fallback(plant).with_state(token);
        let serving = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(async move { serving.await.unwrap() });
        Self { port, _stop: stop.drop_guard() }
    }
}

async fn plant(State(token): State<String>, request: Request) -> Response {
    let scope = match request.uri().path() {
        "/domain" => "; Domain=example.com",
        "/host" => "",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let mut response = "planted".into_response();
    for space in SPACES {
        // The cookie with the longer path comes first in the `Cookie` header.
        for path in ["/", "/api"] {
            let cookie = format!("{space}__Host-entraway={token}{scope}; Path={path}");
            response.headers_mut().append(SET_COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
        }
        // Browsers refuse this name without https.
        let refused = HeaderValue::from_bytes(format!("__Host-entraway={token}; Path=/").as_bytes()).unwrap();
        response.headers_mut().append(SET_COOKIE, refused);
    }
    response
}

/// Number of cookies with names that end in ours, and number with exactly our name.
async fn held(browser: &WebDriver) -> (usize, usize) {
    let all = browser.devtools("Storage.getCookies", json!({})).await;
    let names = || all["cookies"].as_array().unwrap().iter().map(|cookie| cookie["name"].as_str().unwrap());
    let like = names().filter(|name| name.ends_with("__Host-entraway")).count();
    (like, names().filter(|name| *name == "__Host-entraway").count())
}

/// The response of `/api/me` in this browser.
async fn me(browser: &WebDriver) -> Value {
    browser.go("https://sso.example.com/api/me").await;
    serde_json::from_str(&browser.text_of("//pre").await).unwrap_or_else(|error| panic!("{error}: not JSON"))
}

#[tokio::test]
async fn planted_cookies_neither_sign_in_nor_lock_out() {
    let scene = Scene::with(|config| {
        config.session.cookie_domain = None;
        config.return_hosts.clear();
    });
    let scene = scene.await;
    let eve = scene.world.simulator.edit(|directory| directory.person("Eve", |_| {}));
    let token = scene.world.sign_in(&scene.service, eve).await.cookies["__Host-entraway"].clone();
    let (planter, proxy) = (Planter::start(token).await, nginx::start(&scene, |text| text).await);
    let rules = [
        format!("MAP sso.example.com:443 127.0.0.1:{}", proxy.port),
        format!("MAP sso.example.com:80 127.0.0.1:{}", planter.port),
        format!("MAP sibling.example.com:80 127.0.0.1:{}", planter.port),
    ];
    let rules = format!("--host-resolver-rules={}", rules.join(", "));
    let browser =
        WebDriver::start_with(&[&rules, "--ignore-certificate-errors", "--disable-features=HttpsUpgrades"]).await;

    for url in ["http://sibling.example.com/domain", "http://sso.example.com/host"] {
        browser.go(url).await;
        browser.until_text("planted").await;
    }
    assert_eq!(held(&browser).await, (4 * SPACES.len(), 0), "the browser accepts the similar names only");
    assert_eq!(me(&browser).await["code"], "not_signed_in", "the planted cookies do not sign in");

    browser.go("https://sso.example.com/").await;
    browser.click("//a[contains(., 'Sign in with Microsoft')]").await;
    pick(&browser, "Alice Arden").await;
    browser.until_text("Last sync").await;
    assert_eq!(held(&browser).await, (4 * SPACES.len() + 1, 1));
    assert_eq!(me(&browser).await["user"]["user_id"], scene.alice.to_string());

    browser.go("http://sibling.example.com/domain").await;
    browser.until_text("planted").await;
    assert_eq!(me(&browser).await["user"]["user_id"], scene.alice.to_string(), "Alice is not locked out");
    browser.quit().await;
}
