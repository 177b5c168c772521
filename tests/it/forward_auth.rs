//! `/auth/verify`: what a reverse proxy and, through it, an upstream learn about a request.

mod access_rules;
mod answers;
pub(crate) mod assertion;
mod concurrent;
mod proxy_kinds;
mod session_cache;
pub(crate) mod upstream_check;

use std::time::{Duration, Instant};

use entraway::config::Config;
use entraway::identity_headers::IDENTITY_HEADERS;
use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::support::{Answer, Browser, Service, World};

/// Trusts the address that the tests send from.
fn trusting(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
}

/// Sends a request as a proxy does on behalf of a browser, with more headers than the cookie.
async fn verify(browser: &mut Browser, service: &Service, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = browser.request(Method::GET, service.at(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    browser.send(request).await
}

async fn status(browser: &mut Browser, service: &Service) -> u16 {
    verify(browser, service, "/auth/verify", &[]).await.status.as_u16()
}

/// The value of a header that must be present once.
#[track_caller]
fn one<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    assert_eq!(values.len(), 1, "{name} must be present once: {headers:?}");
    values[0].to_str().unwrap()
}

/// Every identity header is present and empty.
#[track_caller]
fn tells_nobody(answer: &Answer) {
    for name in IDENTITY_HEADERS {
        assert_eq!(one(&answer.headers, name.as_str()), "", "{name} of {answer:#?}");
    }
    assert_eq!(one(&answer.headers, "cache-control"), "no-store", "{answer:#?}");
}

/// Waits until sessions are cached. Until then each is read from the database, and a test of the cache proves nothing.
async fn remembers(service: &Service) {
    until("sessions are cached", async || service.app.sessions().is_caching()).await;
}

/// Waits for a condition, at most five seconds. Tests of the one-second limit measure the time themselves.
#[track_caller]
fn until<'a>(what: &'a str, mut is_so: impl AsyncFnMut() -> bool + 'a) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let begin = Instant::now();
        while !is_so().await {
            assert!(begin.elapsed() < Duration::from_secs(5), "{what}: not after five seconds, at {caller}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A browser in which Alice, who is in one group, is signed in.
async fn alice(world: &World, service: &Service) -> Browser {
    let (alice, _) = world.alice();
    world.sign_in(service, alice).await
}
