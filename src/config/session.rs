//! The section `session`: lifetimes, cookie, and assertions for upstreams.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use humantime::format_duration;

use super::access::{HOST_HELP, authority};
use super::base_url::is_domain;
use super::reader::Item;
use super::secret::{self, CookieKey};
use super::section::Section;
use super::server::Server;

/// `session`: lifetimes, cookie and assertions.
#[derive(Debug, Clone)]
pub struct Session {
    pub idle_timeout: Duration,
    pub lifetime: Duration,
    /// Maximum number of sessions of a user; never 0.
    pub max_per_user: u32,
    /// How long sessions stay cached if the database cannot notify of changes. Zero disables the cache then.
    pub cache_ttl: Duration,
    /// Domain of the session cookie. `None` limits it to the public URL's host.
    pub cookie_domain: Option<String>,
    /// The first key seals cookies, all keys open them. If empty, a generated key is stored in Postgres.
    pub cookie_keys: Vec<CookieKey>,
    /// `None` disables assertions.
    pub assertion: Option<Assertion>,
}

/// `session.assertion`: a signed JWT about the user, for upstreams.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The `aud` claim if the request has no forwarded host.
    pub audience: Option<String>,
    /// The `aud` claim by the upstream's host (`host` or `host:port`, normalized). It defaults to the upstream's origin.
    pub audiences: BTreeMap<String, String>,
    pub ttl: Duration,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Reads `session`. `server` is `None` after a problem in that section.
pub(super) fn session(root: &mut Section, server: Option<&Server>) -> Session {
    let mut section = root.section("session");
    let (idle_timeout, lifetime) = lifetimes(&mut section);
    let session = Session {
        idle_timeout,
        lifetime,
        max_per_user: section.value("max_per_user", 20, |item| item.integer(1..=1000)),
        cache_ttl: section.duration("cache_ttl", &(Duration::ZERO..=MINUTE), SECOND),
        cookie_domain: section.optional("cookie_domain", |item| cookie_domain(item, server)),
        cookie_keys: secret::cookie_keys(&mut section),
        assertion: section.optional("assertion", |item| Some(assertion(item, server))),
    };
    section.finish();
    session
}

/// The idle timeout and the maximum lifetime.
fn lifetimes(section: &mut Section) -> (Duration, Duration) {
    let range = MINUTE..=30 * DAY;
    let (idle, lifetime) = (section.take("idle_timeout"), section.take("lifetime"));
    // After a problem the longest one, so that the idle timeout is not reported as well.
    let maximum = lifetime.as_ref().map_or(DAY, |item| item.duration(&range).unwrap_or(*range.end()));
    let default = maximum.min(8 * HOUR);
    let idle_timeout = idle.as_ref().and_then(|item| item.duration(&range)).unwrap_or(default);
    if let Some(item) = idle.as_ref().filter(|_| idle_timeout > maximum) {
        let message = format!("is longer than session.lifetime ({})", format_duration(maximum));
        item.problem(message, "Shorten it, or increase session.lifetime");
    }
    section.show("idle_timeout", idle.as_ref(), format_duration(idle_timeout));
    section.show("lifetime", lifetime.as_ref(), format_duration(maximum));
    (idle_timeout, maximum)
}

/// The cookie domain, which must contain the public URL's host.
fn cookie_domain(item: &Item, server: Option<&Server>) -> Option<String> {
    let help = "Write the common domain of the service and the applications, such as example.com";
    let domain = item.parsed(help, |text| {
        let domain = text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase();
        if is_domain(&domain) { Ok(domain) } else { Err("is not a domain of at least two parts") }
    })?;
    if server.is_some_and(|server| !covers(&domain, &server.public_url.host())) {
        item.problem("does not contain server.public_url, so browsers would reject the cookie", help);
    }
    Some(domain)
}

/// Whether browsers send a cookie of `domain` to `host` (RFC 6265 section 5.1.3).
pub(super) fn covers(domain: &str, host: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn assertion(item: &Item, server: Option<&Server>) -> Assertion {
    let mut section = Section::of(item);
    let audience = section.take("audience");
    if audience.is_none() && server.is_some_and(|server| server.trusted_proxies.is_empty()) {
        let help = "List the proxies in server.trusted_proxies, so that the audience is the upstream's origin. Or write \
                    the aud that the only upstream expects";
        section.report_missing("audience", help);
    }
    let audience = audience.and_then(|item| item.trimmed(AUDIENCE_HELP));
    let audiences = section.take("audiences").map(|item| audiences(&item)).unwrap_or_default();
    let range = Duration::from_secs(5)..=Duration::from_mins(10);
    let ttl = section.take("ttl").and_then(|item| item.duration(&range)).unwrap_or(MINUTE);
    section.finish();
    Assertion { audience, audiences, ttl }
}

const AUDIENCE_HELP: &str = "Write the aud that the upstream expects, such as its address";

/// The audiences by host.
fn audiences(item: &Item) -> BTreeMap<String, String> {
    let mut audiences = BTreeMap::new();
    for (key, item) in Section::of(item).entries() {
        let audience = item.trimmed(AUDIENCE_HELP);
        match authority(key) {
            Err(message) => item.problem(message, HOST_HELP),
            Ok(host) => {
                if audience.and_then(|audience| audiences.insert(host, audience)).is_some() {
                    item.problem("is the same host as another key", "Write each host once");
                }
            }
        }
    }
    audiences
}

/// As the settings page shows it.
impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("audience: ")?;
        for (host, audience) in &self.audiences {
            write!(f, "{audience} for {host}, ")?;
        }
        if let Some(audience) = &self.audience {
            write!(f, "{audience} without a forwarded host, ")?;
        }
        write!(f, "else the upstream's origin; ttl {}", format_duration(self.ttl))
    }
}
