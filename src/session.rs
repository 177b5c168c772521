//! Sessions: cached in memory, and invalidated within a second after a change on any replica or in the database.
//!
//! The cache counts only while the connection that listens for changes has recently proved to be alive. A failed lookup is
//! an error; it is never treated as signed out.

mod cache;
mod loader;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::db::{
    Db, DbError, ForwardedUser, ListenError, NewSession, SessionChange, SessionOwner, SyncRun, TokenHash,
    touch_interval,
};
use crate::domain::{Identity, ObjectId};
use crate::identity_headers::IdentityHeaders;
use crate::observability::metrics::{Lookup, SessionEnd};
use crate::observability::spans::Step;
use crate::util::clock::Clock;
use crate::util::random;
use crate::util::sanitize::error_chain;

use cache::Cache;
use loader::SessionLoader;

/// How often the listening connection has to prove that it is alive.
const PROBE_INTERVAL: Duration = Duration::from_millis(300);
/// How long the cache counts after the last proof. With the time for a notification, a change takes effect within a second
/// even if the network silently drops everything.
const PROOF_TTL: Duration = Duration::from_millis(900);
/// Delay before the next attempt to listen after a lost connection.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);
/// Delay before the next attempt to listen through a connection pooler, which does not forward notifications.
const POOLER_RETRY_DELAY: Duration = Duration::from_secs(30);

/// Durations from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub idle_timeout: TimeDelta,
    /// How long a session is cached if the database cannot notify of changes.
    pub cache_ttl: TimeDelta,
}

/// A session that has neither expired nor been revoked.
#[derive(Clone)]
pub struct LiveSession {
    pub user: Arc<ForwardedUser>,
    /// The user's identity headers, ready to send.
    pub headers: Arc<IdentityHeaders>,
    /// When the user signed in: `auth_time` of OpenID Connect Core 1.0, 2.
    pub auth_time: DateTime<Utc>,
}

/// All sessions, as seen by one replica.
pub struct Sessions {
    db: Db,
    clock: Clock,
    lifetimes: Lifetimes,
    cache: Arc<Cache>,
    loader: Arc<SessionLoader>,
    listener: ListenerState,
}

/// Whether changes are received, which decides how long the cache counts.
struct ListenerState {
    started: Instant,
    /// Milliseconds from `started` to the connection's last proof of life, or one of the two constants below.
    last_proof: AtomicU64,
}

/// No connection listens.
const DISCONNECTED: u64 = u64::MAX;
/// A pooler does not forward notifications.
const POOLER: u64 = u64::MAX - 1;

impl ListenerState {
    fn set(&self, state: u64) {
        self.last_proof.store(state, Ordering::Release);
    }

    /// Records that the connection was alive at `at`.
    fn record_proof(&self, at: Instant) {
        self.set(u64::try_from(at.duration_since(self.started).as_millis()).unwrap_or(DISCONNECTED));
    }

    fn is_recent(&self, proof_ms: u64) -> bool {
        self.started.elapsed() < Duration::from_millis(proof_ms) + PROOF_TTL
    }

    /// Whether a connection listens and has recently proved to be alive.
    fn is_listening(&self) -> bool {
        match self.last_proof.load(Ordering::Acquire) {
            DISCONNECTED | POOLER => false,
            proof_ms => self.is_recent(proof_ms),
        }
    }

    /// Maximum age of cached sessions; `None` if none counts.
    fn max_cache_age(&self, lifetimes: Lifetimes) -> Option<Duration> {
        match self.last_proof.load(Ordering::Acquire) {
            DISCONNECTED => None,
            POOLER => Some(lifetimes.cache_ttl.to_std().unwrap_or_default()),
            // Changes that cause no notification, such as hand-written SQL, take effect after this time.
            proof_ms => {
                self.is_recent(proof_ms).then(|| touch_interval(lifetimes.idle_timeout).to_std().unwrap_or_default())
            }
        }
    }
}

impl Sessions {
    /// Caches nothing until [`Sessions::listen`] runs.
    #[must_use]
    pub fn new(db: Db, clock: Clock, lifetimes: Lifetimes) -> Self {
        let listener = ListenerState { started: Instant::now(), last_proof: AtomicU64::new(DISCONNECTED) };
        let cache = Arc::new(Cache::new());
        let loader = SessionLoader::new(db.clone(), clock.clone(), lifetimes.idle_timeout, cache.clone());
        Self { db, clock, lifetimes, cache, loader: Arc::new(loader), listener }
    }

    /// The session of a token; `None` if it does not exist or has ended. A failed lookup is an error.
    pub async fn find(&self, hash: &TokenHash) -> Result<Option<LiveSession>, Arc<DbError>> {
        let lookups = &self.db.metrics().session_lookups;
        let cached = self.find_cached(hash);
        if cached.is_some() {
            lookups.add(Lookup::Memory);
            return Ok(cached);
        }
        let outcome = Step::FindSession.run(self.loader.load(*hash), |error| error.code()).await;
        lookups.add(match &outcome {
            Ok(Some(_)) => Lookup::Database,
            Ok(None) => Lookup::NotFound,
            Err(_) => Lookup::Failed,
        });
        outcome
    }

    fn find_cached(&self, hash: &TokenHash) -> Option<LiveSession> {
        let max_age = self.listener.max_cache_age(self.lifetimes)?;
        self.cache.get(hash, self.clock.now(), self.clock.moment(), max_age)
    }

    /// Revokes sessions, here at once and on other replicas within a second.
    pub async fn revoke(&self, hashes: &[TokenHash], reason: SessionEnd) -> Result<(), DbError> {
        let users = self.db.end_sessions(hashes).await?;
        self.record_ended(reason, users.len());
        self.invalidate_all(users);
        Ok(())
    }

    /// Revokes one of a user's sessions by its name in lists. Returns whether it existed.
    pub async fn revoke_one(&self, user: ObjectId, session: &str) -> Result<bool, DbError> {
        let ended = self.db.end_session_of(user, session).await?;
        self.record_ended(SessionEnd::One, usize::from(ended));
        self.cache.invalidate(user);
        Ok(ended)
    }

    /// Revokes all sessions of a user. Returns their number.
    pub async fn revoke_all(&self, user: ObjectId) -> Result<i64, DbError> {
        let ended = self.db.revoke_sessions(SessionOwner::One(user)).await?;
        self.record_ended(SessionEnd::All, usize::try_from(ended).unwrap_or_default());
        self.cache.invalidate(user);
        Ok(ended)
    }

    /// Revokes the sessions that were opened in one session of Entra's (`sid`). Returns their number.
    pub async fn revoke_by_sid(&self, sid: &str) -> Result<usize, DbError> {
        let users = self.db.end_sessions_of_sid(sid).await?;
        let ended = users.len();
        self.record_ended(SessionEnd::Entra, ended);
        self.invalidate_all(users);
        Ok(ended)
    }

    /// Stores the record of a denied sign-in. If the reason is known, revokes the identity's sessions, here at once and on
    /// other replicas within a second.
    pub async fn record_denial(&self, identity: Identity, run: &SyncRun) -> Result<(), DbError> {
        let ended = self.db.record_denial(identity, run).await?;
        self.after_denial(identity, ended);
        Ok(())
    }

    /// Revokes the sessions of an identity whose tenant may not sign in. Stores no record, because the number of users in
    /// other tenants is unlimited.
    pub async fn revoke_of_identity(&self, identity: Identity) -> Result<(), DbError> {
        let ended = self.db.end_sessions_of_identity(identity).await?;
        self.after_denial(identity, ended);
        Ok(())
    }

    fn after_denial(&self, identity: Identity, ended: usize) {
        self.record_ended(SessionEnd::Denied, ended);
        self.cache.invalidate(identity.object_id);
        if ended > 0 {
            tracing::info!(sessions = ended, "revoked sessions of a user whose sign-in was denied");
        }
    }

    /// Opens a session. Invalidates the user, because the sign-in may have changed the row, and the users of this browser's
    /// previous sessions.
    pub async fn open(&self, session: &NewSession, run: &SyncRun) -> Result<(), DbError> {
        let ended = Step::OpenSession.run(self.db.open_session(session, run), DbError::code).await?;
        self.db.metrics().sessions_opened.add(());
        self.record_ended(SessionEnd::NewSignIn, ended.len());
        self.invalidate_all(ended.into_iter().chain([session.identity.object_id]));
        Ok(())
    }

    fn record_ended(&self, reason: SessionEnd, count: usize) {
        self.db.metrics().sessions_ended.add_many(reason, count);
    }

    fn invalidate_all(&self, users: impl IntoIterator<Item = ObjectId>) {
        for user in users {
            self.cache.invalidate(user);
        }
    }

    /// Number of cached sessions, whether they count at the moment or not.
    #[must_use]
    pub fn cached_count(&self) -> usize {
        self.cache.len()
    }

    /// Whether changes in the database are received at the moment.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.listener.is_listening()
    }

    /// Whether cached sessions count at the moment.
    #[must_use]
    pub fn is_caching(&self) -> bool {
        self.listener.max_cache_age(self.lifetimes).is_some_and(|age| !age.is_zero())
    }

    /// Listens for changes and invalidates the cache, until `stop`.
    pub async fn listen(&self, stop: CancellationToken) {
        let mut logged = false;
        loop {
            let outcome = self.listen_once(&stop, &mut logged).await;
            self.listener.set(DISCONNECTED);
            let Err(error) = outcome else { return };
            self.cache.clear();
            let delay = if matches!(error, ListenError::Pooler) {
                self.listener.set(POOLER);
                POOLER_RETRY_DELAY
            } else {
                RECONNECT_DELAY
            };
            self.log_failure(&error, &mut logged);
            tokio::select! { () = tokio::time::sleep(delay) => {}, () = stop.cancelled() => return }
        }
    }

    /// Logs a failure once, until the connection is restored.
    fn log_failure(&self, error: &ListenError, logged: &mut bool) {
        if std::mem::replace(logged, true) {
            return;
        }
        let error = error_chain(error);
        if let Some(age) = self.listener.max_cache_age(self.lifetimes) {
            tracing::warn!(
                error,
                cache_ttl_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
                "not listening for session changes; cache is short-lived"
            );
        } else {
            tracing::warn!(error, "not listening for session changes; cache is off");
        }
    }

    async fn listen_once(&self, stop: &CancellationToken, logged: &mut bool) -> Result<(), ListenError> {
        let mut proved_at = Instant::now();
        let hello = random::token();
        let mut changes = tokio::select! {
            changes = self.db.listen(&hello) => changes?,
            () = stop.cancelled() => return Ok(()),
        };
        // Changes before this moment were not received.
        self.cache.clear();
        if std::mem::replace(logged, false) {
            tracing::info!("listening for session changes again; cache is on");
        }
        loop {
            self.listener.record_proof(proved_at);
            let wait = PROBE_INTERVAL.saturating_sub(proved_at.elapsed());
            let change = tokio::select! {
                change = changes.next(wait) => change?,
                () = stop.cancelled() => break,
            };
            if let Some(change) = change {
                self.invalidate(change);
            }
            // Also probes while changes arrive: each one proves only that earlier changes have arrived.
            if proved_at.elapsed() >= PROBE_INTERVAL {
                let at = Instant::now();
                for change in changes.check_alive(PROOF_TTL.saturating_sub(PROBE_INTERVAL)).await? {
                    self.invalidate(change);
                }
                proved_at = at;
            }
        }
        changes.close().await;
        Ok(())
    }

    fn invalidate(&self, change: SessionChange) {
        match change {
            SessionChange::User(user) => self.cache.invalidate(user),
            SessionChange::AnyUser => self.cache.clear(),
        }
    }
}
