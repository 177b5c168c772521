//! Assertions: short-lived JWTs (RFC 7519) about the user, which upstreams can verify instead of trusting headers. Signed
//! with ES256; the public keys are published as a JWK set (RFC 7517).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use uuid::Uuid;

use crate::db::{AssertionKey, Db, DbError, ForwardedUser};
use crate::identity_headers::ids_in_header;
use crate::util::clock::{Clock, Moment};
use crate::util::random;
use crate::util::single_flight::SingleFlight;

/// Age at which a new key replaces the newest one.
const KEY_LIFETIME: TimeDelta = TimeDelta::days(30);
/// A new key is published for this long before it signs: twice [`JWKS_MAX_AGE`].
const PUBLISH_BEFORE_USE: TimeDelta = TimeDelta::minutes(10);
/// How long upstreams may cache the JWK set.
pub const JWKS_MAX_AGE: Duration = Duration::from_mins(5);
/// A key is deleted when its successor is this old. By then all its assertions have expired.
const DELETE_AFTER_SUCCESSOR: TimeDelta = TimeDelta::days(1);
/// Maximum age of the cached keys while the table cannot be read. Limits how long a deleted key, such as a stolen one,
/// continues to sign.
const MAX_STALE: Duration = Duration::from_mins(5);
/// How often the keys are read, so that a replica learns of keys that another one created.
const REFRESH_INTERVAL: Duration = Duration::from_mins(1);

/// Signs assertions and publishes the keys.
pub struct Assertions {
    db: Db,
    clock: Clock,
    issuer: String,
    ttl: TimeDelta,
    keys: SingleFlight<Arc<KeySet>, Arc<AssertionError>>,
}

/// Why no assertion could be created.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("an assertion key is not usable")]
    Key,
    #[error("failed to sign the assertion")]
    Signature(#[source] jsonwebtoken::errors::Error),
}

impl From<Unspecified> for AssertionError {
    fn from(_: Unspecified) -> Self {
        Self::Key
    }
}

/// The current keys.
struct KeySet {
    read_at: Moment,
    /// Newest first, never empty.
    keys: Vec<Key>,
}

struct Key {
    created_at: DateTime<Utc>,
    signing: EncodingKey,
    public: Jwk,
}

/// Claims of an assertion. Lists have the same IDs as the headers; `…_truncated` is the number of IDs left out.
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
    organizations: &'a [String],
    organizations_truncated: usize,
    teams: &'a [String],
    teams_truncated: usize,
}

impl Assertions {
    /// `issuer` is the public URL, `ttl` the lifetime of an assertion.
    #[must_use]
    pub fn new(db: Db, clock: Clock, issuer: String, ttl: Duration) -> Self {
        let ttl = TimeDelta::from_std(ttl).unwrap_or(TimeDelta::zero());
        Self { db, keys: SingleFlight::new(clock.clone()), clock, issuer, ttl }
    }

    /// Signs an assertion about a user for one upstream, valid from now on.
    ///
    /// `audience` is the upstream, which rejects assertions for others (RFC 7519, 4.1.3). `auth_time` is when the user
    /// signed in.
    pub async fn sign(
        &self,
        user: &ForwardedUser,
        audience: &str,
        auth_time: DateTime<Utc>,
    ) -> Result<String, Arc<AssertionError>> {
        let keys = self.keys().await?;
        let now = self.clock.now();
        let key = keys.signing_key(now).ok_or(AssertionError::Key)?;
        let (organizations, teams) = (ids_in_header(&user.organizations), ids_in_header(&user.teams));
        let claims = Claims {
            iss: &self.issuer,
            aud: audience,
            sub: user.identity.object_id.to_string(),
            tid: user.identity.tenant_id.to_string(),
            jti: random::uuid(),
            iat: now.timestamp(),
            exp: (now + self.ttl).timestamp(),
            auth_time: auth_time.timestamp(),
            email: user.email.as_deref(),
            name: user.display_name.as_deref(),
            role: user.user_role.as_deref(),
            organizations,
            organizations_truncated: user.organizations.len() - organizations.len(),
            teams,
            teams_truncated: user.teams.len() - teams.len(),
        };
        let header = Header { kid: key.public.common.key_id.clone(), ..Header::new(Algorithm::ES256) };
        let signed = jsonwebtoken::encode(&header, &claims, &key.signing);
        signed.map_err(|error| Arc::new(AssertionError::Signature(error)))
    }

    /// The public keys.
    pub async fn jwks(&self) -> Result<JwkSet, Arc<AssertionError>> {
        Ok(JwkSet { keys: self.keys().await?.keys.iter().map(|key| key.public.clone()).collect() })
    }

    async fn keys(&self) -> Result<Arc<KeySet>, Arc<AssertionError>> {
        let now = self.clock.moment();
        let read = async || self.read().await.map(Arc::new).map_err(Arc::new);
        match self.keys.get(|at, _| at.age(now) < REFRESH_INTERVAL, REFRESH_INTERVAL, read).await {
            Ok(keys) => Ok(keys),
            Err(error) => {
                let now = self.clock.moment();
                self.keys.last().await.filter(|keys| keys.read_at.age(now) < MAX_STALE).ok_or(error)
            }
        }
    }

    async fn read(&self) -> Result<KeySet, AssertionError> {
        let (now, read_at) = (self.clock.now(), self.clock.moment());
        let keys = self.db.assertion_keys(generate(now)?, now - KEY_LIFETIME, now - DELETE_AFTER_SUCCESSOR).await?;
        // One unreadable row must not make the other keys unusable.
        let keys: Vec<Key> = keys
            .into_iter()
            .filter_map(|key| {
                Key::read(key).inspect_err(|error| tracing::warn!(%error, "ignored an assertion key")).ok()
            })
            .collect();
        if keys.is_empty() { Err(AssertionError::Key) } else { Ok(KeySet { read_at, keys }) }
    }
}

impl KeySet {
    /// The newest key that was published for [`PUBLISH_BEFORE_USE`]; the oldest if none was.
    fn signing_key(&self, now: DateTime<Utc>) -> Option<&Key> {
        self.keys.iter().find(|key| key.created_at <= now - PUBLISH_BEFORE_USE).or(self.keys.last())
    }
}

fn generate(now: DateTime<Utc>) -> Result<AssertionKey, AssertionError> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
    let private_key = Zeroizing::new(pkcs8.as_ref().to_vec());
    let (_, public) = key_pair(&private_key)?;
    // RFC 7638.
    let kid = public.thumbprint(ThumbprintHash::SHA256).map_err(|_| AssertionError::Key)?;
    Ok(AssertionKey { kid, private_key, created_at: now })
}

fn key_pair(pkcs8: &[u8]) -> Result<(EncodingKey, Jwk), AssertionError> {
    let signing = EncodingKey::from_ec_der(pkcs8);
    let public = Jwk::from_encoding_key(&signing, Algorithm::ES256).map_err(|_| AssertionError::Key)?;
    Ok((signing, public))
}

impl Key {
    fn read(key: AssertionKey) -> Result<Self, AssertionError> {
        let (signing, mut public) = key_pair(&key.private_key)?;
        public.common.key_id = Some(key.kid);
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { created_at: key.created_at, signing, public })
    }
}
