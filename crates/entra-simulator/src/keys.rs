//! Signing keys of ID tokens, and the JWKS that publish them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A 2048-bit RSA key and its `kid`.
#[derive(Debug)]
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    /// `SubjectPublicKeyInfo`.
    pub(crate) public_der: Vec<u8>,
    pair: KeyPair,
}

impl SigningKey {
    #[expect(clippy::expect_used, reason = "AWS-LC fails here only without memory or the system's randomness")]
    pub(crate) fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("RSA key generation");
        let public_der = pair.public_key().as_der().expect("DER of a fresh RSA key").as_ref().to_vec();
        // Entra's `kid`s are SHA-1 thumbprints of certificates; 20 bytes give the same length.
        let kid = URL_SAFE_NO_PAD.encode(&Sha256::digest(&public_der)[..20]);
        Self { kid, public_der, pair }
    }

    /// The nth key of those that all simulators of this process share. A test run starts hundreds of simulators, and
    /// generating an RSA key takes longer than most tests.
    pub(crate) fn shared(nth: usize) -> Arc<Self> {
        static KEYS: Mutex<Vec<Arc<SigningKey>>> = Mutex::new(Vec::new());
        let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
        while keys.len() <= nth {
            keys.push(Arc::new(Self::generate()));
        }
        keys[nth].clone()
    }

    /// Signs with RS256: RSA PKCS #1 v1.5 with SHA-256.
    #[expect(clippy::expect_used, reason = "the buffer has the modulus's length, the one thing that can be wrong")]
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("RSA signature");
        signature
    }

    /// Public key as `RSAPublicKey`.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// Public key in PEM.
    pub(crate) fn public_pem(&self) -> String {
        let text = STANDARD.encode(&self.public_der);
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for (at, letter) in text.char_indices() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(letter);
        }
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        pem
    }

    /// The JWK in Entra's form: without `alg`, with the `issuer` whose tokens the key signs.
    fn jwk(&self, issuer: &str) -> Value {
        let (n, e) = modulus_and_exponent(self.pair.public_key().as_ref());
        json!({
            "kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid,
            "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e),
            "cloud_instance_name": "microsoftonline.com", "issuer": issuer,
        })
    }
}

/// Parses `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`.
fn modulus_and_exponent(der: &[u8]) -> (&[u8], &[u8]) {
    let (sequence, _) = element(der);
    let (n, rest) = element(sequence);
    let (e, _) = element(rest);
    // DER prefixes a zero byte to a number whose top bit is set; JWK does not.
    (n.strip_prefix(&[0]).unwrap_or(n), e)
}

/// Content of the first DER element, and the bytes after it. AWS-LC encoded them, so the lengths are valid.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short if short < 0x80 => (usize::from(short), 2),
        long => {
            let count = usize::from(long & 0x7f);
            (der[2..2 + count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + count)
        }
    };
    (&der[start..start + length], &der[start + length..])
}

/// The published keys and the current signing key.
#[derive(Clone, Debug)]
pub(crate) struct KeyRing {
    published: Vec<Arc<SigningKey>>,
    current: Arc<SigningKey>,
    /// Number of keys used so far: index of the next shared key.
    used: usize,
}

impl KeyRing {
    /// Creates a key ring with one key. Blocks while the key is generated, once per process.
    pub(crate) fn new() -> Self {
        let current = SigningKey::shared(0);
        Self { published: vec![current.clone()], current, used: 1 }
    }

    /// Index of a key that this ring has not published.
    pub(crate) fn next_key(&mut self) -> usize {
        self.used += 1;
        self.used - 1
    }

    pub(crate) fn current(&self) -> &SigningKey {
        &self.current
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&SigningKey> {
        self.published.iter().find(|key| key.kid == kid).map(Arc::as_ref)
    }

    pub(crate) fn kids(&self) -> Vec<String> {
        self.published.iter().map(|key| key.kid.clone()).collect()
    }

    /// Publishes the key. The current signing key stays.
    pub(crate) fn publish(&mut self, key: Arc<SigningKey>) -> String {
        let kid = key.kid.clone();
        self.published.push(key);
        kid
    }

    /// Changes the signing key. Returns `false` if the key is not published.
    pub(crate) fn sign_with(&mut self, kid: &str) -> bool {
        let key = self.published.iter().find(|key| key.kid == kid).cloned();
        key.map(|key| self.current = key).is_some()
    }

    /// Unpublishes all keys except the signing key.
    pub(crate) fn retire_others(&mut self) {
        self.published.retain(|key| key.kid == self.current.kid);
    }

    /// The JWKS. `issuer` is the tenant's, or the template of `common` and `organizations`.
    pub(crate) fn key_set(&self, issuer: &str, personal: Option<&str>) -> Value {
        let mut keys: Vec<Value> = self.published.iter().map(|key| key.jwk(issuer)).collect();
        keys.extend(personal.map(|issuer| personal_accounts_key().jwk(issuer)));
        json!({ "keys": keys })
    }
}

/// A key that is in no JWKS.
pub(crate) fn unpublished_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(SigningKey::generate)
}

/// The key of personal accounts. Entra lists it in the JWKS of `common`; it is valid for their tenant only.
pub(crate) fn personal_accounts_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(SigningKey::generate)
}
