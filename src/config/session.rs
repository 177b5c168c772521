//! The section `session`: lifetimes, cookie, and assertions for upstreams.

use std::collections::BTreeMap;
use std::time::Duration;

use super::access::{HOST_HELP, authority};
use super::base_url::{PublicUrl, is_domain};
use super::reader::{Item, Reader};
use super::section::Section;
use super::{Assertion, Server, Session, secret};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Reads `session`. `server` is `None` after a problem in that section.
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

    let range = MINUTE..=30 * DAY;
    let lifetime = lifetime.map_or(Some(DAY), |item| reader.duration(&item, &range));
    let idle_timeout = match &idle {
        None => lifetime.map(|lifetime| lifetime.min(8 * HOUR)),
        Some(item) => reader.duration(item, &range),
    };
    let max_per_user = max_per_user.map_or(Some(20), |item| reader.integer(&item, 1..=1000));
    let second = Duration::from_secs(1);
    let cache_ttl = cache_ttl.map_or(Some(second), |item| reader.duration(&item, &(Duration::ZERO..=MINUTE)));
    let cookie_domain = cookie_domain.and_then(|item| domain(&item, server.map(|server| &server.public_url), reader));
    let assertion = assertion.and_then(|item| self::assertion(&item, server, reader));
    let (idle_timeout, lifetime) = (idle_timeout?, lifetime?);
    if let Some(item) = idle.filter(|_| idle_timeout > lifetime) {
        let message = format!("is longer than session.lifetime ({})", humantime::format_duration(lifetime));
        reader.problem(&item, message, "Shorten it, or increase session.lifetime");
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

/// The cookie domain, which must contain the public URL's host.
fn domain<'a>(item: &Item<'a>, public_url: Option<&PublicUrl>, reader: &mut Reader<'a>) -> Option<String> {
    let help = "Write the common domain of the service and the applications, such as example.com";
    let domain = reader.parsed(item, help, |text| {
        let domain = text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase();
        if is_domain(&domain) { Ok(domain) } else { Err("is not a domain of at least two parts") }
    })?;
    if let Some(host) = public_url.map(PublicUrl::host)
        && !covers(&domain, &host)
    {
        reader.problem(item, "does not contain server.public_url, so browsers would reject the cookie", help);
    }
    Some(domain)
}

/// Whether browsers send a cookie of `domain` to `host` (RFC 6265 section 5.1.3).
pub(super) fn covers(domain: &str, host: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn assertion<'a>(item: &Item<'a>, server: Option<&Server>, reader: &mut Reader<'a>) -> Option<Assertion> {
    let mut section = Section::of(item, reader);
    let audience = section.take("audience");
    let audiences = section.take("audiences");
    let ttl = section.take("ttl");
    if audience.is_none() && server.is_some_and(|server| server.trusted_proxies.is_empty()) {
        let help = "List the proxies in server.trusted_proxies, so that the audience is the upstream's origin. Or write \
                    the aud that the only upstream expects";
        section.report_missing("audience", help, reader);
    }
    section.finish(reader);
    let audience = audience.map(|item| self::audience(&item, reader));
    let audiences = audiences.map_or(Some(BTreeMap::new()), |item| self::audiences(&item, reader));
    let range = Duration::from_secs(5)..=Duration::from_mins(10);
    let ttl = ttl.map_or(Some(MINUTE), |item| reader.duration(&item, &range));
    // An invalid audience differs from an absent one.
    let audience = audience.map_or(Some(None), |audience| audience.map(Some));
    Some(Assertion { audience: audience?, audiences: audiences?, ttl: ttl? })
}

fn audience<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let help = "Write the aud that the upstream expects, such as its address";
    reader.parsed(item, help, |text| match text.trim() {
        "" => Err("is empty"),
        text => Ok(text.to_owned()),
    })
}

/// The audiences by host, or `None` after a problem.
fn audiences<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<BTreeMap<String, String>> {
    let mut audiences = BTreeMap::new();
    let entries = Section::of(item, reader).entries();
    let mut valid = true;
    for (key, item) in entries {
        let audience = self::audience(&item, reader);
        let host = match authority(key) {
            Ok(host) => Some(host),
            Err(message) => {
                reader.problem(&item, message, HOST_HELP);
                None
            }
        };
        let both = host.zip(audience);
        valid &= both.is_some();
        if let Some((host, audience)) = both
            && audiences.insert(host, audience).is_some()
        {
            reader.problem(&item, "is the same host as another key", "Write each host once");
        }
    }
    valid.then_some(audiences)
}
