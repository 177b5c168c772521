//! The headers that keep a page to itself, on every answer.

use reqwest::Method;

use crate::support::{Answer, Browser, World};

/// An answer that nobody frames, stores, sniffs or runs a script on.
pub(super) fn are_safe(answer: &Answer, what: &str) {
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
    assert_eq!(header("cache-control"), "no-store", "{what}");
    for name in ["server", "x-powered-by"] {
        assert!(!answer.headers.contains_key(name), "{what}: {name}");
    }
    let body = &answer.body;
    for part in ["<script", "style=\"", "<style", "onclick", "javascript:"] {
        assert!(!body.contains(part), "{what}: {part} in {body}");
    }
}

#[tokio::test]
async fn every_answer_keeps_to_itself() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut somebody = world.sign_in(&service, alice).await;
    let mut nobody = Browser::new();
    for browser in [&mut somebody, &mut nobody] {
        for path in ["/", "/signed-out", "/sso/login", "/sso/callback", "/api/me", "/healthz", "/readyz", "/nothing"] {
            are_safe(&browser.get(service.at(path)).await, path);
            are_safe(&browser.get_json(service.at(path)).await, path);
        }
        are_safe(&browser.get(service.at("/sso/logout")).await, "GET /sso/logout");
        let head = browser.send(browser.request(Method::HEAD, service.at("/"))).await;
        are_safe(&head, "HEAD /");
    }
    are_safe(&somebody.post(service.at("/sso/logout")).await, "POST /sso/logout");
}

#[tokio::test]
async fn what_a_page_loads_is_there_and_is_what_it_says() {
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
        assert!(answer.headers["cache-control"].to_str().unwrap().contains("max-age"), "{link}");
        let elsewhere = answer.body.replace("http://www.w3.org/", "").contains("://");
        assert!(!elsewhere, "{link} loads nothing from elsewhere");
        assert!(!answer.body.contains("@import") && !answer.body.contains("<script"), "{link}");
    }
}
