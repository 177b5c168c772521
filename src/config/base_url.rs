//! Base URLs: what the service's own pages, Entra and Graph hang under.

use std::str::FromStr;

use url::{Host, Url};

/// The URL under which people reach the service. The one source of the redirect URI and of the cookies' scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Url);

/// Why a text is no base URL. It does not repeat the text, in which a password may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("must be a URL with a scheme and a host")]
    Malformed,
    #[error("must begin with https://")]
    Scheme,
    #[error("http:// is accepted for loopback hosts only (localhost, 127.0.0.1, [::1])")]
    Insecure,
    #[error("must have no user name or password")]
    Userinfo,
    #[error("must have no query and no fragment")]
    Query,
    #[error("its path may only hold letters, digits and . _ ~ - between single slashes")]
    Path,
}

impl PublicUrl {
    /// Without a path it is written with one slash at its end, else with none.
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

    /// `/base`, or nothing where the service has the host for itself.
    pub fn base_path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// Whether cookies can be `Secure`.
    pub fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether the host is the service's alone: neither another path nor another port of it can be another application's.
    pub fn has_host_for_itself(&self) -> bool {
        self.base_path().is_empty() && self.0.port().is_none()
    }

    /// The URL of one of the service's own paths, such as `/sso/callback?x=y`. The host stays, whatever the path is.
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

/// Reads a base URL strictly: the parser of the standard would forgive white space, backslashes and missing slashes.
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
    let (sound, loopback) = match url.host().ok_or(UrlError::Malformed)? {
        Host::Domain(name) => {
            (name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')), name == "localhost")
        }
        Host::Ipv4(address) => (true, address.is_loopback()),
        Host::Ipv6(address) => (true, address.is_loopback()),
    };
    match url.scheme() {
        _ if !sound => Err(UrlError::Malformed),
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err(UrlError::Insecure),
        _ => Err(UrlError::Scheme),
    }
}

/// An empty segment would make `//host` of a path, and a `;` would end the cookies' `Path`.
fn check_path(path: &str) -> Result<(), UrlError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
    let sound = path.split('/').skip(1).all(|segment| !segment.is_empty() && segment.chars().all(plain));
    if sound { Ok(()) } else { Err(UrlError::Path) }
}

/// Whether the text is a domain name in ASCII with at least one dot, such as `contoso.onmicrosoft.com`.
pub(super) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    // All digits at the end is an address.
    text.len() <= 253 && text.contains('.') && text.split('.').all(label) && !last.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_gives_origin_base_path_and_the_urls_below_it() {
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
    fn no_path_leads_to_another_host() {
        let url: PublicUrl = "https://sso.example.com/base".parse().unwrap();
        for path in ["//evil.example", "/\\evil.example", "https://evil.example", "@evil.example", "/..//evil.example"]
        {
            assert_eq!(url.join(path).host_str(), Some("sso.example.com"), "{path}");
        }
        assert_eq!(url.join("/a?b=c#d").as_str(), "https://sso.example.com/base/a?b=c#d");
        assert_eq!(url.join("a").as_str(), "https://sso.example.com/base/a");
    }

    #[test]
    fn what_is_no_base_url_is_refused_for_its_reason() {
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
    fn a_domain_has_a_dot_and_no_address_is_one() {
        for good in ["contoso.onmicrosoft.com", "a-b.co", "xn--mnchen-3ya.de"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", "contoso", ".com", "a..b", "-a.com", "a-.com", "10.0.0.1", "a b.com", "a@b.com", "*.com"] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
