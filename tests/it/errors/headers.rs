//! Security headers on every response.

use reqwest::Method;

use crate::support::{Answer, Browser, World};

/// Asserts that the response cannot be framed, cached or sniffed, and runs no script.
pub(crate) fn are_safe(answer: &Answer, what: &str) {
    keep_to_themselves(answer, what);
    assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
}

/// The same for cacheable responses.
pub(crate) fn keep_to_themselves(answer: &Answer, what: &str) {
    let header = |name: &str| {
        let value = answer.headers.get(name).unwrap_or_else(|| panic!("{what}: no {name} in {answer:#?}"));
        value.to_str().unwrap()
    };
    let policy = header("content-security-policy");
    assert_eq!(answer.headers.get_all("content-security-policy").iter().count(), 1, "{what}");
    for part in
        ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "style-src 'self'", "form-action 'self'"]
    {
        assert!(policy.contains(part), "{what}: {part} in {policy}");
    }
    for part in ["unsafe-inline", "unsafe-eval", "script-src", "*", "data:", "https:;"] {
        assert!(!policy.contains(part), "{what}: {part} in {policy}");
    }
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(header("x-frame-options"), "DENY", "{what}");
    assert_eq!(header("referrer-policy"), "same-origin", "{what}");
    assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{what}");
    let opener = answer.headers.get("cross-origin-opener-policy").map(|value| value.to_str().unwrap());
    let expected = if answer.status.is_redirection() { None } else { Some("same-origin") };
    assert_eq!(opener, expected, "{what}: pages have no opener, and a redirect does not change that");
    for part in ["camera=()", "geolocation=()", "microphone=()"] {
        assert!(header("permissions-policy").contains(part), "{what}: {part}");
    }
    for name in ["server", "x-powered-by"] {
        assert!(!answer.headers.contains_key(name), "{what}: {name}");
    }
    let body = &answer.body;
    for part in ["<script", "style=\"", "<style", "onclick", "javascript:"] {
        assert!(!body.contains(part), "{what}: {part} in {body}");
    }
}

#[tokio::test]
async fn responses_have_security_headers_and_no_store() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut signed_in = world.sign_in(&service, alice).await;
    let mut signed_out = Browser::new();
    for browser in [&mut signed_in, &mut signed_out] {
        for path in ["/", "/signed-out", "/sso/login", "/sso/callback", "/api/me", "/healthz", "/readyz", "/nothing"] {
            are_safe(&browser.get(service.at(path)).await, path);
            are_safe(&browser.get_json(service.at(path)).await, path);
        }
        are_safe(&browser.get(service.at("/sso/logout")).await, "GET /sso/logout");
        let head = browser.send(browser.request(Method::HEAD, service.at("/"))).await;
        are_safe(&head, "HEAD /");
    }
    are_safe(&signed_in.post(service.at("/sso/logout")).await, "POST /sso/logout");
}

/// The routes of the router, with a value for each variable.
fn routes() -> Vec<String> {
    let source = include_str!("../../../src/http/router.rs");
    let routes = source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    routes
        .map(|route| route.replace("{name}", "entraway.css").replace("{*path}", "a/b").replace(['{', '}'], ""))
        .collect()
}

#[tokio::test]
async fn every_route_and_method_has_security_headers() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut signed_in = world.sign_in(&service, alice).await;
    let mut paths = routes();
    assert!(
        paths.len() > 8 && paths.iter().any(|path| path == "/sso/callback"),
        "the routes of src/http/router.rs: {paths:?}"
    );
    paths.extend(["/nothing", "/assets/%ff", "/%00", "//", "/assets/nothing.css"].map(str::to_owned));
    for path in paths {
        for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PROPFIND"] {
            let request = |browser: &Browser| browser.request(method.parse::<Method>().unwrap(), service.at(&path));
            let answer = signed_in.send(request(&signed_in)).await;
            keep_to_themselves(&answer, &format!("{method} {path}"));
            let answer = Browser::new().send(request(&Browser::new()).header("Sec-Fetch-Site", "cross-site")).await;
            keep_to_themselves(&answer, &format!("{method} {path} from another site"));
        }
    }
}

#[tokio::test]
async fn hsts_is_sent_only_for_a_dedicated_https_host() {
    let world = World::new().await;
    for (public_url, expected) in [
        ("https://sso.example.com", Some("max-age=31536000")),
        ("https://example.com/sso", None),
        ("https://sso.example.com:8443", None),
        ("http://localhost:8080", None),
    ] {
        let service = world.service_with(|config| config.server.public_url = public_url.parse().unwrap()).await;
        let mut browser = Browser::new();
        for path in ["/healthz", "/nothing"] {
            let answer = browser.get(service.at(path)).await;
            let told = answer.headers.get("strict-transport-security").map(|value| value.to_str().unwrap());
            assert_eq!(told, expected, "{public_url}: {path}");
        }
    }
}

#[tokio::test]
async fn page_assets_exist_with_correct_types() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = Browser::new();
    let page = browser.get(service.at("/")).await;
    let links: Vec<&str> = page.body.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(links.len() >= 3, "{links:?} in {}", page.body);
    for link in links {
        let answer = browser.get(service.at(link)).await;
        assert_eq!(answer.status, 200, "{link}");
        let kind = if link.contains(".css") { "text/css; charset=utf-8" } else { "image/svg+xml" };
        assert_eq!(answer.headers["content-type"], kind, "{link}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{link}");
        assert_eq!(answer.headers["cache-control"], "public, max-age=31536000, immutable", "{link}");
        let parts: Vec<&str> = link.split('/').collect();
        let &["", "assets", version, name] = &parts[..] else { panic!("no version: {link}") };
        assert!(version.len() == 16 && version.bytes().all(|byte| byte.is_ascii_hexdigit()), "{link}");
        // Pages of other versions find the file during a rollout, but the response is not cached under their version.
        for (path, cache) in [
            (format!("/assets/{name}"), "public, max-age=3600"),
            (format!("/assets/0123456789abcdef/{name}"), "no-cache"),
        ] {
            let other = browser.get(service.at(&path)).await;
            assert_eq!((other.status.as_u16(), &other.body), (200, &answer.body), "{path}");
            assert_eq!(other.headers["cache-control"], cache, "{path}");
        }
        let elsewhere = answer.body.replace("http://www.w3.org/", "").contains("://");
        assert!(!elsewhere, "{link} loads nothing from other origins");
        assert!(!answer.body.contains("@import") && !answer.body.contains("<script"), "{link}");
    }
}
