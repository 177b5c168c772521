//! Keys and certificates like those that operators create.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use entraway::util::clock::Clock;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use sha2::{Digest as _, Sha256};

/// A self-signed certificate with its RSA key.
pub(crate) struct Certified {
    pub(crate) der: Vec<u8>,
    /// In PKCS #8.
    pub(crate) key: Vec<u8>,
    until: DateTime<Utc>,
}

impl Certified {
    /// Valid from yesterday, for this many days.
    pub(crate) fn for_days(days: i64) -> Self {
        let now = Clock::system().now();
        Self::from_until(now - TimeDelta::days(1), now + TimeDelta::days(days))
    }

    pub(crate) fn from_until(from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        Self::of(&next_key(), from, until)
    }

    pub(crate) fn of(key: &KeyPair, from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let mut params = CertificateParams::default();
        params.not_before = SystemTime::from(from).into();
        params.not_after = SystemTime::from(until).into();
        let der = params.self_signed(key).unwrap().der().to_vec();
        Self { der, key: key.serialize_der(), until }
    }

    /// The day on which it expires.
    pub(crate) fn last_day(&self) -> String {
        self.until.format("%Y-%m-%d").to_string()
    }

    /// The thumbprint with which an assertion names it.
    pub(crate) fn sha256(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.der))
    }

    /// Key and certificate in one file.
    pub(crate) fn pem(&self) -> String {
        pem("PRIVATE KEY", &self.key) + &pem("CERTIFICATE", &self.der)
    }

    /// The secret parts: each line of the key.
    pub(crate) fn secrets(&self) -> Vec<String> {
        pem("PRIVATE KEY", &self.key).lines().filter(|line| line.len() == 64).map(str::to_owned).collect()
    }
}

/// An RSA key that no other certificate of this test has. Generation is slow, so tests share the keys: each test runs
/// in its own thread and starts with the first key.
fn next_key() -> Arc<KeyPair> {
    static KEYS: Mutex<Vec<Arc<KeyPair>>> = Mutex::new(Vec::new());
    thread_local! {
        static USED: Cell<usize> = const { Cell::new(0) };
    }
    let nth = USED.replace(USED.get() + 1);
    let mut keys = KEYS.lock().unwrap();
    while keys.len() <= nth {
        keys.push(Arc::new(KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()));
    }
    keys[nth].clone()
}

/// Wraps at 64 letters, as openssl does.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
