//! The upstream of a request. It determines the audience of the assertion.

use http::HeaderMap;
use http::header::HOST;
use url::{Position, Url};

use super::proxy_kind::{FORWARDED_HOST, FORWARDED_PROTO, ORIGINAL_URL, once};
use crate::config::Assertion;

/// The upstream according to a trusted proxy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    Known {
        /// Scheme, host and non-default port (RFC 6454, section 6.2).
        origin: String,
        /// Host and non-default port, as in a URL.
        host: String,
    },
    /// The request names no upstream.
    Unspecified,
    /// The headers are repeated, incomplete, contradictory or malformed.
    Ambiguous,
}

impl Upstream {
    /// Reads the headers of a trusted proxy: `X-Original-URL` (nginx), `Host` (Envoy, which sends the client's own) or
    /// `X-Forwarded-Host` (others).
    ///
    /// A client's `X-Forwarded-Host` gets past nginx, and a page can make the browser send it; a client's
    /// `X-Original-URL` gets past Traefik and Envoy. So if both headers exist, they must name the same host. Otherwise
    /// one application could get an assertion for another.
    pub(super) fn of(headers: &HeaderMap, envoy: bool) -> Self {
        let host = if envoy { &HOST } else { &FORWARDED_HOST };
        let upstream = if headers.contains_key(&ORIGINAL_URL) {
            let url = once(headers, &ORIGINAL_URL).and_then(|url| url.split_once("://"));
            url.and_then(|(scheme, rest)| {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let upstream = parse_upstream(scheme, &rest[..end])?;
                let agrees = !headers.contains_key(host)
                    || once(headers, host)
                        .and_then(|host| parse_upstream(scheme, host))
                        .is_some_and(|other| other == upstream);
                agrees.then_some(upstream)
            })
        } else {
            if !headers.contains_key(host) {
                return Self::Unspecified;
            }
            let (scheme, host) = (once(headers, &FORWARDED_PROTO), once(headers, host));
            scheme.zip(host).and_then(|(scheme, host)| parse_upstream(scheme, host))
        };
        upstream.unwrap_or(Self::Ambiguous)
    }

    /// The `aud` claim for this upstream. `None` if the audience is not certain: then no assertion is signed.
    pub(super) fn audience<'a>(&'a self, assertion: &'a Assertion) -> Option<&'a str> {
        match self {
            Self::Known { origin, host } => Some(assertion.audiences.get(host).unwrap_or(origin)),
            Self::Unspecified => assertion.audience.as_deref(),
            Self::Ambiguous => None,
        }
    }
}

/// Parses a scheme and an authority. The authority is a host with an optional port, without any character that a URL
/// parser would interpret differently.
fn parse_upstream(scheme: &str, authority: &str) -> Option<Upstream> {
    // Some proxies send the scheme of a WebSocket. The page that opens it has the same origin.
    let scheme = match scheme {
        "https" | "wss" => "https",
        "http" | "ws" => "http",
        _ => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if authority.is_empty() || !authority.bytes().all(plain) {
        return None;
    }
    let url = Url::parse(&format!("{scheme}://{authority}/")).ok()?;
    let host = url[Position::BeforeHost..Position::AfterPort].to_owned();
    Some(Upstream::Known { origin: url.origin().ascii_serialization(), host })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use http::HeaderName;

    use super::*;

    fn upstream(lines: &[(&str, &str)], envoy: bool) -> Upstream {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        Upstream::of(&headers, envoy)
    }

    fn origin(lines: &[(&str, &str)], envoy: bool) -> Option<String> {
        match upstream(lines, envoy) {
            Upstream::Known { origin, .. } => Some(origin),
            _ => None,
        }
    }

    const PROTO: (&str, &str) = ("x-forwarded-proto", "https");

    #[test]
    fn upstream_is_read_from_header_of_each_proxy() {
        let a = Some("https://a.example".to_owned());
        let nginx = ("x-original-url", "https://a.example/x?y=https://b.example/");
        let others = ("x-forwarded-host", "a.example");
        assert_eq!(origin(&[nginx], false), a);
        assert_eq!(origin(&[nginx, PROTO, others], false), a);
        assert_eq!(origin(&[PROTO, others], false), a);
        assert_eq!(origin(&[PROTO, others, ("host", "b.example")], false), a, "our own host");
        assert_eq!(origin(&[PROTO, ("host", "a.example")], true), a);
        assert_eq!(origin(&[PROTO, ("host", "a.example"), ("x-forwarded-host", "b.example")], true), a);
        assert_eq!(upstream(&[("host", "a.example")], false), Upstream::Unspecified);
        assert_eq!(upstream(&[PROTO, ("x-forwarded-uri", "/")], false), Upstream::Unspecified);
    }

    #[test]
    fn upstream_in_contradictory_headers_is_ambiguous() {
        let url = ("x-original-url", "https://a.example/x");
        let others =
            [("x-forwarded-host", "b.example"), ("x-forwarded-host", ""), ("x-forwarded-host", "a.example:8443")];
        for other in others {
            assert_eq!(upstream(&[url, PROTO, other], false), Upstream::Ambiguous, "{other:?}");
        }
        assert_eq!(
            upstream(&[url, PROTO, ("host", "b.example")], true),
            Upstream::Ambiguous,
            "a client's header, through Envoy"
        );
        let same = Some("https://a.example".to_owned());
        assert_eq!(origin(&[url, PROTO, ("host", "a.example")], true), same);
    }

    #[test]
    fn upstream_is_formatted_as_origin() {
        for (scheme, host, expected) in [
            ("https", "A.Example:443", "https://a.example"),
            ("https", "a.example:8443", "https://a.example:8443"),
            ("http", "a.example:443", "http://a.example:443"),
            ("wss", "a.example", "https://a.example"),
            ("ws", "127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("https", "[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ] {
            let lines = [("x-forwarded-proto", scheme), ("x-forwarded-host", host)];
            assert_eq!(origin(&lines, false).as_deref(), Some(expected), "{scheme} {host}");
        }
    }

    #[test]
    fn upstream_in_repeated_or_partial_headers_is_ambiguous() {
        let host = ("x-forwarded-host", "a.example");
        for lines in [
            vec![host],
            vec![PROTO, host, host],
            vec![PROTO, PROTO, host],
            vec![("x-forwarded-proto", "https, http"), host],
            vec![("x-forwarded-proto", "HTTPS"), host],
            vec![("x-forwarded-proto", "gopher"), host],
            vec![PROTO, ("x-forwarded-host", "")],
            vec![PROTO, ("x-forwarded-host", "a.example, b.example")],
            vec![PROTO, ("x-forwarded-host", "a.example@b.example")],
            vec![PROTO, ("x-forwarded-host", "a.example/@b.example")],
            vec![PROTO, ("x-forwarded-host", "a.example:x")],
            vec![PROTO, ("x-forwarded-host", "a.example\\b")],
            vec![("x-original-url", "https://a.example/"), ("x-original-url", "https://b.example/")],
            vec![("x-original-url", "https://u@a.example/")],
            vec![("x-original-url", "https:a.example/")],
            vec![("x-original-url", "https:///a.example/")],
            vec![("x-original-url", ""), PROTO, host],
        ] {
            assert_eq!(upstream(&lines, false), Upstream::Ambiguous, "{lines:?}");
        }
        assert_eq!(upstream(&[("host", "a.example")], true), Upstream::Ambiguous, "Envoy sends the scheme, too");
    }

    #[test]
    fn audience_is_origin_unless_host_is_mapped() {
        let assertion = Assertion {
            audience: Some("default".to_owned()),
            audiences: BTreeMap::from([("a.example:8443".to_owned(), "mapped".to_owned())]),
            ttl: Duration::from_mins(1),
        };
        let audience =
            |host: &str| upstream(&[PROTO, ("x-forwarded-host", host)], false).audience(&assertion).map(str::to_owned);
        assert_eq!(audience("a.example:8443").as_deref(), Some("mapped"));
        assert_eq!(audience("a.example").as_deref(), Some("https://a.example"));
        assert_eq!(audience("a.example, b.example"), None, "the default audience is not for ambiguous upstreams");
        assert_eq!(Upstream::Unspecified.audience(&assertion), Some("default"));
        assert_eq!(Upstream::Unspecified.audience(&Assertion { audience: None, ..assertion.clone() }), None);
    }
}
