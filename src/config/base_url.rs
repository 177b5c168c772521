//! Base URLs of the service, Entra and Graph, and domain names.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The URL under which users reach the service. The redirect URI and the cookies' scope are derived from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Url);

/// Why a text is not a base URL. Does not repeat the text, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("must be a URL with a scheme and a host")]
    Malformed,
    #[error("must start with https://")]
    Scheme,
    #[error("http:// is accepted for loopback hosts only (localhost, 127.0.0.1, [::1])")]
    Insecure,
    #[error("must not contain a user name or password")]
    Userinfo,
    #[error("must not contain a query or fragment")]
    Query,
    #[error("its path may only contain letters, digits and . _ ~ - between single slashes")]
    Path,
}

impl PublicUrl {
    /// As text it ends with a slash only if it has no path.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Scheme, host and port, such as `https://sso.example.com`.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The host in lower case, without the port; IPv6 in brackets.
    pub fn host(&self) -> String {
        self.0.host_str().unwrap_or_default().to_owned()
    }

    /// `/base`, or empty.
    pub fn base_path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// Whether cookies can be `Secure`.
    pub fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether no other application can be on another path or port of the host.
    pub fn has_dedicated_host(&self) -> bool {
        self.base_path().is_empty() && self.0.port().is_none()
    }

    /// The URL of a path of the service, such as `/sso/callback?x=y`. No path changes the host.
    pub fn join(&self, path: &str) -> Url {
        let (path, fragment) = path.split_once('#').map_or((path, None), |(path, rest)| (path, Some(rest)));
        let (path, query) = path.split_once('?').map_or((path, None), |(path, rest)| (path, Some(rest)));
        let mut url = self.0.clone();
        url.set_path(&format!("{}/{}", self.base_path(), path.strip_prefix('/').unwrap_or(path)));
        url.set_query(query);
        url.set_fragment(fragment);
        url
    }
}

impl FromStr for PublicUrl {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        base_url(text).map(Self)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses a base URL strictly. The WHATWG parser accepts white space, backslashes and missing slashes.
pub(super) fn base_url(text: &str) -> Result<Url, UrlError> {
    let (_, rest) = text.split_once("://").ok_or(UrlError::Malformed)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(UrlError::Userinfo);
    }
    if authority.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(UrlError::Malformed);
    }
    if rest.contains(['?', '#']) {
        return Err(UrlError::Query);
    }
    let mut url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
    check_host(&url)?;
    let path = url.path().trim_end_matches('/').to_owned();
    check_path(&path)?;
    url.set_path(&path);
    Ok(url)
}

fn check_host(url: &Url) -> Result<(), UrlError> {
    let (valid, loopback) = match url.host().ok_or(UrlError::Malformed)? {
        Host::Domain(name) => {
            (name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')), name == "localhost")
        }
        Host::Ipv4(address) => (true, address.is_loopback()),
        Host::Ipv6(address) => (true, address.is_loopback()),
    };
    match url.scheme() {
        _ if !valid => Err(UrlError::Malformed),
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err(UrlError::Insecure),
        _ => Err(UrlError::Scheme),
    }
}

/// Rejects empty segments, which could form `//host`, and `;`, which would end the cookies' `Path`.
fn check_path(path: &str) -> Result<(), UrlError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
    let valid = path.split('/').skip(1).all(|segment| !segment.is_empty() && segment.chars().all(plain));
    if valid { Ok(()) } else { Err(UrlError::Path) }
}

/// Whether a text is an ASCII domain name with at least one dot, such as `contoso.onmicrosoft.com`.
pub(super) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    // A numeric last label is an IP address.
    text.len() <= 253 && text.contains('.') && text.split('.').all(label) && !last.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_url_has_origin_base_path_and_joined_urls() {
        for (text, origin, base, callback) in [
            ("https://sso.example.com", "https://sso.example.com", "", "https://sso.example.com/sso/callback"),
            ("HTTPS://SSO.example.com:443/", "https://sso.example.com", "", "https://sso.example.com/sso/callback"),
            ("https://e.com:8443/a/b/", "https://e.com:8443", "/a/b", "https://e.com:8443/a/b/sso/callback"),
            ("http://localhost:8080", "http://localhost:8080", "", "http://localhost:8080/sso/callback"),
            ("http://127.8.9.1/x", "http://127.8.9.1", "/x", "http://127.8.9.1/x/sso/callback"),
            ("http://[::1]:80", "http://[::1]", "", "http://[::1]/sso/callback"),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!(url.origin(), origin, "{text}");
            assert_eq!(url.base_path(), base, "{text}");
            assert_eq!(url.join("/sso/callback").as_str(), callback, "{text}");
            assert_eq!(url.is_secure(), origin.starts_with("https"), "{text}");
        }
    }

    #[test]
    fn join_keeps_the_host_for_every_path() {
        let url: PublicUrl = "https://sso.example.com/base".parse().unwrap();
        for path in ["//evil.example", "/\\evil.example", "https://evil.example", "@evil.example", "/..//evil.example"]
        {
            assert_eq!(url.join(path).host_str(), Some("sso.example.com"), "{path}");
        }
        assert_eq!(url.join("/a?b=c#d").as_str(), "https://sso.example.com/base/a?b=c#d");
        assert_eq!(url.join("a").as_str(), "https://sso.example.com/base/a");
    }

    #[test]
    fn base_url_rejects_invalid_texts_with_the_reason() {
        use UrlError::{Insecure, Malformed, Path, Query, Scheme, Userinfo};
        for (text, reason) in [
            ("", Malformed),
            ("sso.example.com", Malformed),
            ("https:sso.example.com", Malformed),
            ("https://", Malformed),
            ("https:///x", Malformed),
            (" https://e.com", Malformed),
            ("https://e.com\n", Malformed),
            ("https:\\\\e.com", Malformed),
            ("https://e.com:99999", Malformed),
            ("https://*.e.com", Malformed),
            ("ftp://e.com", Scheme),
            ("http://e.com", Insecure),
            ("http://localhost.e.com", Insecure),
            ("http://0.0.0.0", Insecure),
            ("https://u:p@e.com", Userinfo),
            ("https://@e.com", Userinfo),
            ("https://e.com?", Query),
            ("https://e.com/x#", Query),
            ("https://e.com//x", Path),
            ("https://e.com/a;b", Path),
            ("https://e.com/a%20b", Path),
        ] {
            assert_eq!(base_url(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn is_domain_requires_a_dot_and_rejects_addresses() {
        for good in ["contoso.onmicrosoft.com", "a-b.co", "xn--mnchen-3ya.de"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", "contoso", ".com", "a..b", "-a.com", "a-.com", "10.0.0.1", "a b.com", "a@b.com", "*.com"] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
