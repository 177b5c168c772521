//! Who is signed in, as every request asks: remembered in memory for a while, and forgotten the moment that anything
//! changes, on whichever replica or in whatever program.
//!
//! Two rules keep this honest. What is remembered counts only while a connection listens to the database and has just
//! proved to be alive; and whoever cannot be looked up is unknown, which is an error and not "nobody".

mod cache;
mod compact;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod headers;
mod loader;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::db::{ListenError, NewSession, SessionChange, Store, StoreError, SyncRun, TokenHash, Whose, touch_interval};
use crate::domain::{Identity, ObjectId};
use crate::observability::metrics::{Lookup, SessionEnd};
use crate::observability::spans::Step;
use crate::util::clock::Clock;
use crate::util::random;
use crate::util::sanitize::chain;

use cache::Cache;
use loader::SessionLoader;

pub use compact::{CompactUser, Id};
pub use headers::{ASSERTION, IDENTITY_HEADERS, SignedIn};

/// So often the connection that listens has to prove that it is alive.
const QUIET: Duration = Duration::from_millis(300);
/// What was remembered counts for so long after the connection last proved to be alive: together with the way of a
/// notification, a change takes effect within a second even where the network swallows everything.
const PROVEN: Duration = Duration::from_millis(900);
/// How long to wait after a connection was lost, or where one cannot listen.
const PAUSE: Duration = Duration::from_millis(250);
const POOLER_PAUSE: Duration = Duration::from_secs(30);

/// How long a session lasts.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub idle_timeout: TimeDelta,
    /// How long a session is taken from memory where the database cannot tell of changes.
    pub cache_ttl: TimeDelta,
}

/// A session that is alive.
#[derive(Clone)]
pub struct LiveSession {
    pub user: Arc<SignedIn>,
    /// When the user signed in: the `auth_time` of OpenID Connect Core 1.0, 2.
    pub auth_time: DateTime<Utc>,
}

/// All sessions, as one replica sees them.
pub struct Sessions {
    store: Store,
    clock: Clock,
    lifetimes: Lifetimes,
    cache: Arc<Cache>,
    lookups: Arc<SessionLoader>,
    link: Link,
}

/// How far what is remembered can be trusted.
struct Link {
    began: Instant,
    /// Milliseconds since `began` at which the connection that listens last proved to be alive; or one of the two below.
    proven: AtomicU64,
}

const LOST: u64 = u64::MAX;
const POOLER: u64 = u64::MAX - 1;

impl Link {
    fn set(&self, state: u64) {
        self.proven.store(state, Ordering::Release);
    }

    /// At `at` the connection was alive.
    fn prove(&self, at: Instant) {
        self.set(u64::try_from(at.duration_since(self.began).as_millis()).unwrap_or(LOST));
    }

    /// Whether a connection listens, and proved lately to be alive.
    fn listens(&self) -> bool {
        match self.proven.load(Ordering::Acquire) {
            LOST | POOLER => false,
            ms => self.began.elapsed() < Duration::from_millis(ms) + PROVEN,
        }
    }

    /// How old what is remembered may be; `None`: nothing counts.
    fn trusted(&self, lifetimes: Lifetimes) -> Option<Duration> {
        match self.proven.load(Ordering::Acquire) {
            LOST => None,
            POOLER => Some(lifetimes.cache_ttl.to_std().unwrap_or_default()),
            // Whatever goes unnoticed in spite of all, somebody's own SQL say, counts after this long.
            ms if self.began.elapsed() < Duration::from_millis(ms) + PROVEN => {
                Some(touch_interval(lifetimes.idle_timeout).to_std().unwrap_or_default())
            }
            _ => None,
        }
    }
}

impl Sessions {
    /// Remembers nothing until [`Sessions::follow`] runs.
    #[must_use]
    pub fn new(store: Store, clock: Clock, lifetimes: Lifetimes) -> Self {
        let link = Link { began: Instant::now(), proven: AtomicU64::new(LOST) };
        let cache = Arc::new(Cache::new());
        let lookups = SessionLoader::new(store.clone(), clock.clone(), lifetimes.idle_timeout, cache.clone());
        Self { store, clock, lifetimes, cache, lookups: Arc::new(lookups), link }
    }

    /// Who a token belongs to; `None` where its session is over or never was. An error where that cannot be told.
    pub async fn find(&self, hash: &TokenHash) -> Result<Option<LiveSession>, Arc<StoreError>> {
        let lookups = &self.store.metrics().session_lookups;
        let remembered = self.in_memory(hash);
        if remembered.is_some() {
            lookups.add(Lookup::Memory);
            return Ok(remembered);
        }
        let outcome = Step::FindSession.run(self.lookups.find(*hash), |error| error.code()).await;
        lookups.add(match &outcome {
            Ok(Some(_)) => Lookup::Database,
            Ok(None) => Lookup::NotFound,
            Err(_) => Lookup::Failed,
        });
        outcome
    }

    /// Who a token belongs to, as far as that is remembered and can be trusted now.
    fn in_memory(&self, hash: &TokenHash) -> Option<LiveSession> {
        let max_age = self.link.trusted(self.lifetimes)?;
        self.cache.get(hash, self.clock.now(), self.clock.moment(), max_age)
    }

    /// Ends sessions, here at once and elsewhere within a second.
    pub async fn end(&self, hashes: &[TokenHash], why: SessionEnd) -> Result<(), StoreError> {
        let whose = self.store.end_sessions(hashes).await?;
        self.ended(why, whose.len());
        for person in whose {
            self.cache.forget(person);
        }
        Ok(())
    }

    /// Ends one of a person's sessions, by the name that lists call it; gives whether there was one.
    pub async fn end_one(&self, person: ObjectId, session: &str) -> Result<bool, StoreError> {
        let ended = self.store.end_session_of(person, session).await?;
        self.ended(SessionEnd::One, usize::from(ended));
        self.cache.forget(person);
        Ok(ended)
    }

    /// Ends all of a person's sessions; gives how many there were.
    pub async fn end_all(&self, person: ObjectId) -> Result<i64, StoreError> {
        let ended = self.store.revoke_sessions(Whose::One(person)).await?;
        self.ended(SessionEnd::All, usize::try_from(ended).unwrap_or_default());
        self.cache.forget(person);
        Ok(ended)
    }

    /// Ends what was opened in one session of Entra's; gives how many sessions that were.
    pub async fn end_sid(&self, sid: &str) -> Result<usize, StoreError> {
        let whose = self.store.end_sessions_of_sid(sid).await?;
        self.ended(SessionEnd::Entra, whose.len());
        for person in &whose {
            self.cache.forget(*person);
        }
        Ok(whose.len())
    }

    /// Keeps the record of a refused sign-in. Where the reason is known, the identity's sessions end, here at once and
    /// elsewhere within a second.
    pub async fn keep_refusal(&self, identity: Identity, run: &SyncRun) -> Result<(), StoreError> {
        let ended = self.store.keep_refusal(identity, run).await?;
        self.ended_of_refused(identity, ended);
        Ok(())
    }

    /// Ends the sessions of an identity whose tenant may not sign in. It leaves no record: there is no bound on who may
    /// come from other tenants.
    pub async fn end_of_identity(&self, identity: Identity) -> Result<(), StoreError> {
        let ended = self.store.end_sessions_of_identity(identity).await?;
        self.ended_of_refused(identity, ended);
        Ok(())
    }

    fn ended_of_refused(&self, identity: Identity, ended: usize) {
        self.ended(SessionEnd::Denied, ended);
        self.cache.forget(identity.object_id);
        if ended > 0 {
            tracing::info!(sessions = ended, "ended the sessions of a user whose sign-in was refused");
        }
    }

    /// Opens a session. What is remembered of the person may be older than what the sign-in changed, and of another one
    /// who was signed in here, older than its end.
    pub async fn open(&self, session: &NewSession, run: &SyncRun) -> Result<(), StoreError> {
        let ended = Step::OpenSession.run(self.store.open_session(session, run), StoreError::code).await?;
        self.store.metrics().sessions_opened.add(());
        self.ended(SessionEnd::NewSignIn, ended.len());
        for person in ended.into_iter().chain([session.identity.object_id]) {
            self.cache.forget(person);
        }
        Ok(())
    }

    fn ended(&self, why: SessionEnd, count: usize) {
        self.store.metrics().sessions_ended.add_many(why, count);
    }

    /// How many sessions are in memory, whether they count at this moment or not.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.cache.len()
    }

    /// Whether the database tells of changes at this moment.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.link.listens()
    }

    /// Whether sessions are answered from memory at this moment.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.link.trusted(self.lifetimes).is_some_and(|age| !age.is_zero())
    }

    /// Listens to the database, and forgets what has changed; until `stop`.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut told = false;
        loop {
            let outcome = self.listen(&stop, &mut told).await;
            self.link.set(LOST);
            let pause = match outcome {
                Ok(()) => return,
                Err(error @ ListenError::Pooler) => {
                    self.cache.clear();
                    self.link.set(POOLER);
                    self.tell(&error, &mut told);
                    POOLER_PAUSE
                }
                Err(error) => {
                    self.cache.clear();
                    self.tell(&error, &mut told);
                    PAUSE
                }
            };
            tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
        }
    }

    /// Once, until the connection is there again.
    fn tell(&self, error: &ListenError, told: &mut bool) {
        if !std::mem::replace(told, true) {
            let why = chain(error);
            if let Some(age) = self.link.trusted(self.lifetimes) {
                tracing::warn!("sessions are remembered for {} ms only: {why}", age.as_millis());
            } else {
                tracing::warn!("no session is remembered meanwhile: {why}");
            }
        }
    }

    async fn listen(&self, stop: &CancellationToken, told: &mut bool) -> Result<(), ListenError> {
        let mut proven = Instant::now();
        let hello = random::token();
        let mut changes = tokio::select! {
            changes = self.store.changes(&hello) => changes?,
            () = stop.cancelled() => return Ok(()),
        };
        // Whatever was said before anybody listened.
        self.cache.clear();
        if std::mem::replace(told, false) {
            tracing::info!("the database tells of changes again: sessions are remembered");
        }
        loop {
            self.link.prove(proven);
            let quiet = QUIET.saturating_sub(proven.elapsed());
            let change = tokio::select! {
                change = changes.next(quiet) => change?,
                () = stop.cancelled() => break,
            };
            if let Some(change) = change {
                self.forget(change);
            }
            // Also where one change comes after the other: each tells only that what was said before it has arrived.
            if proven.elapsed() >= QUIET {
                let at = Instant::now();
                for change in changes.prove(PROVEN.saturating_sub(QUIET)).await? {
                    self.forget(change);
                }
                proven = at;
            }
        }
        changes.close().await;
        Ok(())
    }

    fn forget(&self, change: SessionChange) {
        match change {
            SessionChange::Of(person) => self.cache.forget(person),
            SessionChange::OfAnybody => self.cache.clear(),
        }
    }
}
