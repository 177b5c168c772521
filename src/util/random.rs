//! Randomness from the operating system, in the one place that asks for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// `N` random bytes.
///
/// # Panics
/// Where the operating system has none.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Unwrap safety: an operating system without randomness cannot serve sign-ins at all.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A random (version 4) UUID.
#[must_use]
pub fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(bytes()).into_uuid()
}

/// 256 random bits in base64url: 43 characters.
#[must_use]
pub fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// 72 random bits in base64url: 12 characters, for names that need only be distinct.
#[must_use]
pub fn short_id() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<9>())
}
