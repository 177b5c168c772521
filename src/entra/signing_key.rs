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
