//! Cookies: their names, their scope, and the encryption of login-state cookies.

mod header;

use cookie::time::Duration;
use cookie::{Cookie, CookieJar, Key, SameSite};
use http::{HeaderMap, HeaderValue};

use crate::config::PublicUrl;

/// A sealed cookie of a request.
pub(super) struct SealedCookie {
    pub(super) name: String,
    /// The decrypted value, if one of our keys sealed it.
    pub(super) value: Option<String>,
    /// Size of name and value as sent.
    pub(super) bytes: usize,
}

/// Names, scope and keys of our cookies.
pub(super) struct Cookies {
    /// `__Host-` if browsers accept it: with https and without a base path.
    prefix: &'static str,
    session_name: String,
    path: String,
    secure: bool,
    /// The session cookie is sent to this domain and its subdomains. `None`: only to our host and base path.
    domain: Option<String>,
    /// The first key seals, all keys open. Never empty.
    keys: Vec<Key>,
}

impl Cookies {
    /// Takes at least one key of 64 bytes.
    pub(super) fn new(public_url: &PublicUrl, domain: Option<String>, keys: &[Vec<u8>]) -> Self {
        let (secure, base) = (public_url.is_secure(), public_url.base_path());
        let prefix = if secure && base.is_empty() { "__Host-" } else { "" };
        let path = if base.is_empty() { "/" } else { base }.to_owned();
        // `__Host-` does not allow a domain; `__Secure-` does.
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

    /// Prefix of the names of login-state cookies.
    pub(super) fn login_state_prefix(&self) -> String {
        format!("{}entraway-attempt-", self.prefix)
    }

    /// The distinct values that `read` returns for cookies of this name, in the order in which they were sent.
    pub(super) fn values<'h, T: PartialEq>(
        headers: &'h HeaderMap,
        name: &str,
        read: impl FnMut(&'h [u8]) -> Option<T>,
    ) -> Vec<T> {
        header::values(headers, name, read)
    }

    /// The value of a sealed cookie, if one of our keys sealed it under this name. Values that do not decrypt are
    /// ignored, since another host may have planted them. If two values decrypt and differ, neither counts.
    pub(super) fn open(&self, headers: &HeaderMap, name: &str) -> Option<String> {
        let mut opened = header::values(headers, name, |value| self.unseal(name, value));
        opened.pop().filter(|_| opened.is_empty())
    }

    /// At most `limit` cookies whose names have this prefix, each with its value if one of our keys sealed it.
    pub(super) fn open_all(&self, headers: &HeaderMap, prefix: &str, limit: usize) -> Vec<SealedCookie> {
        let ours = header::pairs(headers).filter_map(|(name, value)| {
            let name = str::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()))?;
            name.starts_with(prefix).then_some((name, value))
        });
        let open = |(name, value): (&str, &[u8])| {
            let bytes = name.len() + value.len();
            SealedCookie { name: name.to_owned(), bytes, value: self.unseal(name, value) }
        };
        ours.take(limit).map(open).collect()
    }

    fn unseal(&self, name: &str, sealed: &[u8]) -> Option<String> {
        let sealed = str::from_utf8(sealed).ok()?;
        let jar = CookieJar::new();
        let opened = |key| jar.private(key).decrypt(Cookie::new(name.to_owned(), sealed.to_owned()));
        self.keys.iter().find_map(opened).map(|cookie| cookie.value().to_owned())
    }

    /// `Set-Cookie` header with a session token. The cookie lasts until the browser closes.
    pub(super) fn set_session(&self, token: String) -> HeaderValue {
        set_cookie(&self.session_cookie(token))
    }

    /// `Set-Cookie` header that deletes the session cookie.
    pub(super) fn delete_session(&self) -> HeaderValue {
        let mut cookie = self.session_cookie(String::new());
        cookie.set_max_age(Duration::ZERO);
        set_cookie(&cookie)
    }

    fn session_cookie(&self, token: String) -> Cookie<'static> {
        let mut cookie = self.cookie(self.session_name.clone(), token);
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.clone());
            cookie.set_path("/");
        }
        cookie
    }

    /// `Set-Cookie` header with a sealed value.
    pub(super) fn set_sealed(&self, name: String, value: String, seconds: i64) -> HeaderValue {
        let mut jar = CookieJar::new();
        if let Some(key) = self.keys.first() {
            jar.private_mut(key).add(Cookie::new(name.clone(), value));
        }
        let sealed = jar.get(&name).map(|cookie| cookie.value().to_owned()).unwrap_or_default();
        let mut cookie = self.cookie(name, sealed);
        cookie.set_max_age(Duration::seconds(seconds));
        set_cookie(&cookie)
    }

    /// `Set-Cookie` header that deletes a cookie.
    pub(super) fn delete(&self, name: String) -> HeaderValue {
        let mut cookie = self.cookie(name, String::new());
        cookie.set_max_age(Duration::ZERO);
        set_cookie(&cookie)
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

#[expect(
    clippy::expect_used,
    reason = "names are ours or were read from a header, values are base64, and paths come from a `Url`"
)]
fn set_cookie(cookie: &Cookie<'_>) -> HeaderValue {
    HeaderValue::from_str(&cookie.to_string()).expect("a cookie is ASCII")
}
