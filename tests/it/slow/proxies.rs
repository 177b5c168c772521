//! The recipes of docs/how-to/proxies, run unchanged with the real proxies: users sign in through them, and the
//! application receives only Entraway's identity headers, never the client's.

mod caddy;
mod client;
pub(crate) mod nginx;
pub(crate) mod recipe;
mod upstream;

use std::collections::BTreeMap;
use std::time::Duration;

use entra_simulator::{GroupId, ObjectId};
use entraway::config::{Assertion, Config};
use reqwest::{Method, StatusCode};

use crate::forward_auth::assertion::keys;
use crate::forward_auth::upstream_check::verify;
use crate::support::{Service, World};
use client::Client;
use recipe::Proxy;
use upstream::Upstream;

/// Hosts of the recipes.
const SSO: &str = "https://sso.example.com";
const APP: &str = "https://app.example.com";
/// The second application of recipes for two.
const OTHER: &str = "https://other.example.com";

/// The environment of a proxy: a world, Entraway, and an application that records requests.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) service: Service,
    upstream: Upstream,
    pub(crate) alice: ObjectId,
    group: GroupId,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let world = World::new().await;
        let (alice, group) = world.alice();
        let service = world
            .service_with(|config| {
                config.server.public_url = SSO.parse().unwrap();
                config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
                config.return_hosts.insert("app.example.com".to_owned());
                config.session.cookie_domain = Some("example.com".to_owned());
                change(config);
            })
            .await;
        Self { upstream: Upstream::start().await, world, service, alice, group }
    }

    fn entraway(&self) -> String {
        recipe::authority(&self.service.at("/"))
    }
}

/// Signs in through the proxy, starting at a page of the application. Returns the browser and the final URL.
async fn signs_in(scene: &Scene, proxy: &Proxy, page: &str) -> (Client, String) {
    let mut client = Client::new(proxy.port);
    let begun = client.page(page).await;
    assert_eq!(begun.status, StatusCode::FOUND, "the page redirects to the sign-in: {begun:#?}\n{}", proxy.log());
    assert_eq!(begun.location().origin().ascii_serialization(), SSO);
    let entra = client.page(begun.location().as_str()).await;
    assert_eq!(entra.status, StatusCode::SEE_OTHER, "{entra:#?}\n{}", proxy.log());
    let callback = client.pick(&scene.world.simulator, &entra.location(), scene.alice).await;
    let back = client.page(callback.as_str()).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "{back:#?}\n{}", proxy.log());
    let to = back.location().to_string();
    (client, to)
}

/// Identity headers that reached the application, by name. Duplicates are kept.
fn identity(reached: &[(String, String)]) -> BTreeMap<String, Vec<String>> {
    let mut identity: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in reached {
        // CGI-style frameworks map both spellings to the same variable.
        let name = name.to_ascii_lowercase().replace('_', "-");
        if name.starts_with("x-auth-request") {
            identity.entry(name).or_default().push(value.clone());
        }
    }
    identity.retain(|_, values| values.iter().any(|value| !value.is_empty()));
    identity
}

/// Forged identity headers.
const CLAIMS: &[(&str, &str)] = &[
    ("X-Auth-Request-User", "evil"),
    ("x-auth-request-user", "evil"),
    ("X-AUTH-REQUEST-ROLE", "proxy_admin"),
    ("X_Auth_Request_User", "evil"),
    ("X_AUTH_REQUEST_ROLE", "proxy_admin"),
    ("X-Auth_Request-Role", "proxy_admin"),
    ("X_Auth-Request_Teams", "evil"),
    ("X-Auth-Request_Role", "proxy_admin"),
    ("X-Auth-Request-Teams", "evil"),
    ("X-Auth-Request-Teams-Truncated", "7"),
    ("X-Auth-Request-Organizations", "evil"),
    ("X-Auth-Request-Organizations-Truncated", "7"),
    ("X-Auth-Request-Email", "evil@evil.example"),
    ("X-Auth-Request-Name", "Evil"),
    ("X-Auth-Request-Assertion", "e30.e30.e30"),
];

#[test]
fn documented_upstream_check_is_the_tested_code() {
    let shown = recipe::recipe("docs/reference/forward-auth.md", "rust");
    let tested = include_str!("../forward_auth/upstream_check.rs");
    assert!(tested.contains(shown.trim_end()), "docs/reference/forward-auth.md differs from the tested code:\n{shown}");
}

/// The complete suite for one proxy.
async fn guards(scene: &Scene, proxy: &Proxy) {
    comes_back_to_where_it_was_going(scene, proxy).await;
    nobody_gets_in_without_a_session(scene, proxy).await;
    nothing_of_a_clients_own_gets_through(scene, proxy).await;
    a_sign_out_ends_it(scene, proxy).await;
}

async fn comes_back_to_where_it_was_going(scene: &Scene, proxy: &Proxy) {
    let page = format!("{APP}/reports?q=a%20b&to=https://evil.example/&x=1");
    let (mut client, to) = signs_in(scene, proxy, &page).await;
    assert_eq!(to, page, "the sign-in leads back to the page");
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        let answer = client.send(method.clone(), &page, &[("accept", "*/*")]).await;
        assert_eq!(answer.status, StatusCode::OK, "{method}: {answer:#?}\n{}", proxy.log());
        let reached = scene.upstream.last();
        assert_eq!((reached.method.as_str(), reached.path.as_str()), (method.as_str(), "/reports"));
        let group = scene.group.to_string();
        let expected = [
            ("x-auth-request-email", "alice.arden@contoso-sim.example"),
            ("x-auth-request-name", "Alice%20Arden"),
            ("x-auth-request-organizations", &group),
            ("x-auth-request-role", "internal_user"),
            ("x-auth-request-teams", &group),
            ("x-auth-request-user", &scene.alice.to_string()),
        ];
        let expected: BTreeMap<String, Vec<String>> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        assert_eq!(identity(&reached.headers), expected, "{method}: identity headers at the application");
    }
}

async fn nobody_gets_in_without_a_session(scene: &Scene, proxy: &Proxy) {
    let before = scene.upstream.count();
    let page = format!("{APP}/secret");
    for (what, expected, headers) in [
        ("a page", 302, vec![("accept", "text/html")]),
        ("a navigation", 302, vec![("sec-fetch-mode", "navigate")]),
        ("a script's request", 401, vec![("accept", "application/json")]),
        ("a script's request with fetch metadata", 401, vec![("accept", "text/html"), ("sec-fetch-mode", "cors")]),
        (
            "a script's request with X-Requested-With",
            401,
            vec![("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")],
        ),
        ("an unknown token", 401, vec![("cookie", "__Secure-entraway=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]),
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = Client::new(proxy.port).send(method.clone(), &page, &headers).await;
            assert_eq!(answer.status, expected, "{what} by {method}: {answer:#?}\n{}", proxy.log());
            let links = answer.body.matches("href=\"/").count();
            assert_eq!(
                links, 0,
                "a page of Entraway on the application's host must not use relative links: {}",
                answer.body
            );
        }
    }
    // The client cannot choose the destination of the sign-in.
    let lies = [
        ("accept", "text/html"),
        ("x-original-url", "https://evil.example/"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-uri", "//evil.example/"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "host=evil.example;proto=https"),
    ];
    let answer = Client::new(proxy.port).send(Method::GET, &page, &lies).await;
    let to = answer.location();
    assert_eq!(to.as_str(), format!("{SSO}/sso/login?return_to=https%3A%2F%2Fapp.example.com%2Fsecret"));
    assert_eq!(scene.upstream.count(), before, "a request reached the application");
}

async fn nothing_of_a_clients_own_gets_through(scene: &Scene, proxy: &Proxy) {
    let (mut client, page) = signs_in(scene, proxy, &format!("{APP}/x")).await;
    client.page(&page).await;
    let honest = identity(&scene.upstream.last().headers);
    assert_eq!(honest["x-auth-request-role"], ["internal_user"]);
    let before = scene.upstream.count();
    for claim in CLAIMS {
        let answer = client.send(Method::GET, &page, &[*claim]).await;
        assert_eq!(answer.status, StatusCode::OK, "{claim:?}: {answer:#?}\n{}", proxy.log());
        assert_eq!(identity(&scene.upstream.last().headers), honest, "{claim:?} changed the identity headers");
        let twice = [*claim, (claim.0, "another"), ("connection", claim.0)];
        let answer = client.send(Method::GET, &page, &twice).await;
        assert_eq!(answer.status, StatusCode::OK, "{claim:?} twice, with Connection: {answer:#?}\n{}", proxy.log());
        assert_eq!(identity(&scene.upstream.last().headers), honest, "{claim:?} twice, with Connection");
        let signed_out = Client::new(proxy.port).send(Method::GET, &page, &[*claim]).await;
        assert_eq!(signed_out.status, StatusCode::UNAUTHORIZED, "{claim:?} without a session: {signed_out:#?}");
    }
    assert!(scene.upstream.count() >= before + CLAIMS.len(), "each request reached the application");
}

async fn a_sign_out_ends_it(scene: &Scene, proxy: &Proxy) {
    let (mut client, page) = signs_in(scene, proxy, &format!("{APP}/x")).await;
    assert_eq!(client.page(&page).await.status, StatusCode::OK);
    let mut old = client.clone();
    let out = [("origin", SSO), ("sec-fetch-site", "same-origin")];
    let out = client.send(Method::POST, &format!("{SSO}/sso/logout"), &out).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER, "{out:#?}");
    assert_eq!(client.page(&page).await.status, StatusCode::FOUND, "the browser has to sign in again");
    assert_eq!(old.page(&page).await.status, StatusCode::FOUND, "and so does a copy of the cookie");
}

/// Enables assertions.
fn asserting(config: &mut Config) {
    let (audience, audiences) = (None, BTreeMap::new());
    config.session.assertion = Some(Assertion { audience, audiences, ttl: Duration::from_mins(1) });
}

/// With two applications, an assertion for one of them is rejected by the other.
async fn binds_assertions_to_their_upstream(scene: &Scene, other: &Upstream, proxy: &Proxy) {
    let (mut client, page) = signs_in(scene, proxy, &format!("{APP}/x")).await;
    let keys = keys(&scene.service).await;
    // A page of one application can make the browser send headers that name the other.
    let lies: [&[(&str, &str)]; 4] = [
        &[],
        &[("x-forwarded-host", "other.example.com"), ("x-forwarded-proto", "https"), ("x-forwarded-uri", "/x")],
        &[("x-original-url", "https://other.example.com/x"), ("forwarded", "host=other.example.com")],
        &[("x-original-url", "https://app.example.com/x"), ("x-forwarded-host", "app.example.com")],
    ];
    for lie in lies {
        for (url, upstream, own, not) in
            [(page.as_str(), &scene.upstream, APP, OTHER), (&format!("{OTHER}/x"), other, OTHER, APP)]
        {
            let answer = client.send(Method::GET, url, lie).await;
            assert_eq!(answer.status, StatusCode::OK, "{lie:?}: {answer:#?}\n{}", proxy.log());
            let assertion = identity(&upstream.last().headers)["x-auth-request-assertion"].join(", ");
            let claims = verify(&assertion, &format!("{SSO}/"), own, &keys);
            let claims = claims.unwrap_or_else(|error| panic!("{url} with {lie:?}: {error}"));
            assert_eq!((&claims["sub"], &claims["aud"]), (&scene.alice.to_string().into(), &own.into()));
            let replayed = verify(&assertion, &format!("{SSO}/"), not, &keys);
            replayed.expect_err("an assertion for another application");
        }
    }
}

/// A recipe with a team requirement, as its comment describes.
async fn lets_only_the_team_pass(scene: &Scene, proxy: &Proxy, expected: StatusCode) {
    let (mut client, page) = signs_in(scene, proxy, &format!("{APP}/x")).await;
    // The client's query belongs to the application and must not change the requirement.
    for query in [String::new(), format!("?team={}", scene.group), "?role=internal_user".to_owned()] {
        let before = scene.upstream.count();
        let answer = client.page(&format!("{page}{query}")).await;
        assert_eq!(answer.status, expected, "{query}: {answer:#?}\n{}", proxy.log());
        assert_eq!(
            scene.upstream.count() > before,
            expected == StatusCode::OK,
            "{query}: whether the request reached the application"
        );
    }
}
