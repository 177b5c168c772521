//! The way to Entra and back: who may finish a sign-in, how often, until when, and where it leads.

mod attempts;
mod codes;
mod cookies;
mod login;
mod refused;
mod return_to;

use url::Url;

use crate::support::{Browser, Service, Traces, World};

/// The address with one parameter of its query changed, or added.
fn with(url: &Url, name: &str, value: &str) -> Url {
    let mut url = without(url, name);
    url.query_pairs_mut().append_pair(name, value);
    url
}

fn without(url: &Url, name: &str) -> Url {
    let kept: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(kept);
    url
}

fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}

/// The callback's answer is a refusal with this code, opens no session, and leaves the database as it was.
async fn refuses(
    world: &World,
    service: &Service,
    before: &Traces,
    (browser, url): (&mut Browser, Url),
    (status, code): (u16, &str),
    how: &str,
) {
    let answer = browser.get(url).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{how}: {answer:#?}");
    let cookies = answer.set_cookies();
    assert!(cookies.iter().all(|cookie| !cookie.starts_with("entraway=")), "{how}: a session's cookie in {cookies:?}");
    assert_eq!(browser.me(service).await.status, 401, "{how}: /api/me");
    assert_eq!(&world.traces().await, before, "{how}: the database");
}
