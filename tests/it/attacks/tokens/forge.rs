//! A signing key of the test, for tokens that the simulator cannot produce because it writes valid JSON.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_simulator::{Endpoint, EntraSimulator, Fault, FaultRule, IdToken};
use serde_json::{Map, Value, json};

pub(super) const KID: &str = "a-key-of-the-tests-own-00000";

/// The tests share one key, because generating an RSA key takes longer than most tests.
pub(super) struct Forge(&'static KeyPair);

impl Forge {
    pub(super) fn new() -> Self {
        static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).unwrap());
        Self(&KEY)
    }

    /// The public key as an entry of a JWKS.
    pub(super) fn jwk(&self) -> Value {
        // `RSAPublicKey` of 2048 bits with the usual exponent: two headers and a zero, 256 bytes, five bytes.
        let der = self.0.public_key().as_ref();
        assert_eq!((der.len(), &der[265..]), (270, &[2, 3, 1, 0, 1][..]), "unexpected DER encoding");
        json!({ "kty": "RSA", "use": "sig", "kid": KID, "n": URL_SAFE_NO_PAD.encode(&der[9..265]), "e": "AQAB" })
    }

    /// Makes Entra publish only this key until the faults are cleared.
    pub(super) fn publish(&self, simulator: &EntraSimulator) {
        let keys = json!({ "keys": [self.jwk()] });
        simulator
            .fault(FaultRule::on(Endpoint::Keys, Fault::Status { status: 200, retry_after: None, body: Some(keys) }));
    }

    /// Signs a token with this header and payload.
    pub(super) fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Re-signs the token with this key after `change` edits its header and payload texts.
    pub(super) fn rewrite(&self, token: &mut IdToken, change: impl Fn(&mut String, &mut String)) {
        token.header.insert("kid".to_owned(), json!(KID));
        let text = |part: &Map<String, Value>| Value::Object(part.clone()).to_string();
        let (mut header, mut payload) = (text(&token.header), text(&token.claims));
        change(&mut header, &mut payload);
        token.raw = Some(self.sign(&header, &payload));
    }
}
