//! Sign-out: here, then at Entra, and only on a request of our own page.

use entra_simulator::{Endpoint, Fault, FaultRule};
use reqwest::Method;

use crate::support::{Answer, Browser, Service, World};

#[tokio::test]
async fn signout_ends_session_and_continues_at_entra() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let elsewhere = world.sign_in(&service, alice).await;
    let mut browser = world.sign_in(&service, alice).await;
    let mut old = browser.clone();

    let answer = browser.post(service.at("/sso/logout")).await;
    // `post` sends the service's own address as its origin.
    assert_eq!(answer.status, 303, "{answer:#?}");
    let entra = answer.location();
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    let authority = world.simulator.authority_url();
    let expected = format!(
        "{authority}{tenant}/oauth2/v2.0/logout?post_logout_redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fsigned-out"
    );
    assert_eq!(entra.as_str(), expected);
    assert!(browser.cookies.is_empty(), "the cookie is taken away: {:?}", browser.cookies);
    let cookie = &answer.set_cookies()[0];
    for attribute in ["entraway=;", "Max-Age=0", "Path=/", "HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{attribute} in {cookie}");
    }
    assert_eq!(old.me(&service).await.status, 401, "the token is worth nothing, wherever it was copied to");
    assert_eq!(elsewhere.clone().me(&service).await.status, 200, "another browser's session goes on");
    assert_eq!(world.traces().await.sessions, 1);

    // Entra redirects the browser to our page.
    let back = browser.get(entra).await.location();
    assert_eq!(back.as_str(), "http://127.0.0.1:1/signed-out");
    let page = browser.get(service.here(&back)).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("You are signed out") && page.body.contains("/sso/login"), "{}", page.body);
}

#[tokio::test]
async fn repeated_or_anonymous_signout_succeeds() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let mut again = browser.clone();
    for browser in [&mut browser, &mut again, &mut Browser::new()] {
        assert_eq!(browser.post(service.at("/sso/logout")).await.status, 303);
    }
}

#[tokio::test]
async fn only_post_signs_out() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let answer = browser.get(service.at("/sso/logout")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (405, "method_not_allowed"));
    assert!(answer.headers["allow"].to_str().unwrap().contains("POST"), "{answer:#?}");
    for method in [Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = browser.request(method.clone(), service.at("/sso/logout"));
        let answer = browser.send(request.header("Sec-Fetch-Site", "same-origin")).await;
        assert_eq!(answer.status, 405, "{method}");
    }
    assert_eq!(browser.me(&service).await.status, 200);
}

async fn post(browser: &mut Browser, service: &Service, headers: &[(&str, &str)]) -> Answer {
    let mut request = browser.request(Method::POST, service.at("/sso/logout"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    browser.send(request).await
}

#[tokio::test]
async fn cross_site_signout_is_rejected() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service =
        world.service_with(|config| config.server.public_url = "https://sso.example.com".parse().unwrap()).await;
    let mut browser = world.sign_in(&service, alice).await;
    let own = service.at("/").origin().ascii_serialization();
    for headers in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "rubbish")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")],
        &[("Sec-Fetch-Site", "same-site"), ("Origin", "https://other.example.com")],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Origin", "http://sso.example.com")],
        &[("Origin", "https://sso.example.com:8443")],
        &[("Origin", "https://sso.example.com.evil.example")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", own.as_str())],
    ] {
        let answer = post(&mut browser, &service, headers).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "cross_origin"), "{headers:?}");
        assert!(answer.set_cookies().is_empty(), "{headers:?}: {:?}", answer.set_cookies());
        assert_eq!(browser.me(&service).await.status, 200, "{headers:?}: the session lives");
    }
    // A request of our own page, with and without Fetch Metadata.
    for headers in [
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", "https://sso.example.com")][..],
        &[("Origin", "https://sso.example.com")],
    ] {
        let mut browser = world.sign_in(&service, alice).await;
        assert_eq!(post(&mut browser, &service, headers).await.status, 303, "{headers:?}");
        assert!(browser.cookies.is_empty(), "{headers:?}");
    }
}

#[tokio::test]
async fn signout_succeeds_without_entra() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let mut old = browser.clone();
    world.simulator.fault(FaultRule::on(Endpoint::Discovery, Fault::status(503)));
    // A replica that has never fetched Entra's metadata.
    let replica = world.service().await;
    let answer = browser.post(replica.at("/sso/logout")).await;
    assert_eq!((answer.status.as_u16(), answer.location().as_str()), (303, "http://127.0.0.1:1/signed-out"));
    assert!(browser.cookies.is_empty());
    assert_eq!(old.me(&service).await.status, 401);

    // One that has fetched it still has it.
    world.simulator.clear_faults();
    let mut browser = world.sign_in(&service, alice).await;
    world.simulator.stop();
    let answer = browser.post(service.at("/sso/logout")).await;
    assert!(answer.location().path().ends_with("/oauth2/v2.0/logout"), "{answer:#?}");
    assert_eq!(world.traces().await.sessions, 0);
}

#[tokio::test]
async fn planted_cookie_does_not_keep_session_alive() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let token = browser.cookies.remove("entraway").unwrap();
    let both = format!("entraway=x; entraway={token}");
    let request = browser.request(reqwest::Method::POST, service.at("/sso/logout")).header("Cookie", both);
    let answer = browser.send(request.header("Sec-Fetch-Site", "same-origin")).await;
    assert_eq!(answer.status, 303);
    assert_eq!(world.traces().await.sessions, 0, "the person was told that they are signed out");
}
