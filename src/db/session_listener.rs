//! Session change notifications: listens for changes made by other replicas and programs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use sqlx::{Acquire as _, Connection as _, PgExecutor, Row as _};
use tokio::time::timeout;

use super::connection::{ConnectionMode, DbConnection, PoolGeneration};
use super::{Db, DbError};
use crate::domain::ObjectId;

/// The channel that the functions in the migrations notify.
const CHANNEL: &str = "entraway_sessions";
/// Prefix of probe messages. No user ID starts with it.
const PROBE_PREFIX: &str = "?";

/// Time limit for a notification, which normally takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How often a pooler is checked for shared connections; it does not switch connections each time.
const POOLER_CHECKS: usize = 10;

/// A listening connection, in addition to `database.max_connections`.
pub struct SessionListener {
    listener: PgListener,
    pool: PgPool,
    connected_at: Instant,
    generation: Arc<PoolGeneration>,
}

/// A change to sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    User(ObjectId),
    AnyUser,
}

/// Why listening is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// LISTEN succeeded, but the probe notification did not arrive: a transaction pooler is in between.
    #[error("the database accepts LISTEN, but its notifications do not arrive, as behind a transaction pooler")]
    Pooler,
    #[error("the listening connection to the database was lost")]
    Lost,
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<sqlx::Error> for ListenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

impl Db {
    /// Starts to listen. `probe` is a unique text; it is sent as a notification and must come back.
    pub async fn listen(&self, probe: &str) -> Result<SessionListener, ListenError> {
        let connected_at = Instant::now();
        let pooler = self.mode().await? == ConnectionMode::Pooled;
        if self.state.multiplexed.load(Ordering::Relaxed) {
            return Err(ListenError::Pooler);
        }
        let options = self.pool.connect_options().as_ref().clone().application_name("entraway listens");
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(TIMEOUT).connect_lazy_with(options);
        let probe = format!("{PROBE_PREFIX}{probe}");
        // With a time limit: on a dead network, the service would not know that it is not listening.
        let listening = async {
            let mut listener = match PgListener::connect_with(&pool).await {
                Ok(listener) => listener,
                Err(error) => return Err(self.no_connection(error).await.into()),
            };
            listener.eager_reconnect(false);
            let mut connection = self.connection().await?;
            // LISTEN would apply to a server connection that other clients get next.
            if pooler && is_multiplexed(&mut listener, &mut connection).await? {
                return Err(ListenError::Pooler);
            }
            listener.listen(CHANNEL).await?;
            sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(&probe).execute(&mut *connection).await?;
            Ok(listener)
        };
        let listening = timeout(2 * TIMEOUT, listening).await.map_err(|_| ListenError::Lost)?;
        let listener = self.remember_pooler(pooler, listening)?;
        let mut session_listener =
            SessionListener { listener, pool, connected_at, generation: self.generation.clone() };
        let probed = async {
            loop {
                if session_listener.receive().await? == probe {
                    return Ok::<(), ListenError>(());
                }
            }
        };
        let probed = timeout(TIMEOUT, probed).await.unwrap_or(Err(ListenError::Pooler));
        self.remember_pooler(pooler, probed)?;
        Ok(session_listener)
    }

    /// Remembers that a pooler shares server connections, so that listening is not tried again.
    fn remember_pooler<T>(&self, pooler: bool, outcome: Result<T, ListenError>) -> Result<T, ListenError> {
        if pooler && matches!(outcome, Err(ListenError::Pooler)) {
            self.state.multiplexed.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl SessionListener {
    /// Waits for the next change, up to a time limit. Cancel safe: no change is lost.
    pub async fn next(&mut self, within: Duration) -> Result<Option<SessionChange>, ListenError> {
        match timeout(within, self.receive()).await {
            Ok(message) => Ok(Some(parse_change(&message?))),
            Err(_) => Ok(None),
        }
    }

    /// Checks within a time limit that the connection is alive. Returns the changes that were received before the
    /// answer.
    pub async fn check_alive(&mut self, within: Duration) -> Result<Vec<SessionChange>, ListenError> {
        // A server that became a standby still answers, but sends no notifications.
        if !self.generation.is_current(self.connected_at.elapsed()) {
            return Err(ListenError::Lost);
        }
        let answer = async {
            let connection = self.listener.acquire().await.map_err(DbError::from)?;
            connection.ping().await.map_err(DbError::from)
        };
        timeout(within, answer).await.map_err(|_| ListenError::Lost)??;
        let waiting = std::iter::from_fn(|| self.listener.next_buffered());
        Ok(waiting.map(|message| parse_change(message.payload())).collect())
    }

    async fn receive(&mut self) -> Result<String, ListenError> {
        match self.listener.try_recv().await.map_err(DbError::from)? {
            Some(notification) => Ok(notification.payload().to_owned()),
            None => Err(ListenError::Lost),
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        drop(self.listener);
        let _ = timeout(TIMEOUT, self.pool.close()).await;
    }
}

/// Whether two client connections share a server connection, or one client connection uses several.
async fn is_multiplexed(listener: &mut PgListener, connection: &mut DbConnection) -> Result<bool, sqlx::Error> {
    let first = backend(&mut *listener).await?;
    for _ in 0..POOLER_CHECKS {
        if backend(&mut *connection).await? == first || backend(&mut *listener).await? != first {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Process ID of the server connection.
async fn backend(executor: impl PgExecutor<'_>) -> Result<i32, sqlx::Error> {
    executor.fetch_one(sqlx::raw_sql("select pg_backend_pid()")).await?.try_get(0)
}

/// An unknown payload, such as one of a newer version, may concern any user.
fn parse_change(payload: &str) -> SessionChange {
    payload.parse().map_or(SessionChange::AnyUser, SessionChange::User)
}
