//! Sessions that are not in memory are looked up together: whoever comes while the database is being asked goes along with
//! the next question. So everybody at once, after a restart say, is a few statements, and somebody alone waits for nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::cache::Cache;
use super::identity::SignedIn;
use crate::clock::Clock;
use crate::store::{Callers, Store, StoreError, TokenHash};

/// So many questions are asked at the same time: should one have to wait, another one need not.
const QUESTIONS: usize = 3;
/// So many go along with one question at most.
const TOGETHER: usize = 256;
/// So many wait at most, which is a second's worth. Whoever finds the line so long had better come again.
const WAITING: usize = 10_000;
/// A question that has no answer after this long is given up. The database gives up before.
const LONGEST: Duration = Duration::from_secs(20);

/// What was found out about a session, for one of those who asked.
pub(super) type Answer = Result<Option<Arc<SignedIn>>, Arc<StoreError>>;

/// Somebody who asks for a session, and waits.
struct Asking {
    hash: TokenHash,
    tell: oneshot::Sender<Answer>,
}

/// All who wait for the database to tell who somebody is.
pub(super) struct Lookups {
    store: Store,
    clock: Clock,
    idle_timeout: TimeDelta,
    cache: Arc<Cache>,
    line: Mutex<Vec<Asking>>,
    questions: Arc<Semaphore>,
}

impl Lookups {
    pub(super) fn new(store: Store, clock: Clock, idle_timeout: TimeDelta, cache: Arc<Cache>) -> Self {
        let questions = Arc::new(Semaphore::new(QUESTIONS));
        Self { store, clock, idle_timeout, cache, line: Mutex::default(), questions }
    }

    /// Who a token belongs to, as the database has it: it is read after this call began.
    pub(super) async fn find(self: &Arc<Self>, hash: TokenHash) -> Answer {
        let (tell, told) = oneshot::channel();
        self.line_up(Asking { hash, tell })?;
        told.await.unwrap_or_else(|_| Err(Arc::new(StoreError::NoAnswer)))
    }

    fn line_up(self: &Arc<Self>, asking: Asking) -> Result<(), StoreError> {
        let mut line = self.line();
        if line.len() >= WAITING {
            return Err(StoreError::Busy);
        }
        line.push(asking);
        drop(line);
        // While the last question is being asked, its task looks after those who came meanwhile. It is a task of its own,
        // since whoever asked first may leave.
        if let Ok(question) = self.questions.clone().try_acquire_owned() {
            tokio::spawn(self.clone().ask(question));
        }
        Ok(())
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

    async fn answer(&self, callers: &mut Callers<'_>, asking: Vec<Asking>) {
        let hashes: Vec<TokenHash> = asking.iter().map(|asking| asking.hash).collect();
        let answers = self.read(callers, &hashes).await;
        for Asking { hash, tell } in asking {
            let answer = match &answers {
                Ok(answers) => answers.get(&hash).cloned().unwrap_or(Ok(None)),
                Err(error) => Err(error.clone()),
            };
            // Who has left need not be told.
            let _ = tell.send(answer);
        }
    }

    async fn read(
        &self,
        callers: &mut Callers<'_>,
        hashes: &[TokenHash],
    ) -> Result<HashMap<TokenHash, Answer>, Arc<StoreError>> {
        let now = self.clock.now();
        let reading = self.cache.begin();
        let found = callers.read(hashes, now, self.idle_timeout).await?;
        let answer = |(hash, session): (TokenHash, Result<_, _>)| {
            let kept = session.map(|session| Some(reading.keep(hash, &session, now)));
            (hash, kept.map_err(Arc::new))
        };
        Ok(found.into_iter().map(answer).collect())
    }

    fn line(&self) -> MutexGuard<'_, Vec<Asking>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
