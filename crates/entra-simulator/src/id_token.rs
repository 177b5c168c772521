//! ID tokens: their claims, and incorrect signatures for tests.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::call::Call;
use crate::code::Grant;
use crate::directory::{Directory, User};
use crate::keys::{KeyRing, personal_accounts_key, unpublished_key};

/// An ID token before encoding.
#[derive(Clone, Debug)]
pub struct IdToken {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
    pub signing: Signing,
    /// Sent instead of an encoded token.
    pub raw: Option<String>,
}

/// How the token is signed. Sets the header's `alg` and `kid` unless the test has changed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signing {
    /// With the current signing key, as Entra does.
    Current,
    /// With another published key, by its `kid`.
    Published(String),
    /// With an unpublished key and its own `kid`.
    UnknownKey,
    /// With an unpublished key and the current key's `kid`.
    WrongKey,
    /// With the key of personal accounts, which the JWKS of `common` publishes for their tenant only.
    PersonalAccountsKey,
    /// `alg` is `none` and the signature is empty.
    None,
    /// With HMAC and this secret. The public key as the secret is the classic algorithm confusion.
    Hs256(Vec<u8>),
    /// One bit of the signature is wrong.
    CorruptSignature,
    /// The second half of the signature is missing.
    CutSignature,
    /// Only two parts: the second dot and the signature are missing.
    NoSignature,
}

impl IdToken {
    /// Creates the token that Entra would issue for the grant.
    pub(crate) fn issue(
        directory: &Directory,
        person: &User,
        grant: &Grant,
        origin: &str,
        kid: &str,
        call: &Call,
    ) -> Self {
        let tid = directory.tenant_of(person).to_string();
        let oid = person.id.to_string();
        // Entra dates tokens five minutes back to allow for clock skew.
        let issued = call.at.timestamp() - 300;
        let mut claims = object(json!({
            "aud": grant.client_id,
            "iss": format!("{origin}/{tid}/v2.0"),
            "iat": issued,
            "nbf": issued,
            "exp": issued + 3900,
            "rh": format!("1.{}.", opaque(12)),
            "sid": grant.session_id.to_string(),
            "sub": URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{}/{tid}/{oid}", grant.client_id))),
            "tid": tid,
            "uti": opaque(16),
            "ver": "2.0",
        }));
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        if let Some(nonce) = &grant.nonce {
            put("nonce", json!(nonce));
        }
        if grant.asked_for("profile") {
            put("oid", json!(oid));
            put("name", json!(person.name));
            let shown = if person.guest { person.email.as_ref().unwrap_or(&person.upn) } else { &person.upn };
            put("preferred_username", json!(shown));
        }
        if let Some(email) = &person.email
            // A guest's address is included without the scope.
            && (person.guest || grant.asked_for("email"))
        {
            put("email", json!(email));
        }
        if person.guest {
            put("idp", json!("https://sts.windows.net/025013fd-f66b-5e21-bbef-fe1bfe8a8b48/"));
        }
        let roles = directory.roles_of(person);
        if !roles.is_empty() {
            put("roles", json!(roles));
        }
        Self {
            header: object(json!({ "typ": "JWT", "alg": "RS256", "kid": kid })),
            claims,
            signing: Signing::Current,
            raw: None,
        }
    }

    /// The compact serialization: three base64url parts separated by dots.
    pub(crate) fn compact(mut self, keys: &KeyRing) -> String {
        if let Some(raw) = self.raw {
            return raw;
        }
        let key = match &self.signing {
            Signing::Published(kid) => keys.find(kid),
            Signing::PersonalAccountsKey => Some(personal_accounts_key()),
            Signing::UnknownKey | Signing::WrongKey => Some(unpublished_key()),
            _ => None,
        }
        .unwrap_or(keys.current());
        let kid = if self.signing == Signing::WrongKey { &keys.current().kid } else { &key.kid };
        let algorithm = match self.signing {
            Signing::None => "none",
            Signing::Hs256(_) => "HS256",
            _ => "RS256",
        };
        self.adjust("kid", &keys.current().kid, kid);
        self.adjust("alg", "RS256", algorithm);
        let encode = |part: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::from(part.clone()).to_string());
        let message = format!("{}.{}", encode(&self.header), encode(&self.claims));
        let mut signature = match &self.signing {
            Signing::NoSignature => return message,
            Signing::None => Vec::new(),
            Signing::Hs256(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
            _ => key.sign(message.as_bytes()),
        };
        match self.signing {
            Signing::CorruptSignature => signature[40] ^= 1,
            Signing::CutSignature => signature.truncate(signature.len() / 2),
            _ => {}
        }
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Sets a header member unless the test has changed it.
    fn adjust(&mut self, name: &str, issued: &str, wanted: &str) {
        if self.header.get(name).is_some_and(|value| value == issued) {
            self.header.insert(name.to_owned(), json!(wanted));
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Random text of this many bytes, at most 32, for opaque identifiers.
pub(crate) fn opaque(bytes: usize) -> String {
    let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    URL_SAFE_NO_PAD.encode(&random[..bytes.min(random.len())])
}
