//! Our cookies: their names, their scope, and the seal on those that hold a sign-in attempt.

use cookie::time::Duration;
use cookie::{Cookie, CookieJar, Key, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::config::PublicUrl;

/// A sealed cookie that came with a request.
pub(super) struct Opened {
    pub(super) name: String,
    /// What it holds, if one of our keys sealed it.
    pub(super) value: Option<String>,
    /// As it was sent.
    pub(super) bytes: usize,
}

/// How our cookies are named, scoped and sealed.
pub(super) struct Cookies {
    /// `__Host-` where the browser accepts it: https, and the whole host.
    prefix: &'static str,
    session_name: String,
    path: String,
    secure: bool,
    /// The session's cookie goes to this domain and all below it; none: to our host and path alone.
    domain: Option<String>,
    /// The first seals, all open. Never empty.
    keys: Vec<Key>,
}

impl Cookies {
    /// `keys` are of 64 bytes each, and there is at least one.
    pub(super) fn new(public_url: &PublicUrl, domain: Option<String>, keys: &[Vec<u8>]) -> Self {
        let (secure, base) = (public_url.is_secure(), public_url.base_path());
        let prefix = if secure && base.is_empty() { "__Host-" } else { "" };
        let path = if base.is_empty() { "/" } else { base }.to_owned();
        // With a domain `__Host-` is not to be had; `__Secure-` still is.
        let session_prefix = match &domain {
            None => prefix,
            Some(_) if secure => "__Secure-",
            Some(_) => "",
        };
        let session_name = format!("{session_prefix}entraway");
        Self { prefix, session_name, path, secure, domain, keys: keys.iter().map(|key| Key::from(key)).collect() }
    }

    pub(super) fn session_name(&self) -> &str {
        &self.session_name
    }

    /// What the names of attempts' cookies begin with.
    pub(super) fn attempt_prefix(&self) -> String {
        format!("{}entraway-attempt-", self.prefix)
    }

    /// A cookie's value as it was sent; `None` where two of that name came, since then one is not ours.
    pub(super) fn plain(headers: &HeaderMap, name: &str) -> Option<String> {
        let mut values = Self::all(headers, name);
        let value = values.pop();
        value.filter(|_| values.is_empty())
    }

    /// Every value that was sent under this name.
    pub(super) fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        each(headers, |cookie| {
            if cookie.name() == name {
                values.push(cookie.value().to_owned());
            }
        });
        values
    }

    /// What a sealed cookie holds, if one of our keys sealed it under this very name.
    pub(super) fn open(&self, headers: &HeaderMap, name: &str) -> Option<String> {
        self.unseal(name, &Self::plain(headers, name)?)
    }

    /// The cookies whose names begin so, each with what it holds if one of our keys sealed it; at most so many.
    pub(super) fn open_all(&self, headers: &HeaderMap, prefix: &str, most: usize) -> Vec<Opened> {
        let mut opened = Vec::new();
        each(headers, |cookie| {
            let name = cookie.name();
            if opened.len() < most && name.starts_with(prefix) && name.bytes().all(|b| b.is_ascii_graphic()) {
                let bytes = name.len() + cookie.value().len();
                opened.push(Opened { name: name.to_owned(), bytes, value: self.unseal(name, cookie.value()) });
            }
        });
        opened
    }

    fn unseal(&self, name: &str, sealed: &str) -> Option<String> {
        let jar = CookieJar::new();
        let opened = |key| jar.private(key).decrypt(Cookie::new(name.to_owned(), sealed.to_owned()));
        self.keys.iter().find_map(opened).map(|cookie| cookie.value().to_owned())
    }

    /// A `Set-Cookie` header with a session's token, which lasts as long as the browser does.
    pub(super) fn set_session(&self, token: String) -> HeaderValue {
        header(&self.session_cookie(token))
    }

    /// A `Set-Cookie` header that takes the session away.
    pub(super) fn remove_session(&self) -> HeaderValue {
        let mut cookie = self.session_cookie(String::new());
        cookie.set_max_age(Duration::ZERO);
        header(&cookie)
    }

    fn session_cookie(&self, token: String) -> Cookie<'static> {
        let mut cookie = self.cookie(self.session_name.clone(), token);
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.clone());
            cookie.set_path("/");
        }
        cookie
    }

    /// A `Set-Cookie` header with a sealed value.
    pub(super) fn set_sealed(&self, name: String, value: String, seconds: i64) -> HeaderValue {
        let mut jar = CookieJar::new();
        if let Some(key) = self.keys.first() {
            jar.private_mut(key).add(Cookie::new(name.clone(), value));
        }
        let sealed = jar.get(&name).map(|cookie| cookie.value().to_owned()).unwrap_or_default();
        let mut cookie = self.cookie(name, sealed);
        cookie.set_max_age(Duration::seconds(seconds));
        header(&cookie)
    }

    /// A `Set-Cookie` header that takes a cookie away.
    pub(super) fn remove(&self, name: String) -> HeaderValue {
        let mut cookie = self.cookie(name, String::new());
        cookie.set_max_age(Duration::ZERO);
        header(&cookie)
    }

    fn cookie(&self, name: String, value: String) -> Cookie<'static> {
        Cookie::build((name, value))
            .path(self.path.clone())
            .http_only(true)
            .secure(self.secure)
            .same_site(SameSite::Lax)
            .build()
    }
}

/// The cookies that came with a request. Another application's may hold any bytes; what is no text there is none of ours.
/// Looks at each cookie that was sent.
fn each(headers: &HeaderMap, mut look: impl FnMut(&Cookie<'_>)) {
    for line in headers.get_all(COOKIE) {
        Cookie::split_parse(String::from_utf8_lossy(line.as_bytes())).flatten().for_each(|cookie| look(&cookie));
    }
}

fn header(cookie: &Cookie<'_>) -> HeaderValue {
    // Unwrap safety: names are ours or were read from a header, values are base64, and paths come from a `Url`.
    HeaderValue::from_str(&cookie.to_string()).expect("a cookie of plain characters")
}
