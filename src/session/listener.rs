//! Listens for session changes and invalidates the cache.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Lifetimes, Sessions};
use crate::db::{ListenError, SessionChange, touch_interval};
use crate::util::random;
use crate::util::sanitize::error_chain;

/// How often the listening connection has to prove that it is alive.
const PROBE_INTERVAL: Duration = Duration::from_millis(300);
/// How long the cache counts after the last proof. With the time for a notification, a change takes effect within a second
/// even if the network silently drops everything.
const PROOF_TTL: Duration = Duration::from_millis(900);
/// Delay before the next attempt to listen after a lost connection.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);
/// Delay before the next attempt to listen through a connection pooler, which does not forward notifications.
const POOLER_RETRY_DELAY: Duration = Duration::from_secs(30);

/// Whether changes are received, which decides how long the cache counts.
#[derive(Default)]
pub(super) struct ListenerState(RwLock<State>);

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Disconnected,
    /// A pooler does not forward notifications.
    Pooler,
    /// The listening connection was alive at this time.
    ProvedAt(Instant),
}

impl ListenerState {
    fn get(&self) -> State {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Whether a connection listens and has recently proved to be alive.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self.get(), State::ProvedAt(at) if at.elapsed() < PROOF_TTL)
    }

    /// Maximum age of cached sessions; `None` if none counts.
    pub(super) fn max_cache_age(&self, lifetimes: Lifetimes) -> Option<Duration> {
        let age = match self.get() {
            State::Pooler => lifetimes.cache_ttl,
            // Changes that cause no notification, such as hand-written SQL, take effect after this time.
            State::ProvedAt(at) if at.elapsed() < PROOF_TTL => touch_interval(lifetimes.idle_timeout),
            State::ProvedAt(_) | State::Disconnected => return None,
        };
        Some(age.to_std().unwrap_or_default())
    }
}

impl Sessions {
    /// Listens for changes and invalidates the cache, until `stop`.
    pub async fn listen(&self, stop: CancellationToken) {
        let mut logged = false;
        loop {
            let outcome = self.listen_once(&stop, &mut logged).await;
            self.listener.set(State::Disconnected);
            let Err(error) = outcome else { return };
            self.cache.clear();
            let delay = if matches!(error, ListenError::Pooler) {
                self.listener.set(State::Pooler);
                POOLER_RETRY_DELAY
            } else {
                RECONNECT_DELAY
            };
            // Once, until the connection is restored.
            if !std::mem::replace(&mut logged, true) {
                self.log_failure(&error);
            }
            tokio::select! { () = tokio::time::sleep(delay) => {}, () = stop.cancelled() => return }
        }
    }

    fn log_failure(&self, error: &ListenError) {
        let error = error_chain(error);
        if let Some(age) = self.max_cache_age() {
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
            self.listener.set(State::ProvedAt(proved_at));
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
