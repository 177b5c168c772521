//! Randomness from the operating system.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// `N` random bytes.
///
/// # Panics
/// Panics if the operating system provides no randomness.
#[expect(clippy::expect_used, reason = "no sign-in can be served without randomness")]
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}

/// A random (version 4) UUID.
#[must_use]
pub fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(bytes()).into_uuid()
}

/// A version 7 UUID, which sorts by time.
#[must_use]
pub fn uuid_at(time: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(time.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes()).into_uuid()
}

/// A random number from 0 to 1.
#[must_use]
pub fn fraction() -> f64 {
    f64::from(u32::from_le_bytes(bytes())) / f64::from(u32::MAX)
}

/// A secret: 256 random bits in base64url, 43 characters.
#[must_use]
pub fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// An ID that is unique but not secret: 72 random bits in base64url, 12 characters.
#[must_use]
pub fn short_id() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<9>())
}
