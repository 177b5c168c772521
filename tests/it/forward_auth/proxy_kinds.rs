//! Proxy kinds: a redirect to the sign-in if the proxy passes it to the browser, a 401 otherwise.

use reqwest::header::LOCATION;

use super::{alice, one, tells_nobody, trusting, verify};
use crate::support::{Answer, Browser, World};

const PAGE_SIZE: (&str, &str) = ("accept", "text/html,application/xhtml+xml");

/// A return host, in the form that the configuration accepts.
fn with_an_app(config: &mut entraway::config::Config) {
    trusting(config);
    config.server.public_url = "https://sso.contoso.example".parse().unwrap();
    config.session.cookie_domain = Some("contoso.example".to_owned());
    config.return_hosts.insert("app.contoso.example".to_owned());
}

fn sign_in(return_to: Option<&str>) -> String {
    let query = return_to.map(|to| {
        let to = url::form_urlencoded::byte_serialize(to.as_bytes()).collect::<String>();
        format!("?return_to={to}")
    });
    format!("https://sso.contoso.example/sso/login{}", query.unwrap_or_default())
}

#[track_caller]
fn leads_to(answer: &Answer, expected: &str) {
    assert_eq!(answer.status, 302, "{answer:#?}");
    assert_eq!(answer.headers[LOCATION], expected);
    tells_nobody(answer);
}

/// The headers of Traefik and Caddy.
fn forwarded<'a>(host: &'a str, uri: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", host),
        ("x-forwarded-uri", uri),
    ]
}

#[tokio::test]
async fn redirecting_proxies_return_to_destination_after_signin() {
    let world = World::new().await;
    let service = world.service_with(with_an_app).await;
    let uri = "/reports?q=a%20b&to=https://evil.example#x";
    let mut headers = forwarded("app.contoso.example", uri).to_vec();
    headers.push(PAGE_SIZE);
    let mut browser = Browser::new();
    let answer = verify(&mut browser, &service, "/auth/verify", &headers).await;
    leads_to(&answer, &sign_in(Some(&format!("https://app.contoso.example{uri}"))));

    // The browser follows the redirect, signs in, and arrives at the requested page.
    let (alice, _) = world.alice();
    let begun = browser.get(service.here(&answer.location())).await;
    let callback = browser.pick(&world.simulator, &service, &begun.location(), alice).await;
    let back = browser.get(callback).await;
    assert_eq!(back.location().as_str(), format!("https://app.contoso.example{uri}"), "{back:#?}");
    let cookie = back.set_cookies().into_iter().find(|cookie| cookie.starts_with("__Secure-entraway=")).unwrap();
    for attribute in ["Domain=contoso.example", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{attribute} in {cookie}");
    }
    let answer = verify(&mut browser, &service, "/auth/verify", &headers).await;
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_eq!(one(&answer.headers, "x-auth-request-user"), alice.to_string());
}

#[tokio::test]
async fn script_request_is_401_instead_of_a_redirect() {
    let world = World::new().await;
    let service = world.service_with(with_an_app).await;
    for extra in [
        ("x-requested-with", "XMLHttpRequest"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-mode", "websocket"),
        ("sec-fetch-mode", "same-origin"),
    ] {
        let mut headers = forwarded("app.contoso.example", "/x").to_vec();
        headers.extend([PAGE_SIZE, extra]);
        let answer = verify(&mut Browser::new(), &service, "/auth/verify", &headers).await;
        assert_eq!(answer.status, 401, "{extra:?}: {answer:#?}");
        tells_nobody(&answer);
    }
    let mut headers = forwarded("app.contoso.example", "/x").to_vec();
    headers.extend([("accept", "*/*"), ("sec-fetch-mode", "navigate")]);
    let answer = verify(&mut Browser::new(), &service, "/auth/verify", &headers).await;
    leads_to(&answer, &sign_in(Some("https://app.contoso.example/x")));
}

#[tokio::test]
async fn nginx_gets_401_with_the_signin_url_header() {
    let world = World::new().await;
    let service = world.service_with(with_an_app).await;
    let original = ("x-original-url", "https://app.contoso.example/a?b=c");
    // nginx passes on a client's own `X-Forwarded-…`.
    let mut headers = forwarded("evil.example", "/x").to_vec();
    headers.extend([PAGE_SIZE, original]);
    let answer = verify(&mut Browser::new(), &service, "/auth/verify", &headers).await;
    assert_eq!(answer.status, 401, "{answer:#?}");
    tells_nobody(&answer);
    assert_eq!(one(&answer.headers, "x-auth-request-sign-in"), sign_in(Some("https://app.contoso.example/a?b=c")));
    let script = [original, ("accept", "application/json")];
    let answer = verify(&mut Browser::new(), &service, "/auth/verify", &script).await;
    assert_eq!((answer.status.as_u16(), one(&answer.headers, "x-auth-request-sign-in")), (401, ""));
}

#[tokio::test]
async fn envoy_query_is_not_an_access_requirement() {
    let world = World::new().await;
    let service = world.service_with(with_an_app).await;
    let headers = [PAGE_SIZE, ("host", "app.contoso.example"), ("x-forwarded-proto", "https")];
    for path in ["/", "/reports/7?team=x&y=z", "/..%2fsso/login", "//evil.example/x"] {
        let answer = verify(&mut Browser::new(), &service, &format!("/auth/verify/envoy{path}"), &headers).await;
        leads_to(&answer, &sign_in(Some(&format!("https://app.contoso.example{path}"))));
    }
    let mut browser = alice(&world, &service).await;
    let answer = verify(&mut browser, &service, "/auth/verify/envoy/reports?team=nobodys&what=ever", &headers).await;
    assert_eq!(answer.status, 200, "{answer:#?}");
}

#[tokio::test]
async fn redirect_never_returns_to_an_unlisted_host() {
    let world = World::new().await;
    let service = world.service_with(with_an_app).await;
    for host in [
        "evil.example",
        "app.contoso.example.evil.example",
        "app.contoso.example@evil.example",
        "app.contoso.example:8443",
        "other.contoso.example",
        "sso.contoso.example.",
        "",
    ] {
        let mut headers = forwarded(host, "/x").to_vec();
        headers.push(PAGE_SIZE);
        let answer = verify(&mut Browser::new(), &service, "/auth/verify", &headers).await;
        leads_to(&answer, &sign_in(None));
    }
    let mut headers = forwarded("app.contoso.example", "/x").to_vec();
    headers[1].1 = "http";
    headers.push(PAGE_SIZE);
    let answer = verify(&mut Browser::new(), &service, "/auth/verify", &headers).await;
    leads_to(&answer, &sign_in(None));
}

#[tokio::test]
async fn untrusted_peer_headers_cause_no_redirect() {
    let world = World::new().await;
    let service = world.service_with(|config| {
        with_an_app(config);
        config.server.trusted_proxies.clear();
    });
    let service = service.await;
    let mut headers = forwarded("app.contoso.example", "/x").to_vec();
    headers.extend([PAGE_SIZE, ("x-original-url", "https://app.contoso.example/x")]);
    for headers in [&headers[..], &headers[..5]] {
        let answer = verify(&mut Browser::new(), &service, "/auth/verify", headers).await;
        assert_eq!(answer.status, 401, "{answer:#?}");
        assert!(!answer.headers.contains_key("x-auth-request-sign-in") && !answer.headers.contains_key(LOCATION));
    }
}

#[tokio::test]
async fn verify_is_served_only_below_the_base_path() {
    let world = World::new().await;
    let (person, _) = world.alice();
    let service = world.service_with(|config| config.server.public_url = "https://e.com/base".parse().unwrap()).await;
    let mut browser = Browser::new();
    let begun = browser.get(service.at("/base/sso/login")).await;
    let callback = browser.pick(&world.simulator, &service, &begun.location(), person).await;
    assert_eq!(browser.get(callback).await.status, 303);
    assert_eq!(verify(&mut browser, &service, "/base/auth/verify", &[]).await.status, 200);
    for path in ["/auth/verify", "/base/auth/verifyx", "/base/auth"] {
        assert_eq!(verify(&mut browser, &service, path, &[]).await.status, 404, "{path}");
    }
}
