//! A short-lived, signed statement of who somebody is, for upstreams that would rather check than trust: a JWT
//! (RFC 7519) signed with ES256, whose keys are published as a JWK set (RFC 7517).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::db::{AssertionKey, Store, StoreError};
use crate::session::{CompactUser, Id};
use crate::util::clock::{Clock, Moment};
use crate::util::random;
use crate::util::single_flight::SingleFlight;

/// A key signs for this long; then the next one is made.
const RENEW: TimeDelta = TimeDelta::days(30);
/// A new key is published for this long before it signs: twice as long as upstreams may hold the set.
const PUBLISHED_BEFORE: TimeDelta = TimeDelta::minutes(10);
/// How long upstreams may hold the set of keys.
pub const HOLD_KEYS: Duration = Duration::from_mins(5);
/// A key goes when its successor is this old: nothing that it signed is valid any more.
const SUCCEEDED: TimeDelta = TimeDelta::days(1);
/// A key that was deleted, because it was stolen, may not go on signing for long where the table cannot be read.
const OLDEST: Duration = Duration::from_mins(5);
/// How often the keys are looked up, so that a replica learns of one that another has made.
const LOOK_UP: Duration = Duration::from_mins(1);

/// Signs assertions, and publishes with which keys.
pub struct Assertions {
    store: Store,
    clock: Clock,
    issuer: String,
    ttl: TimeDelta,
    ring: SingleFlight<Arc<Ring>, Arc<AssertionError>>,
}

/// Why no assertion could be made.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a key for assertions cannot be used")]
    Key,
    #[error("the assertion could not be signed")]
    Signature(#[source] jsonwebtoken::errors::Error),
}

impl From<Unspecified> for AssertionError {
    fn from(_: Unspecified) -> Self {
        Self::Key
    }
}

/// The keys of the moment.
struct Ring {
    read_at: Moment,
    /// The newest first; never empty.
    keys: Vec<Key>,
}

struct Key {
    kid: String,
    created_at: DateTime<Utc>,
    signing: EncodingKey,
    public: Value,
}

/// What an assertion says. Lists hold what fits into a header; `…_truncated` is how many ids do not.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    tid: String,
    jti: Uuid,
    iat: i64,
    exp: i64,
    auth_time: i64,
    email: Option<&'a str>,
    name: Option<&'a str>,
    role: Option<&'a str>,
    organizations: &'a [Id<'a>],
    organizations_truncated: usize,
    teams: &'a [Id<'a>],
    teams_truncated: usize,
}

impl Assertions {
    /// `issuer`: the public URL.
    #[must_use]
    pub fn new(store: Store, clock: Clock, issuer: String, ttl: Duration) -> Self {
        let ttl = TimeDelta::from_std(ttl).unwrap_or(TimeDelta::zero());
        Self { store, ring: SingleFlight::new(clock.clone()), clock, issuer, ttl }
    }

    /// Signs an assertion about a user that is valid from now on, for one upstream.
    ///
    /// `audience`: the upstream, which refuses an assertion that another one was sent (RFC 7519, 4.1.3). `auth_time`: when
    /// the user signed in.
    pub async fn sign(
        &self,
        person: &CompactUser<'_>,
        audience: &str,
        auth_time: DateTime<Utc>,
    ) -> Result<String, Arc<AssertionError>> {
        let ring = self.ring().await?;
        let now = self.clock.now();
        let key = ring.signer(now).ok_or(AssertionError::Key)?;
        let (organizations, teams) = person.told();
        let claims = Claims {
            iss: &self.issuer,
            aud: audience,
            sub: person.identity.object_id.to_string(),
            tid: person.identity.tenant_id.to_string(),
            jti: random::uuid(),
            iat: now.timestamp(),
            exp: (now + self.ttl).timestamp(),
            auth_time: auth_time.timestamp(),
            email: person.email,
            name: person.display_name,
            role: person.user_role,
            organizations,
            organizations_truncated: person.organizations.len() - organizations.len(),
            teams,
            teams_truncated: person.teams.len() - teams.len(),
        };
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::ES256) };
        let signed = jsonwebtoken::encode(&header, &claims, &key.signing);
        signed.map_err(|error| Arc::new(AssertionError::Signature(error)))
    }

    /// The public keys, as a JWK set.
    pub async fn jwks(&self) -> Result<Value, Arc<AssertionError>> {
        let ring = self.ring().await?;
        Ok(json!({ "keys": ring.keys.iter().map(|key| &key.public).collect::<Vec<_>>() }))
    }

    async fn ring(&self) -> Result<Arc<Ring>, Arc<AssertionError>> {
        let now = self.clock.moment();
        let read = async || self.read().await.map(Arc::new).map_err(Arc::new);
        match self.ring.get(|at, _| at.age(now) < LOOK_UP, LOOK_UP, read).await {
            Ok(ring) => Ok(ring),
            // The keys of a minute ago are as good as today's.
            Err(error) => {
                let now = self.clock.moment();
                self.ring.last().await.filter(|ring| ring.read_at.age(now) < OLDEST).ok_or(error)
            }
        }
    }

    async fn read(&self) -> Result<Ring, AssertionError> {
        let (now, read_at) = (self.clock.now(), self.clock.moment());
        let keys = self.store.assertion_keys(generate(now)?, now - RENEW, now - SUCCEEDED).await?;
        // One row that somebody spoiled must not stop all the others.
        let keys: Vec<Key> = keys
            .into_iter()
            .filter_map(|key| Key::read(key).inspect_err(|error| tracing::warn!("{error}")).ok())
            .collect();
        if keys.is_empty() { Err(AssertionError::Key) } else { Ok(Ring { read_at, keys }) }
    }
}

impl Ring {
    /// The newest key that every upstream has had time to learn of; the oldest where none is that old.
    fn signer(&self, now: DateTime<Utc>) -> Option<&Key> {
        self.keys.iter().find(|key| key.created_at <= now - PUBLISHED_BEFORE).or(self.keys.last())
    }
}

fn generate(now: DateTime<Utc>) -> Result<AssertionKey, AssertionError> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
    let private_key = Zeroizing::new(pkcs8.as_ref().to_vec());
    let (x, y) = coordinates(&private_key)?;
    Ok(AssertionKey { kid: thumbprint(&x, &y), private_key, created_at: now })
}

/// The public key's, in base64url.
fn coordinates(pkcs8: &[u8]) -> Result<(String, String), AssertionError> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| AssertionError::Key)?;
    match pair.public_key().as_ref() {
        // An uncompressed point (SEC 1, 2.3.3).
        [4, point @ ..] if point.len() == 64 => {
            Ok((URL_SAFE_NO_PAD.encode(&point[..32]), URL_SAFE_NO_PAD.encode(&point[32..])))
        }
        _ => Err(AssertionError::Key),
    }
}

/// RFC 7638: the members in alphabetical order, without white space.
fn thumbprint(x: &str, y: &str) -> String {
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

impl Key {
    fn read(key: AssertionKey) -> Result<Self, AssertionError> {
        let (x, y) = coordinates(&key.private_key)?;
        let public = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": key.kid,
        });
        let signing = EncodingKey::from_ec_der(&key.private_key);
        Ok(Self { kid: key.kid, created_at: key.created_at, signing, public })
    }
}
