//! Redirects to Entra and back. Attempts to complete another user's sign-in are among the attack tests.

mod cookies;
mod login;
mod login_states;
mod return_to;
mod stale;

use url::Url;

/// The URL with one query parameter replaced or added.
pub(crate) fn with(url: &Url, name: &str, value: &str) -> Url {
    let mut url = without(url, name);
    url.query_pairs_mut().append_pair(name, value);
    url
}

pub(crate) fn without(url: &Url, name: &str) -> Url {
    let kept: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(kept);
    url
}

pub(crate) fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}
