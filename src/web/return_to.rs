//! Where a person was going: a page of ours, or nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use url::{Position, Url};

use crate::config::PublicUrl;

/// Longer than any address of ours. It travels in a cookie, and browsers keep none of more than 4,096 bytes.
const LONGEST: usize = 2_000;

/// A place that was checked to be ours: a path (with its query) under the public URL, or the whole address of a page on
/// its host or on one of `access.return_hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReturnTo(String);

impl ReturnTo {
    /// The front page.
    pub(super) fn home(public_url: &PublicUrl) -> Self {
        Self(public_url.join("/").path().to_owned())
    }

    /// `None` for whatever could lead elsewhere: another scheme or host, `//host`, a backslash, control characters, a
    /// path outside the public URL's own once `..` is followed.
    pub(super) fn parse(text: &str, public_url: &PublicUrl, return_hosts: &BTreeSet<String>) -> Option<Self> {
        let odd = |c: char| c == '\\' || c.is_control() || c.is_whitespace();
        if text.contains(odd) {
            return None;
        }
        let to = if text.starts_with('/') { path(text, public_url) } else { address(text, public_url, return_hosts) };
        // Measured as it is written: a letter outside ASCII takes six bytes or more.
        to.filter(|to| to.len() <= LONGEST).map(Self)
    }

    /// The whole address, so that no browser reads a path as a host.
    pub(super) fn url(&self, public_url: &PublicUrl) -> Url {
        let home = public_url.join("/");
        home.join(&self.0).unwrap_or(home)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn path(text: &str, public_url: &PublicUrl) -> Option<String> {
    if text.starts_with("//") {
        return None;
    }
    let url = public_url.join("/").join(text).ok()?;
    let path = url.path();
    let below = path.strip_prefix(public_url.base_path()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let ours = url.origin().ascii_serialization() == public_url.origin();
    (ours && below && !path.starts_with("//")).then(|| url[Position::BeforePath..].to_owned())
}

fn address(text: &str, public_url: &PublicUrl, return_hosts: &BTreeSet<String>) -> Option<String> {
    let scheme = public_url.as_url().scheme();
    // The parser of the standard would forgive a missing or a third slash, and passes over a name before the host.
    let (authority, _) =
        text.strip_prefix(scheme)?.strip_prefix("://").map(|rest| split_at_any(rest, &['/', '?', '#']))?;
    let url = Url::parse(text).ok()?;
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let ours = url.origin().ascii_serialization() == public_url.origin() || return_hosts.contains(host);
    (ours && !authority.is_empty() && !authority.contains('@')).then(|| url.as_str().to_owned())
}

/// What is before the first of these characters, and the rest.
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
    fn a_path_under_the_public_url_is_kept_with_its_query() {
        assert_eq!(parse("https://sso.example", "/a/b?x=1&y=%2F#z").unwrap(), "https://sso.example/a/b?x=1&y=%2F#z");
        assert_eq!(parse("https://sso.example", "/").unwrap(), "https://sso.example/");
        assert_eq!(parse("https://sso.example/in", "/in/a").unwrap(), "https://sso.example/in/a");
        assert_eq!(parse("https://sso.example/in", "/in").unwrap(), "https://sso.example/in");
    }

    #[test]
    fn a_whole_address_is_kept_if_its_host_is_ours_or_was_named() {
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
            assert_eq!(parse("https://sso.example", to), None, "{to} must be refused");
        }
    }

    #[test]
    fn whatever_could_lead_elsewhere_is_refused() {
        for text in [
            "",
            "a",
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "javascript:alert(1)",
            "/.//evil.example",
            "/a/..//evil.example",
            " /a",
            "/a b",
            "///evil.example",
            "http:/evil.example",
            "?x",
            "#x",
        ] {
            assert_eq!(parse("https://sso.example", text), None, "{text:?} must be refused");
        }
        for text in ["/", "/out", "/in/../out", "/inside", "/in/%2e%2e/out"] {
            assert_eq!(parse("https://sso.example/in", text), None, "{text:?} is not below /in");
        }
    }
}
