//! RSA signing key of Entra, verified with aws-lc-rs, which also does TLS.
//!
//! `openidconnect` lets the caller supply the key type. Its own verifies in plain Rust, which took a fifth of a sign-in's
//! CPU time.

use std::sync::Arc;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeyType, CoreJsonWebKeyUse, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyId, SignatureVerificationError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An RSA public key from a JWK (RFC 7518, 6.3.1). Verifies only RS256, and only with 2048 bits or more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "CoreJsonWebKey")]
pub(super) struct SigningKey {
    jwk: CoreJsonWebKey,
    public: Arc<PublicKeyComponents<Vec<u8>>>,
}

impl TryFrom<Value> for SigningKey {
    type Error = &'static str;

    fn try_from(key: Value) -> Result<Self, Self::Error> {
        let integer = |name: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok()?;
            Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
        };
        let (Some(n), Some(e)) = (integer("n"), integer("e")) else { return Err("not an RSA key") };
        let jwk = serde_json::from_value(key).map_err(|_| "not a signing key")?;
        Ok(Self { jwk, public: Arc::new(PublicKeyComponents { n, e }) })
    }
}

impl From<SigningKey> for CoreJsonWebKey {
    fn from(key: SigningKey) -> Self {
        key.jwk
    }
}

impl JsonWebKey for SigningKey {
    type KeyUse = CoreJsonWebKeyUse;
    type SigningAlgorithm = CoreJwsSigningAlgorithm;

    fn key_id(&self) -> Option<&JsonWebKeyId> {
        self.jwk.key_id()
    }

    fn key_type(&self) -> &CoreJsonWebKeyType {
        self.jwk.key_type()
    }

    fn key_use(&self) -> Option<&CoreJsonWebKeyUse> {
        self.jwk.key_use()
    }

    fn signing_alg(&self) -> JsonWebKeyAlgorithm<&CoreJwsSigningAlgorithm> {
        self.jwk.signing_alg()
    }

    /// Returns a key that verifies nothing, because tokens signed with the client secret are not accepted.
    fn new_symmetric(key: Vec<u8>) -> Self {
        let public = PublicKeyComponents { n: vec![], e: vec![] };
        Self { jwk: CoreJsonWebKey::new_symmetric(key), public: Arc::new(public) }
    }

    fn verify_signature(
        &self,
        algorithm: &CoreJwsSigningAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureVerificationError> {
        if *algorithm != CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256 {
            return Err(SignatureVerificationError::UnsupportedAlg("not RS256".to_owned()));
        }
        let verified = self.public.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature);
        verified.map_err(|_| SignatureVerificationError::CryptoError("bad signature".to_owned()))
    }

    fn hash_bytes(&self, bytes: &[u8], algorithm: &CoreJwsSigningAlgorithm) -> Result<Vec<u8>, String> {
        self.jwk.hash_bytes(bytes, algorithm)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
    use serde_json::json;

    use super::*;

    /// Modulus of a key from `openssl genrsa 1024`; `SIGNATURE` is `openssl dgst -sha256 -sign` of `header.payload`.
    const SHORT: &str = "wB4k6s3znB2RBQltT1oqu8JUReJ1p6pV3kqQhVpIwsh__bxSTJmAGYC6kUwNwenbNOIW9mL5oNlZfwkVBrsr38Dh9y80LM1FNh9r\
                         N6BK-E7X_PCHmbBp-EPi6cqkdPRTQg69z2KM68yybmDMrnPYriS_JJbyQ1Y8J6Lr_L8iGmE";
    const SIGNATURE: &str = "tMxn41-iQnF1BqMo_2KPv4Lk0YWXiidNAk_Ggnr7hHpqGGd-ZNEJ6ALL-auZv6lXDyaFOAR1qZ8-OprOStOixmmCahcp0o4T\
                             gZ0S2wFX8Zgcuo8t_fPRvVo6QyYS1mP4zTSNXiU32WNMi4WORGkvZ3ua24WXSfs8WtYGxPrzBIw";

    #[test]
    fn key_of_1024_bits_verifies_no_signature() {
        let jwk = json!({ "kty": "RSA", "use": "sig", "kid": "short", "n": SHORT, "e": "AQAB" });
        let key: SigningKey = serde_json::from_value(jwk).unwrap();
        let (message, signature) = (b"header.payload", URL_SAFE_NO_PAD.decode(SIGNATURE).unwrap());
        let legacy = key.public.verify(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, message, &signature);
        assert!(legacy.is_ok(), "the test data is wrong: the signature is from another key");
        let verified = key.verify_signature(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, message, &signature);
        assert!(verified.is_err(), "RFC 7518, 3.3: RS256 needs 2048 bits or more");
    }
}
