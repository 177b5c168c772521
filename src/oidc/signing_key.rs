//! A key that Entra signs ID tokens with: RSA, verified by the library that TLS is made with. `openidconnect` asks whatever
//! key it is given; its own computes in plain Rust, which took a fifth of all that a sign-in takes of the processor.

use std::sync::Arc;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeyType, CoreJsonWebKeyUse, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyId, SignatureVerificationError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An RSA key as a JWK (RFC 7518, 6.3.1). Only RS256 is verified with it, and only with 2048 bits or more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "CoreJsonWebKey")]
pub(super) struct SigningKey {
    described: CoreJsonWebKey,
    public: Arc<PublicKeyComponents<Vec<u8>>>,
}

impl TryFrom<Value> for SigningKey {
    type Error = &'static str;

    fn try_from(key: Value) -> Result<Self, Self::Error> {
        let number = |name: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok()?;
            Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
        };
        let (Some(n), Some(e)) = (number("n"), number("e")) else { return Err("not an RSA key") };
        let described = serde_json::from_value(key).map_err(|_| "not a signing key")?;
        Ok(Self { described, public: Arc::new(PublicKeyComponents { n, e }) })
    }
}

impl From<SigningKey> for CoreJsonWebKey {
    fn from(key: SigningKey) -> Self {
        key.described
    }
}

impl JsonWebKey for SigningKey {
    type KeyUse = CoreJsonWebKeyUse;
    type SigningAlgorithm = CoreJwsSigningAlgorithm;

    fn key_id(&self) -> Option<&JsonWebKeyId> {
        self.described.key_id()
    }

    fn key_type(&self) -> &CoreJsonWebKeyType {
        self.described.key_type()
    }

    fn key_use(&self) -> Option<&CoreJsonWebKeyUse> {
        self.described.key_use()
    }

    fn signing_alg(&self) -> JsonWebKeyAlgorithm<&CoreJwsSigningAlgorithm> {
        self.described.signing_alg()
    }

    /// For tokens that are signed with the client secret, which are not taken: a key that verifies nothing.
    fn new_symmetric(key: Vec<u8>) -> Self {
        let public = PublicKeyComponents { n: vec![], e: vec![] };
        Self { described: CoreJsonWebKey::new_symmetric(key), public: Arc::new(public) }
    }

    fn verify_signature(
        &self,
        algorithm: &CoreJwsSigningAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureVerificationError> {
        if *algorithm != CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256 {
            return Err(SignatureVerificationError::UnsupportedAlg("another than RS256".to_owned()));
        }
        let verified = self.public.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature);
        verified.map_err(|_| SignatureVerificationError::CryptoError("bad signature".to_owned()))
    }

    fn hash_bytes(&self, bytes: &[u8], algorithm: &CoreJwsSigningAlgorithm) -> Result<Vec<u8>, String> {
        self.described.hash_bytes(bytes, algorithm)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
    use serde_json::json;

    use super::*;

    /// Of `openssl genrsa 1024`, and what `openssl dgst -sha256 -sign` makes of `header.payload` with it.
    const SHORT: &str = "wB4k6s3znB2RBQltT1oqu8JUReJ1p6pV3kqQhVpIwsh__bxSTJmAGYC6kUwNwenbNOIW9mL5oNlZfwkVBrsr38Dh9y80LM1FNh9r\
                         N6BK-E7X_PCHmbBp-EPi6cqkdPRTQg69z2KM68yybmDMrnPYriS_JJbyQ1Y8J6Lr_L8iGmE";
    const SIGNATURE: &str = "tMxn41-iQnF1BqMo_2KPv4Lk0YWXiidNAk_Ggnr7hHpqGGd-ZNEJ6ALL-auZv6lXDyaFOAR1qZ8-OprOStOixmmCahcp0o4T\
                             gZ0S2wFX8Zgcuo8t_fPRvVo6QyYS1mP4zTSNXiU32WNMi4WORGkvZ3ua24WXSfs8WtYGxPrzBIw";

    #[test]
    fn a_key_of_1024_bits_verifies_nothing_though_its_signature_is_right() {
        let jwk = json!({ "kty": "RSA", "use": "sig", "kid": "short", "n": SHORT, "e": "AQAB" });
        let key: SigningKey = serde_json::from_value(jwk).unwrap();
        let (message, signature) = (b"header.payload", URL_SAFE_NO_PAD.decode(SIGNATURE).unwrap());
        let right = key.public.verify(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, message, &signature);
        assert!(right.is_ok(), "the example is none: its signature is another key's");
        let verified = key.verify_signature(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, message, &signature);
        assert!(verified.is_err(), "RFC 7518, 3.3: a key for RS256 has 2048 bits or more");
    }
}
