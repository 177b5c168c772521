//! What docs/reference/forward-auth.md shows of how an upstream checks an assertion; a test compares the two.

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

/// The claims of an assertion for this application. `keys`: what `/.well-known/jwks.json` holds.
pub(crate) fn verify(assertion: &str, issuer: &str, origin: &str, keys: &JwkSet) -> Result<Value, Error> {
    let kid = decode_header(assertion)?.kid.ok_or(ErrorKind::InvalidToken)?;
    let key = keys.find(&kid).ok_or(ErrorKind::InvalidToken)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[origin]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    Ok(decode::<Value>(assertion, &DecodingKey::from_jwk(key)?, &validation)?.claims)
}
