//! Which kind of proxy asks, the URL that the user requested, and whether a redirect would reach the browser. These
//! headers count only from a trusted proxy.

use http::header::{ACCEPT, HOST};
use http::{HeaderMap, HeaderName};

pub(super) static ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
pub(super) static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// The kind of proxy, with the requested URL if the headers state it completely and once.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum ProxyKind {
    /// nginx-style `auth_request` with `X-Original-URL`: turns every status but 2xx, 401 and 403 into 500.
    StatusOnly(Option<String>),
    /// Traefik and Caddy with `X-Forwarded-Uri`, and Envoy with the path behind ours: they pass our response to the
    /// browser.
    Redirecting(Option<String>),
    /// No such headers, or not from a trusted proxy.
    Unknown,
}

impl ProxyKind {
    /// `envoy`: the path and query behind ours.
    pub(in crate::http) fn of(headers: &HeaderMap, envoy: Option<&str>) -> Self {
        // First, because nginx passes on a client's own `X-Forwarded-…`.
        if headers.contains_key(&ORIGINAL_URL) {
            return Self::StatusOnly(once(headers, &ORIGINAL_URL).map(ToOwned::to_owned));
        }
        let address = |host: Option<&str>, uri: Option<&str>| {
            let (scheme, host, uri) = (once(headers, &FORWARDED_PROTO)?, host?, uri?);
            uri.starts_with('/').then(|| format!("{scheme}://{host}{uri}"))
        };
        match envoy {
            Some(uri) => Self::Redirecting(address(once(headers, &HOST), Some(uri))),
            None if headers.contains_key(&FORWARDED_URI) => {
                Self::Redirecting(address(once(headers, &FORWARDED_HOST), once(headers, &FORWARDED_URI)))
            }
            None => Self::Unknown,
        }
    }

    pub(in crate::http) fn address(&self) -> Option<&str> {
        match self {
            Self::StatusOnly(address) | Self::Redirecting(address) => address.as_deref(),
            Self::Unknown => None,
        }
    }
}

/// The value of a header that was sent once. With two values, one may be the client's.
pub(super) fn once<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Whether the request loads a page and is not made by a script (Fetch Metadata, if the browser sends it).
pub(super) fn is_page_load(headers: &HeaderMap) -> bool {
    if headers.contains_key(&REQUESTED_WITH) {
        return false;
    }
    match headers.get(&SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate",
        None => {
            headers.get_all(ACCEPT).iter().any(|kinds| kinds.to_str().is_ok_and(|kinds| kinds.contains("text/html")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn proxy_kind(lines: &[(&'static str, &'static str)], envoy: Option<&str>) -> ProxyKind {
        let mut all = HeaderMap::new();
        for (name, value) in lines {
            all.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        ProxyKind::of(&all, envoy)
    }

    #[test]
    fn proxy_kind_reads_requested_url_of_each_proxy() {
        let app = Some("https://app.example/a?b=c".to_owned());
        let traefik =
            [("x-forwarded-proto", "https"), ("x-forwarded-host", "app.example"), ("x-forwarded-uri", "/a?b=c")];
        assert_eq!(proxy_kind(&traefik, None), ProxyKind::Redirecting(app.clone()));
        let envoy = [("x-forwarded-proto", "https"), ("host", "app.example")];
        assert_eq!(proxy_kind(&envoy, Some("/a?b=c")), ProxyKind::Redirecting(app.clone()));
        let nginx = ("x-original-url", "https://app.example/a?b=c");
        assert_eq!(proxy_kind(&[nginx], None), ProxyKind::StatusOnly(app.clone()));
        assert_eq!(proxy_kind(&[traefik[0], traefik[1], traefik[2], nginx], None), ProxyKind::StatusOnly(app));
        assert_eq!(
            proxy_kind(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "app.example")], None),
            ProxyKind::Unknown
        );
    }

    #[test]
    fn proxy_kind_ignores_repeated_or_partial_headers() {
        let (proto, host, uri) =
            (("x-forwarded-proto", "https"), ("x-forwarded-host", "a.example"), ("x-forwarded-uri", "/"));
        for lines in [
            vec![proto, uri],
            vec![host, uri],
            vec![proto, host, uri, uri],
            vec![proto, host, host, uri],
            vec![proto, proto, host, uri],
            vec![proto, host, ("x-forwarded-uri", "a")],
            vec![proto, host, ("x-forwarded-uri", ".evil.example/")],
        ] {
            assert_eq!(proxy_kind(&lines, None), ProxyKind::Redirecting(None), "{lines:?}");
        }
        let twice = ("x-original-url", "https://a.example/");
        assert_eq!(proxy_kind(&[twice, twice], None), ProxyKind::StatusOnly(None));
    }

    #[test]
    fn page_load_is_distinguished_from_script_request() {
        for (page, lines) in [
            (true, vec![("sec-fetch-mode", "navigate"), ("accept", "*/*")]),
            (true, vec![("accept", "text/html,application/xhtml+xml")]),
            (false, vec![("sec-fetch-mode", "cors"), ("accept", "text/html")]),
            (false, vec![("sec-fetch-mode", "websocket")]),
            (false, vec![("sec-fetch-mode", "no-cors"), ("accept", "image/avif,*/*")]),
            (false, vec![("x-requested-with", "XMLHttpRequest"), ("accept", "text/html")]),
            (false, vec![("accept", "application/json")]),
            (false, vec![("accept", "*/*")]),
            (false, vec![]),
        ] {
            assert_eq!(is_page_load(&headers(&lines)), page, "{lines:?}");
        }
    }
}
