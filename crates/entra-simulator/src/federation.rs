//! Another identity provider, such as a Kubernetes cluster, whose tokens an app registration can trust.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::keys::SigningKey;

/// A federated credential: which tokens Entra accepts as client authentication.
#[derive(Clone, Debug)]
pub struct FederatedCredential {
    /// Compared exactly, like the subject and the audience.
    pub issuer: String,
    pub subject: String,
    pub audience: String,
    /// Keys that the issuer publishes.
    pub keys: Vec<FederatedKey>,
}

/// Public key of an issuer.
#[derive(Clone, Debug)]
pub struct FederatedKey {
    pub kid: String,
    /// `RSAPublicKey` in DER.
    pub public_key: Vec<u8>,
}

/// An identity provider that signs tokens.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    key: SigningKey,
}

impl Issuer {
    /// Audience that Entra's public cloud expects.
    pub const AUDIENCE: &str = "api://AzureADTokenExchange";

    /// Creates an issuer with a new key.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), key: SigningKey::generate() }
    }

    /// Federated credential that trusts this issuer's tokens about the subject.
    #[must_use]
    pub fn credential(&self, subject: &str) -> FederatedCredential {
        let key = FederatedKey { kid: self.key.kid.clone(), public_key: self.key.public_key() };
        FederatedCredential {
            issuer: self.url.clone(),
            subject: subject.to_owned(),
            audience: Self::AUDIENCE.to_owned(),
            keys: vec![key],
        }
    }

    /// Signs a token about the subject, valid for one hour from `from`.
    #[must_use]
    pub fn token(&self, subject: &str, audience: &str, from: i64) -> String {
        let header = json!({ "alg": "RS256", "kid": self.key.kid, "typ": "JWT" });
        let claims = json!({
            "aud": [audience], "iss": self.url, "sub": subject, "iat": from, "nbf": from, "exp": from + 3600,
        });
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes())))
    }
}
