//! `return_to`: the destination after a sign-in. Never an open redirect.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::{Position, Url};

use crate::config::PublicUrl;

/// Maximum length, longer than our URLs. It is stored in a cookie, which browsers limit to 4,096 bytes.
const MAX_LENGTH: usize = 2_000;

/// A validated destination: a path with query under the public URL, or a URL on its host or on one of
/// `access.return_hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReturnTo(String);

impl ReturnTo {
    /// The home page.
    pub(super) fn home(public_url: &PublicUrl) -> Self {
        Self(public_url.join("/").path().to_owned())
    }

    /// Validates a destination. `None` for anything that could lead elsewhere: another scheme or host, `//host`, a
    /// backslash, control characters, a path outside the base path after resolving `..`. The routes of the sign-in are
    /// rejected as well, since they would start the next sign-in after this one.
    pub(super) fn parse(text: &str, public_url: &PublicUrl, return_hosts: &BTreeSet<String>) -> Option<Self> {
        let forbidden = |c: char| c == '\\' || c.is_control() || c.is_whitespace();
        if text.contains(forbidden) {
            return None;
        }
        let to = if text.starts_with('/') {
            parse_path(text, public_url)
        } else {
            parse_url(text, public_url, return_hosts)
        };
        // The encoded length: a non-ASCII letter takes at least six bytes.
        let to = to.filter(|to| to.len() <= MAX_LENGTH).map(Self)?;
        let url = to.url(public_url);
        let ours = url.origin().ascii_serialization() == public_url.origin();
        (!ours || !is_sign_in_route(url, public_url.base_path())).then_some(to)
    }

    /// The absolute URL, so that no browser reads a path as a host.
    pub(super) fn url(&self, public_url: &PublicUrl) -> Url {
        let home = public_url.join("/");
        home.join(&self.0).unwrap_or(home)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a URL on our host is below `/sso/`, perhaps only after a proxy has decoded or normalized it.
fn is_sign_in_route(mut url: Url, base: &str) -> bool {
    // Each round decodes one layer. URLs with more layers are rejected.
    for _ in 0..4 {
        let path = url.path().to_owned();
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let below =
            base.split('/').filter(|segment| !segment.is_empty()).all(|segment| segments.next() == Some(segment));
        if below && segments.next().is_some_and(|first| first.eq_ignore_ascii_case("sso")) {
            return true;
        }
        // Also resolves encoded dots and backslashes.
        url.set_path(&percent_decode_str(&path).decode_utf8_lossy());
        if url.path() == path {
            return false;
        }
    }
    true
}

fn parse_path(text: &str, public_url: &PublicUrl) -> Option<String> {
    if text.starts_with("//") {
        return None;
    }
    let url = public_url.join("/").join(text).ok()?;
    let path = url.path();
    let below = path.strip_prefix(public_url.base_path()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let ours = url.origin().ascii_serialization() == public_url.origin();
    (ours && below && !path.starts_with("//")).then(|| url[Position::BeforePath..].to_owned())
}

fn parse_url(text: &str, public_url: &PublicUrl, return_hosts: &BTreeSet<String>) -> Option<String> {
    let scheme = public_url.as_url().scheme();
    // The WHATWG parser accepts a missing or a third slash, and user names before the host.
    let (authority, _) =
        text.strip_prefix(scheme)?.strip_prefix("://").map(|rest| split_at_any(rest, &['/', '?', '#']))?;
    let url = Url::parse(text).ok()?;
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let ours = url.origin().ascii_serialization() == public_url.origin() || return_hosts.contains(host);
    (ours && !authority.is_empty() && !authority.contains('@')).then(|| url.as_str().to_owned())
}

/// Splits a text before the first of these characters.
fn split_at_any<'a>(text: &'a str, any: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(any).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(base: &str, text: &str) -> Option<String> {
        let base = base.parse::<PublicUrl>().unwrap();
        ReturnTo::parse(text, &base, &BTreeSet::from(["app.example:8443".to_owned()]))
            .map(|to| to.url(&base).to_string())
    }

    #[test]
    fn return_to_keeps_url_on_our_or_configured_host() {
        for to in ["https://sso.example/out?x#y", "https://sso.example", "https://app.example:8443/a?b=c&d=https://e"] {
            let expected = if to.ends_with("example") { format!("{to}/") } else { to.to_owned() };
            assert_eq!(parse("https://sso.example/in", to), Some(expected), "{to}");
        }
        for to in [
            "https://app.example/",
            "https://app.example:8444/",
            "https://app.example:8443.evil.example/",
            "https://app.example:8443@evil.example/",
            "https://user@app.example:8443/",
            "https://evil.example/https://sso.example",
            "http://sso.example/",
            "https:/sso.example/",
            "https:///sso.example/",
            "https:sso.example/",
            "HTTPS://sso.example/",
            "https://sso.example:444/",
            "https://sub.sso.example/",
            "https://sso.example.evil.example/",
            "https://",
        ] {
            assert_eq!(parse("https://sso.example", to), None, "{to} must be rejected");
        }
    }

    #[test]
    fn return_to_rejects_sign_in_routes() {
        for base in ["https://sso.example", "https://sso.example/in"] {
            let path = base.strip_prefix("https://sso.example").unwrap();
            for below in [
                "/sso/login",
                "/sso/login?return_to=/x",
                "/sso/callback",
                "/sso/logout",
                "/sso/",
                "/sso",
                "/SSO/login",
                "/a/../sso/login",
                "/./sso/login",
                "/a/%2e%2e/sso/login",
                "/a/%2E%2E%2Fsso/login",
                "/a/..%2fsso/login",
                "/a/..%5csso/login",
                "/%73so/login",
                "/s%73%6F/login",
                "/%2573so/login",
                "/%252573so/login",
                "/%2fsso/login",
                "/sso%2flogin",
            ] {
                let to = format!("{path}{below}");
                assert_eq!(parse(base, &to), None, "{to} must be rejected");
                let to = format!("{base}{below}");
                assert_eq!(parse(base, &to), None, "{to} must be rejected");
            }
            for below in ["/ssology", "/a/sso/login", "/?sso", "/teams/sso", "/a%20b%25", "/%25", "/#/sso/login"] {
                let to = format!("{path}{below}");
                assert!(parse(base, &to).is_some(), "{to} is a page");
            }
        }
        let app = "https://app.example:8443/sso/login";
        assert_eq!(parse("https://sso.example", app).as_deref(), Some(app), "another application's own route");
        let other = "https://sso.example/sso/x";
        assert_eq!(parse("https://sso.example/in", other).as_deref(), Some(other), "not below our path");
    }
}
