//! Connections in both modes: direct, or through a transaction pooler such as PgBouncer.
//!
//! A transaction pooler may give each transaction another server connection. Neither settings nor prepared statements
//! outlive a transaction, and sqlx parses and executes in two steps. So each statement runs in its own transaction
//! there, which begins with the settings, and statements are unnamed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, Row as _, SqlStr};
use tokio::time::timeout_at;

/// Settings of every connection.
const SETTINGS: [(&str, &str); 3] =
    [("statement_timeout", "10s"), ("lock_timeout", "8s"), ("idle_in_transaction_session_timeout", "30s")];

/// Marker setting; if it is missing, a pooler dropped our startup options.
const MARKER: (&str, &str) = ("entraway.settings", "taken");

/// The same settings for one transaction.
const BEGIN: &str = "begin; set local statement_timeout = '10s'; set local lock_timeout = '8s'; \
                     set local idle_in_transaction_session_timeout = '30s'";

/// For migrations: building an index on a large table takes long.
pub(super) const BEGIN_MIGRATIONS: &str = "begin; set local statement_timeout = 0; set local lock_timeout = '8s'; \
                                           set local idle_in_transaction_session_timeout = '30s'";

/// How the database is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionMode {
    /// Server connections are ours alone and keep their startup settings.
    Direct,
    /// A pooler drops or rejects the startup settings.
    Pooled,
}

/// Adds the startup settings and the marker.
pub(super) fn with_settings(options: PgConnectOptions) -> PgConnectOptions {
    options.options(SETTINGS.into_iter().chain([MARKER]))
}

/// Whether a pooler rejected the startup settings, with PgBouncer's message.
pub(super) fn rejects_settings(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("unsupported startup parameter"))
}

/// Detects whether a connection has the startup settings.
pub(super) async fn detect_mode(connection: &mut PgConnection) -> Result<ConnectionMode, sqlx::Error> {
    let sql = "select current_setting('entraway.settings', true)";
    // A simple query, so that no named statement is left behind a pooler.
    let row = connection.fetch_one(sqlx::raw_sql(sql)).await?;
    let marker: Option<String> = row.try_get(0)?;
    Ok(if marker.as_deref() == Some(MARKER.1) { ConnectionMode::Direct } else { ConnectionMode::Pooled })
}

/// SQLSTATE of a read-only server, such as a standby.
const READ_ONLY: &str = "25006";

/// Time limit for returning a connection to the pool.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Minimum time between two invalidations.
const INVALIDATION_INTERVAL: Duration = Duration::from_secs(1);

/// Which pooled connections may be used. After a failover, old connections lead to a read-only server; new ones reach
/// the primary.
#[derive(Debug, Default)]
pub(super) struct PoolGeneration {
    /// Connections opened before this time are discarded.
    valid_from: Mutex<Option<Instant>>,
}

impl PoolGeneration {
    /// Whether a connection of this age may be used.
    pub(super) fn is_current(&self, age: Duration) -> bool {
        self.valid_from().is_none_or(|time| time.elapsed() >= age)
    }

    /// Invalidates all pooled connections.
    pub(super) fn invalidate(&self) {
        let mut valid_from = self.valid_from();
        if valid_from.is_none_or(|time| time.elapsed() >= INVALIDATION_INTERVAL) {
            *valid_from = Some(Instant::now());
            tracing::warn!("database is read-only, such as a standby; discarding pooled connections");
        }
    }

    fn observe(&self, error: &sqlx::Error) {
        if error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == READ_ONLY) {
            self.invalidate();
        }
    }

    fn valid_from(&self) -> MutexGuard<'_, Option<Instant>> {
        self.valid_from.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transaction that may be open on the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenTransaction {
    None,
    /// Behind a pooler, of one statement that is running, failed or was canceled.
    OfStatement,
    /// Of all further statements.
    OfConnection,
}

/// A connection that runs each statement by itself or all in one transaction. Dropping it rolls back.
pub(super) struct DbConnection {
    /// `Some` until dropped.
    connection: Option<PoolConnection<Postgres>>,
    mode: ConnectionMode,
    open: OpenTransaction,
    generation: Arc<PoolGeneration>,
}

impl DbConnection {
    // Boxed: the future is 40 KB, and would be moved with each request.

    pub(super) async fn acquire(
        pool: &PgPool,
        mode: ConnectionMode,
        generation: Arc<PoolGeneration>,
    ) -> Result<Self, sqlx::Error> {
        let connection = Some(Box::pin(pool.acquire()).await?);
        Ok(Self { connection, mode, open: OpenTransaction::None, generation })
    }

    /// Begins a transaction for all further statements.
    pub(super) async fn begin(mut self) -> Result<Self, sqlx::Error> {
        self.begin_transaction(OpenTransaction::OfConnection).await?;
        Ok(self)
    }

    /// Commits the transaction, if one is open.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.end_transaction("commit").await
    }

    /// Rolls the transaction back, if one is open.
    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.end_transaction("rollback").await
    }

    async fn begin_transaction(&mut self, transaction: OpenTransaction) -> Result<(), sqlx::Error> {
        // Set before anything is sent: a canceled request cannot know how far it came.
        self.open = transaction;
        let begin = match self.mode {
            ConnectionMode::Direct => "begin",
            ConnectionMode::Pooled => BEGIN,
        };
        self.connection().execute(sqlx::raw_sql(begin)).await?;
        Ok(())
    }

    async fn end_transaction(&mut self, command: &'static str) -> Result<(), sqlx::Error> {
        if self.open != OpenTransaction::None {
            self.connection().execute(sqlx::raw_sql(command)).await?;
            self.open = OpenTransaction::None;
        }
        Ok(())
    }

    async fn run<'q, E: 'q + Execute<'q, Postgres>>(&mut self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        let steps = match (self.mode, self.open) {
            (ConnectionMode::Direct, _) => self.connection().fetch_many(query).try_collect().await,
            (ConnectionMode::Pooled, OpenTransaction::OfConnection) => {
                self.connection().fetch_many(Unnamed(query)).try_collect().await
            }
            (ConnectionMode::Pooled, _) => self.run_in_own_transaction(query).await,
        };
        steps.inspect_err(|error| self.generation.observe(error))
    }

    /// Runs a statement in a transaction of its own.
    async fn run_in_own_transaction<'q, E: 'q + Execute<'q, Postgres>>(
        &mut self,
        query: E,
    ) -> Result<Vec<Step>, sqlx::Error> {
        // Left open by a statement that failed.
        self.end_transaction("rollback").await?;
        self.begin_transaction(OpenTransaction::OfStatement).await?;
        let steps = self.connection().fetch_many(Unnamed(query)).try_collect().await?;
        self.end_transaction("commit").await?;
        Ok(steps)
    }

    #[expect(clippy::expect_used, reason = "only `drop` takes it")]
    fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_deref_mut().expect("a connection")
    }
}

impl Drop for DbConnection {
    /// Returns the connection in the background with a time limit. The pool pings a returned connection; on a dead
    /// network, that waits for the kernel's TCP timeout (about 15 minutes).
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let transaction_open = self.open != OpenTransaction::None;
        tokio::spawn(async move {
            let deadline = Instant::now() + RELEASE_TIMEOUT;
            if transaction_open {
                // If the commit failed, no transaction is open; Postgres only warns.
                let rollback = connection.execute(sqlx::raw_sql("rollback"));
                if !matches!(timeout_at(deadline.into(), rollback).await, Ok(Ok(_))) {
                    drop(connection.detach());
                    return tracing::warn!("discarded a database connection that did not roll back");
                }
            }
            // A connection that does not answer is closed when the future is dropped.
            if timeout_at(deadline.into(), connection.return_to_pool()).await.is_err() {
                tracing::warn!("discarded a database connection that did not answer after use");
            }
        });
    }
}

impl fmt::Debug for DbConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbConnection").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// A statement that is prepared without a name.
struct Unnamed<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unnamed<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}

type Step = Either<PgQueryResult, PgRow>;

impl<'c> Executor<'c> for &'c mut DbConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let steps = stream::once(self.run(query));
        steps.map_ok(|steps| stream::iter(steps.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        async move { Ok(self.run(query).await?.into_iter().find_map(Either::right)) }.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.connection().prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.connection().describe(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_transaction_begins_with_connection_settings() {
        for (name, value) in SETTINGS {
            let set = format!("set local {name} = '{value}'");
            assert!(BEGIN.contains(&set), "{set} is not in {BEGIN}");
            let for_migrations = BEGIN_MIGRATIONS.contains(&set);
            assert_eq!(for_migrations, name != "statement_timeout", "{set} in {BEGIN_MIGRATIONS}");
        }
    }

    #[test]
    fn invalidation_discards_only_older_connections() {
        let generation = PoolGeneration::default();
        assert!(generation.is_current(Duration::from_secs(50)));
        generation.invalidate();
        assert!(!generation.is_current(Duration::from_secs(50)), "made before");
        assert!(generation.is_current(Duration::ZERO), "made since");
    }
}
