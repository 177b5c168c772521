//! Sessions that are not in memory are looked up together: whoever comes while the database is being asked goes along with
//! the next question. So everybody at once, after a restart say, is a few statements, and somebody alone waits for nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::LiveSession;
use super::cache::Cache;
use crate::db::{SessionReader, Store, StoreError, TokenHash, touch_interval};
use crate::util::clock::Clock;

/// So many questions are asked at the same time: should one have to wait, another one need not.
const QUESTIONS: usize = 3;
/// So many go along with one question at most.
const TOGETHER: usize = 256;
/// A question that has no answer after this long is given up: the time for a connection and for a statement.
const LONGEST: Duration = Duration::from_secs(15);
/// Whoever waits in the line for this long is told so.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was found out about a session, for one of those who asked.
pub(super) type Answer = Result<Option<LiveSession>, Arc<StoreError>>;

/// Somebody who asks for a session, and waits.
struct Asking {
    hash: TokenHash,
    tell: oneshot::Sender<Answer>,
}

/// All who wait for the database to tell who somebody is.
pub(super) struct SessionLoader {
    store: Store,
    clock: Clock,
    idle_timeout: TimeDelta,
    cache: Arc<Cache>,
    line: Mutex<Vec<Asking>>,
    questions: Arc<Semaphore>,
}

impl SessionLoader {
    pub(super) fn new(store: Store, clock: Clock, idle_timeout: TimeDelta, cache: Arc<Cache>) -> Self {
        let questions = Arc::new(Semaphore::new(QUESTIONS));
        Self { store, clock, idle_timeout, cache, line: Mutex::default(), questions }
    }

    /// Who a token belongs to, as the database has it: it is read after this call began.
    pub(super) async fn find(self: &Arc<Self>, hash: TokenHash) -> Answer {
        let _waits = self.store.metrics().session_lookups_waiting.guard(());
        let (tell, told) = oneshot::channel();
        self.line().push(Asking { hash, tell });
        // While the last question is being asked, its task looks after those who come meanwhile. It is a task of its own,
        // since whoever asked first may leave.
        if let Ok(question) = self.questions.clone().try_acquire_owned() {
            tokio::spawn(self.clone().ask(question));
        }
        match timeout(PATIENCE, told).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Arc::new(StoreError::NoAnswer)),
        }
    }

    /// Asks until nobody waits any more.
    async fn ask(self: Arc<Self>, question: OwnedSemaphorePermit) {
        let mut callers = self.store.callers();
        let mut next = self.next(question).await;
        while let Some((asking, question)) = next {
            // Without an answer, all who wait for it are told so when `asking` is gone.
            let _ = timeout(LONGEST, self.answer(&mut callers, asking)).await;
            next = self.next(question).await;
        }
    }

    /// Those who go along with the next question. Where nobody waits, the question is given back before anybody else can
    /// line up.
    async fn next(&self, question: OwnedSemaphorePermit) -> Option<(Vec<Asking>, OwnedSemaphorePermit)> {
        // Whose request has arrived already is to come along.
        yield_now().await;
        let mut line = self.line();
        // Some have left.
        line.retain(|asking| !asking.tell.is_closed());
        if line.is_empty() {
            drop(question);
            return None;
        }
        let together = line.len().min(TOGETHER);
        Some((line.drain(..together).collect(), question))
    }

    async fn answer(&self, callers: &mut SessionReader<'_>, asking: Vec<Asking>) {
        let hashes: Vec<TokenHash> = asking.iter().map(|asking| asking.hash).collect();
        let (now, at) = (self.clock.now(), self.clock.moment());
        let reading = self.cache.begin();
        let found = callers.read(&hashes, now, self.idle_timeout).await.map_err(Arc::new);
        let (mut answers, mut seen) = (HashMap::new(), Vec::new());
        let found = found.map(|found| {
            for (hash, session) in found {
                if let Ok(session) = &session {
                    seen.push((hash, session.last_seen_at));
                }
                let answer = session.map(|session| Some(reading.keep(hash, &session, at)));
                answers.insert(hash, answer.map_err(Arc::new));
            }
        });
        for Asking { hash, tell } in asking {
            let answer = match &found {
                Ok(()) => answers.get(&hash).cloned().unwrap_or(Ok(None)),
                Err(error) => Err(error.clone()),
            };
            // Who has left need not be told.
            let _ = tell.send(answer);
        }
        self.keep_alive(seen, now);
    }

    /// Beside everything: nobody waits for an idle clock.
    fn keep_alive(&self, seen: Vec<(TokenHash, DateTime<Utc>)>, now: DateTime<Utc>) {
        let (store, idle_timeout) = (self.store.clone(), self.idle_timeout);
        if seen.iter().any(|(_, at)| *at < now - touch_interval(idle_timeout)) {
            tokio::spawn(async move { store.keep_alive(&seen, now, idle_timeout).await });
        }
    }

    fn line(&self) -> MutexGuard<'_, Vec<Asking>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
