//! Where a person was going: a path under the public URL, or nothing.

use serde::{Deserialize, Serialize};
use url::{Position, Url};

use crate::config::PublicUrl;

/// Longer than any address of ours. It travels in a cookie, and browsers keep none of more than 4,096 bytes.
const LONGEST: usize = 2_000;

/// A path (with its query) that was checked to lie under the public URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReturnTo(String);

impl ReturnTo {
    /// The front page.
    pub(super) fn home(public_url: &PublicUrl) -> Self {
        Self(public_url.join("/").path().to_owned())
    }

    /// `None` for whatever could lead elsewhere: another scheme or host, `//host`, a backslash, control characters, a
    /// path outside the public URL's own once `..` is followed.
    pub(super) fn parse(text: &str, public_url: &PublicUrl) -> Option<Self> {
        let odd = |c: char| c == '\\' || c.is_control() || c.is_whitespace();
        if !text.starts_with('/') || text.starts_with("//") || text.contains(odd) {
            return None;
        }
        let url = public_url.join("/").join(text).ok()?;
        let path = url.path();
        let base = public_url.base_path();
        let below = path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let ours = url.origin().ascii_serialization() == public_url.origin();
        // Measured as it is written: a letter outside ASCII takes six bytes or more.
        let to = &url[Position::BeforePath..];
        (ours && below && !path.starts_with("//") && to.len() <= LONGEST).then(|| Self(to.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(base: &str, text: &str) -> Option<String> {
        let base = base.parse::<PublicUrl>().unwrap();
        ReturnTo::parse(text, &base).map(|to| to.url(&base).to_string())
    }

    #[test]
    fn a_path_under_the_public_url_is_kept_with_its_query() {
        assert_eq!(parse("https://sso.example", "/a/b?x=1&y=%2F#z").unwrap(), "https://sso.example/a/b?x=1&y=%2F#z");
        assert_eq!(parse("https://sso.example", "/").unwrap(), "https://sso.example/");
        assert_eq!(parse("https://sso.example/in", "/in/a").unwrap(), "https://sso.example/in/a");
        assert_eq!(parse("https://sso.example/in", "/in").unwrap(), "https://sso.example/in");
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
