//! The section `session`: how long a sign-in lasts, where its cookie goes, and what upstreams are told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::access::authority;
use super::base_url::{PublicUrl, is_domain};
use super::reader::{Item, Reader};
use super::section::Section;
use super::{Assertion, Server, Session, secret};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// `server`: whose cookies these are, and which proxies name upstreams, where that is known.
pub(super) fn session<'a>(root: &mut Section<'a>, server: Option<&Server>, reader: &mut Reader<'a>) -> Option<Session> {
    let mut section = root.section("session", reader);
    let idle = section.take("idle_timeout");
    let lifetime = section.take("lifetime");
    let max_per_user = section.take("max_per_user");
    let cache_ttl = section.take("cache_ttl");
    let cookie_domain = section.take("cookie_domain");
    let cookie_keys = secret::cookie_keys(&mut section, reader);
    let assertion = section.take("assertion");
    section.finish(reader);

    let limits = MINUTE..=30 * DAY;
    let lifetime = lifetime.map_or(Some(DAY), |item| reader.duration(&item, &limits));
    let idle_timeout = match &idle {
        // Who shortens the lifetime only has shortened both.
        None => lifetime.map(|lifetime| lifetime.min(8 * HOUR)),
        Some(item) => reader.duration(item, &limits),
    };
    let max_per_user = max_per_user.map_or(Some(20), |item| reader.whole(&item, 1..=1000));
    let second = Duration::from_secs(1);
    let cache_ttl = cache_ttl.map_or(Some(second), |item| reader.duration(&item, &(Duration::ZERO..=MINUTE)));
    let cookie_domain = cookie_domain.and_then(|item| domain(&item, server.map(|server| &server.public_url), reader));
    let assertion = assertion.and_then(|item| self::assertion(&item, server, reader));
    let (idle_timeout, lifetime) = (idle_timeout?, lifetime?);
    if let Some(item) = idle.filter(|_| idle_timeout > lifetime) {
        let shown = humantime::format_duration(lifetime);
        reader.problem(
            &item,
            format!("is longer than session.lifetime ({shown})"),
            "shorten it, or lengthen the lifetime",
        );
    }
    Some(Session {
        idle_timeout,
        lifetime,
        max_per_user: max_per_user?,
        cache_ttl: cache_ttl?,
        cookie_domain,
        cookie_keys,
        assertion,
    })
}

/// A domain that the public URL's host is in, or is.
fn domain<'a>(item: &Item<'a>, public_url: Option<&PublicUrl>, reader: &mut Reader<'a>) -> Option<String> {
    let remedy = "write the domain that the service and the applications behind it have in common, such as example.com";
    let domain = reader.parsed(item, remedy, |text| {
        let domain = text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase();
        if is_domain(&domain) { Ok(domain) } else { Err("is not a domain of at least two parts") }
    })?;
    if let Some(host) = public_url.map(PublicUrl::host)
        && !covers(&domain, &host)
    {
        reader.problem(item, "is not a domain that server.public_url is in: browsers would refuse the cookie", remedy);
    }
    Some(domain)
}

/// Whether a cookie of this domain goes to that host (RFC 6265, 5.1.3).
pub(super) fn covers(domain: &str, host: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn assertion<'a>(item: &Item<'a>, server: Option<&Server>, reader: &mut Reader<'a>) -> Option<Assertion> {
    let mut section = Section::of(item, reader);
    let audience = section.take("audience");
    let audiences = section.take("audiences");
    let ttl = section.take("ttl");
    if audience.is_none() && server.is_some_and(|server| server.trusted_proxies.is_empty()) {
        let remedy = "name the proxies in server.trusted_proxies: an upstream's own origin is its audience then. Or \
                      write what the only upstream expects as aud";
        section.missing("audience", remedy, reader);
    }
    section.finish(reader);
    let audience = audience.map(|item| self::audience(&item, reader));
    let audiences = audiences.map_or(Some(BTreeMap::new()), |item| self::audiences(&item, reader));
    let limits = Duration::from_secs(5)..=Duration::from_mins(10);
    let ttl = ttl.map_or(Some(MINUTE), |item| reader.duration(&item, &limits));
    // A value that was refused is a problem, and not the same as none.
    let audience = audience.map_or(Some(None), |audience| audience.map(Some));
    Some(Assertion { audience: audience?, audiences: audiences?, ttl: ttl? })
}

fn audience<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let remedy = "write what the upstream expects as aud, such as its own address";
    reader.parsed(item, remedy, |text| match text.trim() {
        "" => Err("is empty"),
        text => Ok(text.to_owned()),
    })
}

/// The audiences by host. All problems are told; with one, there are none.
fn audiences<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<BTreeMap<String, String>> {
    let mut audiences = BTreeMap::new();
    let entries = Section::of(item, reader).entries();
    let mut good = true;
    for (key, item) in entries {
        let audience = self::audience(&item, reader);
        let host = match authority(key) {
            Ok(host) => Some(host),
            Err(said) => {
                reader.problem(&item, said, "write such as app.example.com or app.example.com:8443");
                None
            }
        };
        let both = host.zip(audience);
        good &= both.is_some();
        if let Some((host, audience)) = both
            && audiences.insert(host, audience).is_some()
        {
            reader.problem(&item, "is the same host as another key", "write each host once");
        }
    }
    good.then_some(audiences)
}
