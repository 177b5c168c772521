//! Attributes of the cookies.

use reqwest::Method;
use url::Url;

use crate::support::{Browser, Service, World};

/// The name, the value's length and the attributes in alphabetical order.
fn read(cookie: &str) -> (String, usize, Vec<String>) {
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    let mut attributes: Vec<String> = attributes.split("; ").map(str::to_owned).collect();
    attributes.sort();
    (name.to_owned(), value.len(), attributes)
}

/// Starts a sign-in below a public URL, whose path (if any) precedes ours.
async fn begin(browser: &mut Browser, service: &Service, base: &str) -> (Url, Vec<String>) {
    let answer = browser.get(service.at(&format!("{base}/sso/login"))).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    (answer.location(), answer.set_cookies().into_iter().map(str::to_owned).collect())
}

#[tokio::test]
async fn cookie_names_and_attributes_follow_the_public_url() {
    let https: &[&str] = &["HttpOnly", "Path=/", "SameSite=Lax", "Secure"];
    let world = World::new().await;
    let (alice, group) = world.alice();
    for (public_url, prefix, base, expected) in [
        ("https://sso.example.com", "__Host-", "", https),
        ("https://sso.example.com:8443/", "__Host-", "", https),
        ("https://sso.example.com/base", "", "/base", &["HttpOnly", "Path=/base", "SameSite=Lax", "Secure"]),
        ("https://sso.example.com/a/b/", "", "/a/b", &["HttpOnly", "Path=/a/b", "SameSite=Lax", "Secure"]),
        ("http://127.0.0.1:1", "", "", &["HttpOnly", "Path=/", "SameSite=Lax"]),
        ("http://localhost:1/base", "", "/base", &["HttpOnly", "Path=/base", "SameSite=Lax"]),
    ] {
        let service = world.service_with(|config| config.server.public_url = public_url.parse().unwrap()).await;
        let mut browser = Browser::new();
        let (entra, cookies) = begin(&mut browser, &service, base).await;

        assert_eq!(cookies.len(), 1, "{public_url}");
        let (name, length, attributes) = read(&cookies[0]);
        assert!(name.starts_with(&format!("{prefix}entraway-attempt-")), "{public_url}: {name}");
        assert!(name.len() + length < 2_000, "{public_url}: a small cookie");
        let (age, rest): (Vec<_>, Vec<_>) = attributes.into_iter().partition(|one| one.starts_with("Max-Age"));
        assert_eq!((age, rest), (vec!["Max-Age=86400".to_owned()], expected.iter().map(ToString::to_string).collect()));

        let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
        assert_eq!(callback.path(), format!("{base}/sso/callback"), "{public_url}");
        let answer = browser.get(callback).await;
        assert_eq!(answer.status, 303, "{public_url}: {answer:#?}");
        let home: Url = public_url.parse().unwrap();
        assert_eq!(answer.location().as_str().trim_end_matches('/'), home.as_str().trim_end_matches('/'));
        let session = answer.set_cookies().into_iter().map(read).find(|(_, length, _)| *length > 0).unwrap();
        let attributes: Vec<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(session, (format!("{prefix}entraway"), 43, attributes), "{public_url}: no Max-Age, so no longer");
        let gone = answer.set_cookies().into_iter().map(read).find(|(_, length, _)| *length == 0).unwrap();
        assert_eq!(gone.0, name, "{public_url}: the login state cookie is deleted");
        assert!(gone.2.contains(&"Max-Age=0".to_owned()), "{public_url}: {gone:?}");
        assert!(expected.iter().all(|one| gone.2.contains(&(*one).to_owned())), "{public_url}: {gone:?}");

        let me = browser.get(service.at(&format!("{base}/api/me"))).await.json();
        assert_eq!(me["teams"][0]["team_id"], serde_json::json!(group), "{public_url}");
        for page in ["/", ""] {
            let page = format!("{base}{page}");
            let answer = browser.get(service.at(if page.is_empty() { "/" } else { &page })).await;
            assert_eq!(answer.status, 200, "{public_url}: the front page at {page:?}");
            assert!(answer.body.contains(&format!("action=\"{base}/sso/logout\"")), "{public_url}: {}", answer.body);
            assert!(answer.body.contains("Alice Arden"), "{public_url}: {}", answer.body);
        }
        let style = browser.get(service.at(&format!("{base}/assets/entraway.css"))).await;
        assert_eq!(style.status, 200, "{public_url}");
        let logout = service.at(&format!("{base}/sso/logout"));
        let origin = home.origin().ascii_serialization();
        let request = browser.request(Method::POST, logout).header("Origin", origin);
        let answer = browser.send(request).await;
        assert_eq!(answer.status, 303, "{public_url}: {answer:#?}");
        let back = super::parameter(&answer.location(), "post_logout_redirect_uri");
        assert_eq!(back, format!("{}/signed-out", public_url.trim_end_matches('/')));
        assert!(browser.cookies.is_empty(), "{public_url}: {:?}", browser.cookies);
        for path in ["/healthz", "/readyz"] {
            for base in ["", base] {
                let answer = browser.get(service.at(&format!("{base}{path}"))).await;
                assert_eq!(answer.status, 200, "{public_url}: {base}{path}");
            }
        }
        if !base.is_empty() {
            for path in ["/sso/login", "/api/me", "/", &format!("{base}x/"), &format!("{base}/base/")] {
                let answer = browser.get(service.at(path)).await;
                assert_eq!(answer.status, 404, "{public_url}: {path} is not below it");
            }
        }
    }
}
