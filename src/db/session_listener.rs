//! What other replicas, and programs beside us, change of sessions and their people: Postgres tells it by NOTIFY.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use sqlx::{Acquire as _, Connection as _, PgExecutor, Row as _};
use tokio::time::timeout;

use super::connection::{ConnectionMode, DbConnection, PoolGeneration};
use super::{Store, StoreError};
use crate::domain::ObjectId;

/// As the functions in the migrations have it.
const CHANNEL: &str = "entraway_sessions";
/// What a connection says to itself begins so: a user id never does.
const HELLO: &str = "?";

/// A notification is there in a few milliseconds. Where one has not come for so long, none will.
const PATIENCE: Duration = Duration::from_secs(1);

/// So often it is looked whether a pooler hands connections round: it does not give another one each time.
const LOOKS: usize = 10;

/// A connection that listens, on top of `database.max_connections`.
pub struct SessionListener {
    listener: PgListener,
    pool: PgPool,
    since: Instant,
    renewal: Arc<PoolGeneration>,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    Of(ObjectId),
    OfAnybody,
}

/// Why nobody listens.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The connection was made and took LISTEN, but a notification never came: a transaction pooler is in between.
    #[error("the database takes LISTEN, but its notifications do not arrive, as with a pooler in transaction mode")]
    Pooler,
    #[error("the connection that listens to the database is lost")]
    Lost,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ListenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Begins to listen. `hello` is a text of nobody else's: it is sent, and has to come back.
    pub async fn changes(&self, hello: &str) -> Result<SessionListener, ListenError> {
        let since = Instant::now();
        let pooler = self.way().await? == ConnectionMode::Pooler;
        if self.reach.shared.load(Ordering::Relaxed) {
            return Err(ListenError::Pooler);
        }
        let options = self.pool.connect_options().as_ref().clone().application_name("entraway listens");
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_lazy_with(options);
        let hello = format!("{HELLO}{hello}");
        // Nothing here may wait for a network that swallows everything: who does not listen does not know it.
        let begun = async {
            let mut listener = match PgListener::connect_with(&pool).await {
                Ok(listener) => listener,
                Err(error) => return Err(self.no_connection(error).await.into()),
            };
            listener.eager_reconnect(false);
            let mut connection = self.connection().await?;
            // LISTEN would stay with a connection of the database's, which others get next.
            if pooler && hands_round(&mut listener, &mut connection).await? {
                return Err(ListenError::Pooler);
            }
            listener.listen(CHANNEL).await?;
            sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(&hello).execute(&mut *connection).await?;
            Ok(listener)
        };
        let begun = timeout(2 * PATIENCE, begun).await.map_err(|_| ListenError::Lost)?;
        let listener = self.remember_pooler(pooler, begun)?;
        let mut changes = SessionListener { listener, pool, since, renewal: self.renewal.clone() };
        let heard = async {
            loop {
                if changes.receive().await? == hello {
                    return Ok::<(), ListenError>(());
                }
            }
        };
        let heard = timeout(PATIENCE, heard).await.unwrap_or(Err(ListenError::Pooler));
        self.remember_pooler(pooler, heard)?;
        Ok(changes)
    }

    /// Once it is clear that a pooler hands our connections round, it is not tried again.
    fn remember_pooler<T>(&self, pooler: bool, outcome: Result<T, ListenError>) -> Result<T, ListenError> {
        if pooler && matches!(outcome, Err(ListenError::Pooler)) {
            self.reach.shared.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl SessionListener {
    /// The next change, if there is one within that time. Dropped in between, it loses none.
    pub async fn next(&mut self, within: Duration) -> Result<Option<SessionChange>, ListenError> {
        match timeout(within, self.receive()).await {
            Ok(message) => Ok(Some(change(&message?))),
            Err(_) => Ok(None),
        }
    }

    /// Has the connection prove within that time that it is alive: all that was said before is heard then, and what of
    /// it came only now is given.
    pub async fn prove(&mut self, within: Duration) -> Result<Vec<SessionChange>, ListenError> {
        // A server that only reads, as one that was replaced, answers and is told nothing.
        if !self.renewal.counts(self.since.elapsed()) {
            return Err(ListenError::Lost);
        }
        let answer = async {
            let connection = self.listener.acquire().await.map_err(StoreError::from)?;
            connection.ping().await.map_err(StoreError::from)
        };
        timeout(within, answer).await.map_err(|_| ListenError::Lost)??;
        let waiting = std::iter::from_fn(|| self.listener.next_buffered());
        Ok(waiting.map(|message| change(message.payload())).collect())
    }

    async fn receive(&mut self) -> Result<String, ListenError> {
        match self.listener.try_recv().await.map_err(StoreError::from)? {
            Some(notification) => Ok(notification.payload().to_owned()),
            None => Err(ListenError::Lost),
        }
    }

    /// Ends the connection.
    pub async fn close(self) {
        drop(self.listener);
        let _ = timeout(PATIENCE, self.pool.close()).await;
    }
}

/// Whether two connections of ours are seen to share one of the database's, or one of ours to have several.
async fn hands_round(listener: &mut PgListener, connection: &mut DbConnection) -> Result<bool, sqlx::Error> {
    let first = backend(&mut *listener).await?;
    for _ in 0..LOOKS {
        if backend(&mut *connection).await? == first || backend(&mut *listener).await? != first {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Which of the database's connections answers at this moment.
async fn backend(executor: impl PgExecutor<'_>) -> Result<i32, sqlx::Error> {
    executor.fetch_one(sqlx::raw_sql("select pg_backend_pid()")).await?.try_get(0)
}

/// A text that we do not know, a newer version's say, may be about anybody.
fn change(payload: &str) -> SessionChange {
    payload.parse().map_or(SessionChange::OfAnybody, SessionChange::Of)
}
