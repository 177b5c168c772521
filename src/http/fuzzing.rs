//! Properties of parsers of untrusted text, for any bytes. The targets in `fuzz/` search for bytes that break one;
//! tests run the inputs in `fuzz/corpus`.
#![expect(clippy::missing_panics_doc, reason = "a violated property panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::cookies::Cookies;
use super::forward_auth::{AccessRequirement, ProxyKind};
use super::middleware::{forwarded_for, sent_request_id};
use super::query::{Query, QueryError};
use super::return_to::ReturnTo;
use super::trace_context;
use crate::config::PublicUrl;
use crate::db::ForwardedUser;

const RETURN_HOST: &str = "app.example:8443";

/// Two login-state cookies with their keys.
static PUBLIC_URLS: LazyLock<Vec<PublicUrl>> = LazyLock::new(|| {
    let urls = ["https://sso.example", "https://sso.example:444/in"];
    urls.iter().filter_map(|url| url.parse().ok()).collect()
});

/// An accepted destination leads to the public URL or a return host, as a browser reads it, and is accepted again.
pub fn return_to(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for public_url in PUBLIC_URLS.iter() {
        if let Some(to) = parsed(&text, public_url) {
            assert_leads_to_us(&to, public_url);
        }
    }
}

fn parsed(text: &str, public_url: &PublicUrl) -> Option<ReturnTo> {
    ReturnTo::parse(text, public_url, &BTreeSet::from([RETURN_HOST.to_owned()]))
}

fn assert_leads_to_us(to: &ReturnTo, public_url: &PublicUrl) {
    let (text, url, base) = (to.as_str(), to.url(public_url), public_url.as_url());
    let ours = &base[Position::BeforeHost..Position::AfterPort];
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    assert!([ours, RETURN_HOST].contains(&authority), "{text:?} leads to {url}");
    assert!(url.scheme() == "https" && !url[..Position::BeforeHost].contains('@'), "{text:?} leads to {url}");
    for written in [text, url.as_str()] {
        let plain = written.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        assert!(plain && !written.starts_with("//"), "{written:?} is not plain ASCII");
    }
    // As a link on one of our own pages, and as a `Location`.
    assert_eq!(base.join(text).as_ref(), Ok(&url), "{text:?} is read in two ways");
    assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(&url), "{url} is read in two ways");
    if text.starts_with('/') {
        let path = url.path().strip_prefix(public_url.base_path());
        assert!(path.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')), "{text:?} is not below {base}");
    }
    assert_eq!(parsed(text, public_url).as_ref(), Some(to), "{text:?} was accepted, but not again");
}

/// Takes lines of `name: value` from a trusted proxy. A first line that begins with a slash is the path that Envoy
/// appends. Accepted headers were sent once and lead to us, and the client address is the last one that is not a
/// trusted proxy.
pub fn forwarded(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n').peekable();
    let envoy = lines.next_if(|line| line.starts_with(b"/")).and_then(|line| std::str::from_utf8(line).ok());
    let headers = headers(lines);

    client_address(&headers);
    if let Some(id) = sent_request_id(&headers) {
        assert!(id.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>&".contains(&b)), "{id:?} goes into pages and logs");
    }

    if let Some(trace) = trace_context::parent(&headers) {
        let line = headers.get("traceparent").map(HeaderValue::as_bytes).unwrap_or_default();
        let ids = format!("-{:032x}-{:016x}-", trace.trace_id, trace.span_id);
        assert_eq!(line.get(2..53), Some(ids.as_bytes()), "{headers:?}");
        assert!(trace.trace_id != 0 && trace.span_id != 0 && !line.starts_with(b"ff"), "{headers:?}");
        assert_eq!(headers.get_all("traceparent").iter().count(), 1, "{headers:?}");
        assert!(trace.state.is_none_or(|state| (1..=512).contains(&state.len())), "{headers:?}");
    }

    let proxy = ProxyKind::of(&headers, envoy);
    let once = |name: &str| headers.get_all(name).iter().count() == 1;
    match (&proxy, envoy) {
        (ProxyKind::StatusOnly(Some(_)), _) => assert!(once("x-original-url"), "{headers:?}"),
        (ProxyKind::Redirecting(Some(_)), Some(_)) => assert!(once("x-forwarded-proto") && once("host"), "{headers:?}"),
        (ProxyKind::Redirecting(Some(_)), None) => {
            let all = ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-uri"];
            assert!(all.into_iter().all(once), "{headers:?}");
        }
        _ => assert_eq!(proxy.address(), None, "{headers:?}"),
    }
    for public_url in PUBLIC_URLS.iter() {
        if let Some(to) = proxy.address().and_then(|to| parsed(to, public_url)) {
            assert_leads_to_us(&to, public_url);
        }
    }
}

fn headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// Reads addresses from the right, as proxies append them: the first one that is not a proxy, and none beyond an
/// unreadable one.
fn client_address(headers: &HeaderMap) {
    let trusted = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.is_loopback(),
    };
    let read = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?.trim();
        let address = text.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
        address.ok().map(|address: IpAddr| address.to_canonical())
    };
    let lines: Vec<&[u8]> = headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect();
    let whole = lines.join(&b',');
    let mut hops = whole.rsplit(|byte| *byte == b',').map(read);
    let expected = hops.find(|hop| !hop.is_some_and(trusted)).flatten();
    assert_eq!(forwarded_for(headers, trusted), expected, "{headers:?}");
}

/// Name, plain value and sealed value of a cookie.
type Sealed = (String, String, String);

/// Two attempts' cookies, and what sealed them.
static SEALED: LazyLock<(Cookies, Vec<Sealed>)> = LazyLock::new(|| {
    let cookies = Cookies::new(&PUBLIC_URLS[0], None, &[vec![7; 64], vec![8; 64]]);
    let seal = |id: &str| {
        let name = format!("{}{id}", cookies.login_state_prefix());
        let header = cookies.set_sealed(name.clone(), format!("value of {id}"), 60);
        let line = header.to_str().unwrap_or_default();
        let (_, sealed) = line.split(';').next().and_then(|pair| pair.split_once('=')).unwrap_or_default();
        (name, format!("value of {id}"), sealed.to_owned())
    };
    let sealed = vec![seal("a"), seal("b")];
    (cookies, sealed)
});

/// Takes lines of cookies in which `{a}` and `{b}` stand for the sealed values of two login states. Only these decrypt,
/// and only under their own names.
pub fn cookies(data: &[u8]) {
    let (cookies, sealed) = &*SEALED;
    let mut text = data.to_vec();
    for (at, place) in ["{a}", "{b}"].iter().enumerate() {
        text = replaced(&text, place.as_bytes(), sealed[at].2.as_bytes());
    }
    let mut headers = HeaderMap::new();
    for value in text.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(COOKIE, value);
    }

    let holds = |name: &str| sealed.iter().find(|(known, ..)| known == name).map(|(_, value, _)| value.as_str());
    for (name, _, value) in sealed {
        let sent = Cookies::values(&headers, name, Some);
        let opened = cookies.open(&headers, name);
        let expected = holds(name).filter(|_| sent.contains(&value.as_bytes()));
        assert_eq!(opened.as_deref(), expected, "{name} opens where its own value is among those sent");
    }
    let sent = Cookies::values(&headers, cookies.session_name(), Some);
    assert!((1..sent.len()).all(|at| !sent[..at].contains(&sent[at])), "each value comes once: {sent:?}");

    let prefix = cookies.login_state_prefix();
    let found = cookies.open_all(&headers, &prefix, 32);
    assert!(found.len() <= 32, "{} cookies", found.len());
    for cookie in found {
        assert!(cookie.name.starts_with(&prefix), "{}", cookie.name);
        assert!(cookie.value.is_none() || cookie.value.as_deref() == holds(&cookie.name), "{}", cookie.name);
        let removal = cookies.delete(cookie.name.clone());
        let line = removal.to_str().unwrap_or_default();
        assert!(line.starts_with(&format!("{}=;", cookie.name)), "{line:?} does not delete {:?}", cookie.name);
        assert_eq!(line.matches(';').count(), 5, "{line:?} has other attributes");
    }
}

fn replaced(text: &[u8], place: &[u8], with: &[u8]) -> Vec<u8> {
    let mut done = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(place.len()).position(|window| window == place) {
        done.extend_from_slice(&rest[..at]);
        done.extend_from_slice(with);
        rest = &rest[at + place.len()..];
    }
    done.extend_from_slice(rest);
    done
}

/// A known parameter that is sent twice is rejected, however it is encoded; otherwise each value is the one sent. A
/// user without memberships meets no access requirement.
pub fn callback_query(data: &[u8]) {
    const KNOWN: [&str; 3] = ["state", "code", "error"];
    let text = String::from_utf8_lossy(data);
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        sent.entry(decoded(name)).or_default().push(decoded(value));
    }
    let values = |name: &str| sent.get(name).map_or(&[][..], |values| &values[..]);
    match Query::parse(Some(&text), &KNOWN) {
        Err(QueryError::Duplicate { name }) => assert!(values(name).len() > 1, "{name} in {text:?} came once"),
        Err(error) => assert_eq!(error.to_string(), "", "{text:?}"),
        Ok(query) => {
            for name in KNOWN {
                let values = values(name);
                assert!(values.len() < 2, "{name} in {text:?} came twice");
                assert_eq!(query.get(name), values.first().map(String::as_str), "{name} in {text:?}");
            }
            assert_eq!(query.get("another"), None);
        }
    }

    let id = uuid::Uuid::nil();
    let user = ForwardedUser {
        identity: crate::domain::Identity { tenant_id: id.into(), object_id: id.into() },
        email: None,
        display_name: None,
        user_role: None,
        organizations: [].into(),
        teams: [].into(),
    };
    if let Ok(requirement) = AccessRequirement::parse(Some(&text)) {
        assert_eq!(requirement.is_met_by(&user), sent.is_empty(), "{text:?} allows a user without memberships");
    }
}

#[cfg(test)]
mod tests {
    use crate::corpus::replay;

    #[test]
    fn return_to_corpus_leads_to_allowed_hosts() {
        replay("return_to", super::return_to);
    }

    #[test]
    fn forwarded_corpus_yields_only_proxy_values() {
        replay("forwarded", super::forwarded);
    }

    #[test]
    fn cookie_corpus_opens_only_own_sealed_values() {
        replay("cookies", super::cookies);
    }

    #[test]
    fn callback_query_corpus_is_read_unambiguously() {
        replay("callback_query", super::callback_query);
    }
}
