//! Searches texts for secrets and personal data.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::Browser;

/// Every secret that was used in a test.
#[derive(Default)]
pub(crate) struct Secrets {
    /// Each secret with its kind.
    known: BTreeMap<String, &'static str>,
    /// SHA-256 of the PKCE verifiers, in base64url. Only Entraway and Entra see the verifiers themselves.
    challenges: BTreeSet<String>,
}

impl Secrets {
    pub(crate) fn add(&mut self, what: &'static str, secret: impl Into<String>) {
        let secret = secret.into();
        assert!(secret.len() >= 5, "{what} is too short to look for: {secret:?}");
        self.known.insert(secret, what);
    }

    /// Adds the secrets of the redirect to Entra.
    pub(crate) fn add_request(&mut self, entra: &Url) {
        let sent: BTreeMap<String, String> = entra.query_pairs().into_owned().collect();
        self.add("second half of a state", sent["state"].split_once('.').unwrap().1);
        self.add("nonce", &sent["nonce"]);
        self.challenges.insert(sent["code_challenge"].clone());
    }

    /// Adds the secrets of the callback URL.
    pub(crate) fn add_callback(&mut self, callback: &Url) {
        self.add("code", callback.query_pairs().find(|(name, _)| name == "code").expect("a code").1);
    }

    pub(crate) fn add_cookies(&mut self, browser: &Browser) {
        for cookie in browser.cookies.values() {
            self.add("cookie", cookie);
        }
    }

    /// Asserts that the text contains none of them, and no token at all.
    #[track_caller]
    pub(crate) fn are_not_in(&self, place: &str, text: &str) {
        for (secret, what) in &self.known {
            stands_not_in(place, text, what, secret);
        }
        // All our tokens and Entra's begin with this.
        stands_not_in(place, text, "token", "eyJ");
        stands_not_in(place, text, "bearer token", "Bearer ");
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        for word in text.split(|c| !plain(c)).filter(|word| word.len() >= 43) {
            for start in 0..=word.len() - 43 {
                let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&word[start..start + 43]));
                assert!(!self.challenges.contains(&hash), "{place} contains a PKCE verifier: {word}");
            }
        }
    }
}

/// Asserts that the text contains no e-mail address.
#[track_caller]
pub(crate) fn no_address_is_in(place: &str, text: &str) {
    // Logged SQL statements contain the operators `@>` and `@@`.
    let text = text.replace(" @> ", " .. ").replace(" @@ to_tsquery(", " .. to_tsquery(");
    stands_not_in(place, &text, "address", "@");
    stands_not_in(place, &text, "address", "%40");
}

#[track_caller]
fn stands_not_in(place: &str, text: &str, what: &str, secret: &str) {
    if let Some(at) = text.find(secret) {
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        panic!("{place} contains a {what}, {secret}: {}", text[line..].lines().next().unwrap_or_default());
    }
}
