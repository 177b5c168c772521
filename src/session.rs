//! Sessions: cached in memory, and invalidated within a second after a change on any replica or in the database.
//!
//! The cache counts only while the connection that listens for changes has recently proved to be alive. A failed lookup is
//! an error; it is never treated as signed out.

mod cache;
mod listener;
mod loader;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::audit::AuditActor;
use crate::db::{Db, DbError, EndedSessions, ForwardedUser, NewSession, Revocation, SessionFilter, TokenHash};
use crate::domain::Identity;
use crate::identity_headers::IdentityHeaders;
use crate::observability::metrics::{Lookup, SessionEnd};
use crate::observability::spans::Step;
use crate::sync_run::SyncRun;
use crate::util::clock::Clock;
use crate::util::sanitize::error_chain;

use cache::Cache;
use listener::ListenerState;
use loader::SessionLoader;

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

impl Sessions {
    /// Caches nothing until [`Sessions::listen`] runs.
    #[must_use]
    pub fn new(db: Db, clock: Clock, lifetimes: Lifetimes) -> Self {
        let cache = Arc::new(Cache::new());
        let loader = SessionLoader::new(db.clone(), clock.clone(), lifetimes.idle_timeout, cache.clone());
        Self { db, clock, lifetimes, cache, loader: Arc::new(loader), listener: ListenerState::default() }
    }

    /// The session of a token; `None` if it does not exist or has ended. A failed lookup is an error.
    pub async fn find(&self, hash: &TokenHash) -> Result<Option<LiveSession>, Arc<DbError>> {
        let lookups = &self.db.metrics().session_lookups;
        if let Some(session) = self.find_cached(hash) {
            lookups.add(Lookup::Memory);
            return Ok(Some(session));
        }
        let outcome = Step::FindSession.run(self.loader.load(*hash), |error| error.code()).await;
        lookups.add(match &outcome {
            Ok(Some(_)) => Lookup::Database,
            Ok(None) => Lookup::NotFound,
            Err(_) => Lookup::Failed,
        });
        outcome
    }

    /// The session of a token, if it is cached. Not counted as a lookup.
    #[must_use]
    pub fn find_cached(&self, hash: &TokenHash) -> Option<LiveSession> {
        self.cache.get(hash, self.clock.now(), self.clock.moment(), self.max_cache_age()?)
    }

    /// Opens a session and stores the sync record. Invalidates the user, because the sign-in may have changed the row, and
    /// the users of this browser's previous sessions.
    pub async fn open(&self, session: &NewSession, run: &SyncRun) -> Result<(), DbError> {
        let ended = Step::OpenSession.run(self.db.insert_session(session, run), DbError::code).await?;
        self.db.metrics().sessions_opened.add(());
        self.after_end(ended, SessionEnd::NewSignIn);
        self.cache.invalidate(session.identity.object_id);
        Ok(())
    }

    /// Ends sessions, here at once and on other replicas within a second. Returns their number. Sign-outs have no audit
    /// event.
    pub async fn end(&self, which: SessionFilter<'_>, reason: SessionEnd) -> Result<usize, DbError> {
        self.end_with(which, reason, None).await
    }

    /// As [`Sessions::end`], with an audit event for each user whose sessions end. `cause` is why a sign-in was denied.
    pub async fn revoke(
        &self,
        which: SessionFilter<'_>,
        reason: SessionEnd,
        actor: AuditActor,
        cause: Option<&'static str>,
    ) -> Result<usize, DbError> {
        self.end_with(which, reason, Some(&Revocation { at: self.clock.now(), actor, cause })).await
    }

    async fn end_with(
        &self,
        which: SessionFilter<'_>,
        reason: SessionEnd,
        revocation: Option<&Revocation>,
    ) -> Result<usize, DbError> {
        let ended = self.db.end_sessions(which, revocation).await?;
        // Even if no row was found: it may have been deleted without a notification.
        if let Some(user) = which.user() {
            self.cache.invalidate(user);
        }
        Ok(self.after_end(ended, reason))
    }

    /// Stores the record of a denied sign-in. If the reason is known, ends the identity's sessions, here at once and on
    /// other replicas within a second. Then records the audit events.
    pub async fn record_denial(&self, identity: Identity, run: &SyncRun) -> Result<(), DbError> {
        let count = self.db.record_denial(identity, run).await?;
        let ended = EndedSessions { count, users: vec![identity.object_id] };
        log_denial(self.after_end(ended, SessionEnd::Denied));
        // The denial counts also if the audit event cannot be stored.
        if let Err(error) = self.db.record_denied_sign_in(identity, run, count).await {
            tracing::error!(error = error_chain(&error), "failed to record the audit event of a denied sign-in");
        }
        Ok(())
    }

    /// Ends the sessions of an identity whose tenant may not sign in. Stores no record, because the number of users in
    /// other tenants is unlimited.
    pub async fn end_denied(&self, identity: Identity) -> Result<(), DbError> {
        let (which, cause) = (SessionFilter::Identity(identity), Some("tenant_not_allowed"));
        log_denial(self.revoke(which, SessionEnd::Denied, AuditActor::SignIn, cause).await?);
        Ok(())
    }

    /// Counts ended sessions and invalidates their users. Returns the number of sessions.
    fn after_end(&self, ended: EndedSessions, reason: SessionEnd) -> usize {
        self.db.metrics().sessions_ended.add_many(reason, ended.count);
        for user in ended.users {
            self.cache.invalidate(user);
        }
        ended.count
    }

    /// Maximum age of cached sessions; `None` if none counts.
    fn max_cache_age(&self) -> Option<Duration> {
        self.listener.max_cache_age(self.lifetimes)
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
        self.max_cache_age().is_some_and(|age| !age.is_zero())
    }
}

fn log_denial(ended: usize) {
    if ended > 0 {
        tracing::info!(sessions = ended, "revoked sessions of a user whose sign-in was denied");
    }
}
