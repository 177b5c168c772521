//! How statements reach the database: on a connection of our own, or through a pooler that gives each transaction
//! another one, as PgBouncer does in transaction mode. There nothing outlives a transaction, neither a setting nor a
//! prepared statement; and sqlx parses and executes in two steps. So each statement has a transaction of its own there,
//! which begins with the settings, and no statement has a name.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, Row as _, SqlStr};
use tokio::time::timeout_at;

/// What the database is asked for with each connection.
const SETTINGS: [(&str, &str); 3] =
    [("statement_timeout", "10s"), ("lock_timeout", "8s"), ("idle_in_transaction_session_timeout", "30s")];

/// A setting that nobody else makes, which tells whether the others were taken.
const SIGN: (&str, &str) = ("entraway.settings", "taken");

/// The same settings, for one transaction.
const BEGIN: &str = "begin; set local statement_timeout = '10s'; set local lock_timeout = '8s'; \
                     set local idle_in_transaction_session_timeout = '30s'";

/// For migrations: an index takes as long as its table is large.
pub(super) const BEGIN_MIGRATIONS: &str = "begin; set local statement_timeout = 0; set local lock_timeout = '8s'; \
                                           set local idle_in_transaction_session_timeout = '30s'";

/// How the database is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionMode {
    /// A connection is ours from its beginning to its end, with the settings that it began with.
    Direct,
    /// Somebody in between dropped the settings, or does not take them.
    Pooler,
}

/// What is asked for at the beginning of a connection that is ours.
pub(super) fn with_settings(options: PgConnectOptions) -> PgConnectOptions {
    options.options(SETTINGS.into_iter().chain([SIGN]))
}

/// Whether somebody in between takes no settings at the beginning of a connection, as PgBouncer says.
pub(super) fn refuses_settings(error: &sqlx::Error) -> bool {
    let refusal = error.as_database_error();
    refusal.is_some_and(|refusal| refusal.message().contains("unsupported startup parameter"))
}

/// Whether a connection that was asked for the settings has them.
pub(super) async fn way_of(connection: &mut PgConnection) -> Result<ConnectionMode, sqlx::Error> {
    let sql = "select current_setting('entraway.settings', true)";
    // No statement with a name is left behind, whoever is on the other side.
    let row = connection.fetch_one(sqlx::raw_sql(sql)).await?;
    let sign: Option<String> = row.try_get(0)?;
    Ok(if sign.as_deref() == Some(SIGN.1) { ConnectionMode::Direct } else { ConnectionMode::Pooler })
}

/// A server that only reads, as a standby does.
const READ_ONLY: &str = "25006";

/// A connection that does not answer for so long after it was used is given up.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections are given up at most this often.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Which connections count. Where one of them leads to a server that only reads, there is another one that writes, or will
/// be: whoever connects anew finds it.
#[derive(Debug)]
pub(super) struct PoolGeneration {
    began: Instant,
    /// Milliseconds since `began`: connections that were made before are given up.
    since: AtomicU64,
}

impl PoolGeneration {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), since: AtomicU64::new(0) }
    }

    /// Whether a connection of this age counts.
    pub(super) fn counts(&self, age: Duration) -> bool {
        millis(self.began.elapsed().saturating_sub(age)) >= self.since.load(Ordering::Relaxed)
    }

    /// All connections that there are lead astray.
    pub(super) fn renew(&self) {
        let now = millis(self.began.elapsed());
        if now >= self.since.load(Ordering::Relaxed) + millis(RENEW_EVERY) {
            self.since.store(now, Ordering::Relaxed);
            tracing::warn!("the database only reads, as a standby does: connecting anew");
        }
    }

    fn look_at(&self, error: &sqlx::Error) {
        if error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == READ_ONLY) {
            self.renew();
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A connection to run statements on, each by itself or all in one transaction. What is not committed is rolled back.
pub(super) struct DbConnection {
    /// There until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    way: ConnectionMode,
    /// Whether all statements are in one transaction.
    within: bool,
    /// Whether a transaction may be open.
    open: bool,
    renewal: Arc<PoolGeneration>,
}

impl DbConnection {
    // What it takes to make a connection is 40 KB: boxed, or it would be moved about with each request.

    pub(super) async fn acquire(
        pool: &PgPool,
        way: ConnectionMode,
        renewal: Arc<PoolGeneration>,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: Some(Box::pin(pool.acquire()).await?), way, within: false, open: false, renewal })
    }

    /// The same with a transaction.
    pub(super) async fn begin(mut self) -> Result<Self, sqlx::Error> {
        self.within = true;
        self.open().await?;
        Ok(self)
    }

    /// Ends the transaction, if there is one.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.end("commit").await
    }

    /// Ends the transaction, if there is one, as if nothing had been.
    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.end("rollback").await
    }

    async fn open(&mut self) -> Result<(), sqlx::Error> {
        // Before anything is sent: whoever gives up meanwhile cannot know how far it came.
        self.open = true;
        let begin = match self.way {
            ConnectionMode::Direct => "begin",
            ConnectionMode::Pooler => BEGIN,
        };
        self.connection().execute(sqlx::raw_sql(begin)).await?;
        Ok(())
    }

    async fn end(&mut self, how: &'static str) -> Result<(), sqlx::Error> {
        if self.open {
            self.connection().execute(sqlx::raw_sql(how)).await?;
            self.open = false;
        }
        Ok(())
    }

    async fn ask<'q, E: 'q + Execute<'q, Postgres>>(&mut self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        let steps = match self.way {
            ConnectionMode::Direct => self.connection().fetch_many(query).try_collect().await,
            ConnectionMode::Pooler if self.within => self.connection().fetch_many(Unnamed(query)).try_collect().await,
            ConnectionMode::Pooler => self.ask_alone(query).await,
        };
        steps.inspect_err(|error| self.renewal.look_at(error))
    }

    /// A statement in a transaction of its own.
    async fn ask_alone<'q, E: 'q + Execute<'q, Postgres>>(&mut self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        // Of a statement that failed before.
        self.end("rollback").await?;
        self.open().await?;
        let steps = self.connection().fetch_many(Unnamed(query)).try_collect().await?;
        self.end("commit").await?;
        Ok(steps)
    }

    fn connection(&mut self) -> &mut PgConnection {
        // Unwrap safety: it is taken by `drop` alone.
        self.connection.as_deref_mut().expect("a connection")
    }
}

impl Drop for DbConnection {
    /// The pool asks for a sign of life before it takes a connection back, and would wait for it on a network that swallows
    /// everything for as long as the kernel has patience, which is a quarter of an hour.
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let open = self.open;
        tokio::spawn(async move {
            let patience = Instant::now() + RELEASE_TIMEOUT;
            if open {
                // After a commit that failed there is none, and Postgres says so.
                let rollback = connection.execute(sqlx::raw_sql("rollback"));
                if !matches!(timeout_at(patience.into(), rollback).await, Ok(Ok(_))) {
                    drop(connection.detach());
                    return tracing::warn!("a connection to the database was given up: it did not roll back");
                }
            }
            // It is closed where this is given up.
            if timeout_at(patience.into(), connection.return_to_pool()).await.is_err() {
                tracing::warn!("a connection to the database was given up: it did not answer after it was used");
            }
        });
    }
}

impl fmt::Debug for DbConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbConnection").field("way", &self.way).finish_non_exhaustive()
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
        let steps = stream::once(self.ask(query));
        steps.map_ok(|steps| stream::iter(steps.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        async move { Ok(self.ask(query).await?.into_iter().find_map(Either::right)) }.boxed()
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
    fn a_transaction_behind_a_pooler_begins_with_the_settings_of_a_connection_without_one() {
        for (name, value) in SETTINGS {
            let set = format!("set local {name} = '{value}'");
            assert!(BEGIN.contains(&set), "{set} is not in {BEGIN}");
            let for_migrations = BEGIN_MIGRATIONS.contains(&set);
            assert_eq!(for_migrations, name != "statement_timeout", "{set} in {BEGIN_MIGRATIONS}");
        }
    }

    #[test]
    fn connections_of_before_a_renewal_do_not_count_and_those_made_since_do() {
        let renewal = PoolGeneration {
            began: Instant::now().checked_sub(Duration::from_mins(1)).unwrap(),
            since: AtomicU64::new(0),
        };
        assert!(renewal.counts(Duration::from_secs(50)));
        renewal.renew();
        assert!(!renewal.counts(Duration::from_secs(50)), "made before");
        assert!(renewal.counts(Duration::ZERO), "made since");
    }
}
