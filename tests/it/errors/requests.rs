//! Requests that no route handles, and request IDs.

use entraway::config::Config;
use reqwest::Method;
use reqwest::header::ACCEPT;
use uuid::Uuid;

use super::{shown, tells_nothing, words};
use crate::support::{Browser, World};

#[tokio::test]
async fn unknown_path_is_not_found() {
    let world = World::new().await;
    let service = world.service().await;
    for path in ["/nothing", "/sso/", "/sso/login/", "/assets/nothing.css", "/assets/../Cargo.toml", "/metrics", "//"] {
        shown(&world, (404, "not_found"), async || (Browser::new(), service.at(path))).await;
    }
    let answer = Browser::new().get(service.at("/api/nothing")).await;
    assert_eq!(answer.headers["content-type"], "application/problem+json", "below /api/ everything is JSON");
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn wrong_method_is_not_allowed() {
    let world = World::new().await;
    let service = world.service().await;
    shown(&world, (405, "method_not_allowed"), async || (Browser::new(), service.at("/sso/logout"))).await;
    for path in ["/", "/sso/login", "/sso/callback", "/api/me", "/healthz", "/assets/entraway.css"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE] {
            let mut browser = Browser::new();
            let answer = browser.send(browser.request(method.clone(), service.at(path))).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (405, "method_not_allowed"),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn cross_site_post_is_rejected_as_page_or_json() {
    let world = World::new().await;
    let service = world.service().await;
    for (accept, kind) in [("text/html", "text/html; charset=utf-8"), ("application/json", "application/problem+json")]
    {
        let mut browser = Browser::new();
        let request = browser.request(Method::POST, service.at("/sso/logout")).header(ACCEPT, accept);
        let answer = browser.send(request.header("Sec-Fetch-Site", "cross-site")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "cross_origin"));
        assert_eq!(answer.headers["content-type"], kind);
        tells_nothing(&world, &answer);
        super::headers::are_safe(&answer, "cross_origin");
    }
}

#[tokio::test]
async fn accept_header_selects_page_or_json() {
    let world = World::new().await;
    let service = world.service().await;
    for (accept, json) in [
        ("text/html,application/xhtml+xml,*/*;q=0.8", false),
        ("*/*", false),
        ("", false),
        ("rubbish", false),
        ("text/html, application/json", false),
        ("application/json", true),
        ("application/json, text/plain, */*", true),
        ("application/problem+json", true),
    ] {
        let mut browser = Browser::new();
        let request = browser.request(Method::GET, service.at("/nothing")).header(ACCEPT, accept);
        let answer = browser.send(request).await;
        let kind = if json { "application/problem+json" } else { "text/html; charset=utf-8" };
        assert_eq!(answer.headers["content-type"], kind, "Accept: {accept}");
        assert_eq!(answer.status, 404, "Accept: {accept}");
    }
}

fn trusting(networks: &[&str]) -> impl FnOnce(&mut Config) {
    let networks: Vec<_> = networks.iter().map(|text| text.parse().unwrap()).collect();
    move |config| config.server.trusted_proxies = networks
}

/// Sends a request with this ID; returns the ID in the response's header and on its page.
async fn id_of(service: &crate::support::Service, id: &str) -> String {
    let mut browser = Browser::new();
    let request = browser.request(Method::GET, service.at("/nothing")).header("X-Request-Id", id);
    let answer = browser.send(request.header("X-Forwarded-For", "203.0.113.7")).await;
    let given = answer.headers["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(words(&answer).request_id, given, "the page shows the ID of the header");
    assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1, "one id");
    given
}

#[tokio::test]
async fn request_id_is_accepted_only_from_a_trusted_proxy() {
    let world = World::new().await;
    let theirs = "proxy-0123456789.abc:1";
    for networks in [&[][..], &["10.0.0.0/8", "203.0.113.0/24"]] {
        let service = world.service_with(trusting(networks)).await;
        let given = id_of(&service, theirs).await;
        assert!(Uuid::parse_str(&given).is_ok(), "from an untrusted peer {theirs} became {given}");
        assert_ne!(given, id_of(&service, theirs).await, "each request has its own ID");
    }
    let service = world.service_with(trusting(&["127.0.0.0/8"])).await;
    assert_eq!(id_of(&service, theirs).await, theirs);
    let mut browser = Browser::new();
    let twice = browser.request(Method::GET, service.at("/nothing")).header("X-Request-Id", "from-the-client");
    let answer = browser.send(twice.header("X-Request-Id", theirs)).await;
    let given = answer.headers["x-request-id"].to_str().unwrap();
    assert!(Uuid::parse_str(given).is_ok(), "one of the two IDs may be the client's: {given}");
    let long = "x".repeat(65);
    for odd in ["short", "with a blank", "<script>alert(1)</script>", "a\"b'c&d<e>", "ümläute-0123456789", "", &long]
    {
        let given = id_of(&service, odd).await;
        assert!(Uuid::parse_str(&given).is_ok(), "{odd:?} from a trusted proxy became {given}");
    }
}
