//! Batched session loading.
//!
//! Sessions that are not cached are loaded from Postgres. Lookups that arrive while a query is in flight join the next batch,
//! so that a cold start costs a few queries instead of one per request. A single lookup starts its query at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::LiveSession;
use super::cache::Cache;
use crate::db::{Db, DbError, SessionReader, TokenHash, touch_interval};
use crate::util::clock::Clock;

/// Maximum number of concurrent batch queries. More than one, so that a slow query does not block all lookups.
const MAX_CONCURRENT_BATCHES: usize = 3;
/// Maximum number of sessions per batch.
const MAX_BATCH_SIZE: usize = 256;
/// Time limit for one batch, including waiting for a connection.
const BATCH_TIMEOUT: Duration = Duration::from_secs(15);
/// Time limit for one lookup, including waiting for a batch.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Result of a lookup: the session, `None` if it does not exist or has ended, or why it could not be loaded.
pub(super) type LookupResult = Result<Option<LiveSession>, Arc<DbError>>;

/// A queued lookup.
struct Waiter {
    hash: TokenHash,
    reply: oneshot::Sender<LookupResult>,
}

pub(super) struct SessionLoader {
    db: Db,
    clock: Clock,
    idle_timeout: TimeDelta,
    cache: Arc<Cache>,
    queue: Mutex<Vec<Waiter>>,
    permits: Arc<Semaphore>,
}

impl SessionLoader {
    pub(super) fn new(db: Db, clock: Clock, idle_timeout: TimeDelta, cache: Arc<Cache>) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_BATCHES));
        Self { db, clock, idle_timeout, cache, queue: Mutex::default(), permits }
    }

    /// Loads one session. Its row is read after this call started.
    pub(super) async fn load(self: &Arc<Self>, hash: TokenHash) -> LookupResult {
        let _waiting = self.db.metrics().session_lookups_waiting.guard(());
        let (reply, result) = oneshot::channel();
        self.queue().push(Waiter { hash, reply });
        // A separate task runs the batches, because the request that starts it may be canceled. Without a permit, a running
        // task takes the waiter along with its next batch.
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            tokio::spawn(self.clone().run_batches(permit));
        }
        match timeout(LOOKUP_TIMEOUT, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(Arc::new(DbError::Timeout)),
        }
    }

    /// Runs batches until the queue is empty.
    async fn run_batches(self: Arc<Self>, permit: OwnedSemaphorePermit) {
        let mut reader = self.db.session_reader();
        let mut next = self.next_batch(permit).await;
        while let Some((batch, permit)) = next {
            // On a timeout the senders are dropped, which fails the lookups.
            let _ = timeout(BATCH_TIMEOUT, self.load_batch(&mut reader, batch)).await;
            next = self.next_batch(permit).await;
        }
    }

    /// Takes the next batch. If the queue is empty, releases the permit before another lookup can join the queue.
    async fn next_batch(&self, permit: OwnedSemaphorePermit) -> Option<(Vec<Waiter>, OwnedSemaphorePermit)> {
        // Lets requests that have already arrived join this batch.
        yield_now().await;
        let mut queue = self.queue();
        // Removes lookups whose request was canceled.
        queue.retain(|waiter| !waiter.reply.is_closed());
        if queue.is_empty() {
            drop(permit);
            return None;
        }
        let size = queue.len().min(MAX_BATCH_SIZE);
        Some((queue.drain(..size).collect(), permit))
    }

    async fn load_batch(&self, reader: &mut SessionReader<'_>, batch: Vec<Waiter>) {
        let hashes: Vec<TokenHash> = batch.iter().map(|waiter| waiter.hash).collect();
        let (now, read_at, idle_timeout) = (self.clock.now(), self.clock.moment(), self.idle_timeout);
        let fill = self.cache.begin_fill();
        let rows = match reader.read(&hashes, now, idle_timeout).await {
            Ok(rows) => rows,
            Err(error) => {
                let error = Arc::new(error);
                return reply(batch, |_| Err(error.clone()));
            }
        };
        let mut results: HashMap<TokenHash, LookupResult> = HashMap::new();
        let mut seen = Vec::new();
        for (hash, row) in rows {
            let session = row.map(|row| {
                seen.push((hash, row.last_seen_at));
                fill.insert(hash, row, read_at)
            });
            results.insert(hash, session.map(Some).map_err(Arc::new));
        }
        reply(batch, |hash| results.get(hash).cloned().unwrap_or(Ok(None)));
        let due = now - touch_interval(idle_timeout);
        if !seen.iter().any(|(_, last_seen_at)| *last_seen_at < due) {
            return;
        }
        // In the background: requests do not wait for it.
        let db = self.db.clone();
        tokio::spawn(async move { db.touch_sessions(&seen, now, idle_timeout).await });
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Waiter>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reply(batch: Vec<Waiter>, result: impl Fn(&TokenHash) -> LookupResult) {
    for waiter in batch {
        // Fails only if the request was canceled.
        let _ = waiter.reply.send(result(&waiter.hash));
    }
}
