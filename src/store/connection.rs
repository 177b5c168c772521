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
use sqlx::pool::{PoolConnection, PoolConnectionMetadata};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection as _, Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, Row as _, SqlStr};
use tokio::time::timeout;

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
pub(super) enum Way {
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
pub(super) async fn way_of(connection: &mut PgConnection) -> Result<Way, sqlx::Error> {
    let sql = "select current_setting('entraway.settings', true)";
    // No statement with a name is left behind, whoever is on the other side.
    let row = connection.fetch_one(sqlx::raw_sql(sql)).await?;
    let sign: Option<String> = row.try_get(0)?;
    Ok(if sign.as_deref() == Some(SIGN.1) { Way::Direct } else { Way::Pooler })
}

/// A server that only reads, as a standby does.
const READ_ONLY: &str = "25006";

/// A connection that does not answer for so long after it was used is given up.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// So long after a connection answered it is not asked for a sign of life before it is used again, which is most of the time
/// in a storm.
const FRESH: Duration = Duration::from_millis(100);

/// Connections are given up at most this often.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Which connections count. Where one of them leads to a server that only reads, there is another one that writes, or will
/// be: whoever connects anew finds it. Where one was lost, the others may be as well.
#[derive(Debug)]
pub(super) struct Renewal {
    began: Instant,
    /// Milliseconds since `began`: connections that were made before are given up.
    since: AtomicU64,
    /// Milliseconds since `began`: those that were used before are asked for a sign of life.
    doubt: AtomicU64,
}

impl Renewal {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), since: AtomicU64::new(0), doubt: AtomicU64::new(0) }
    }

    /// Whether a connection of the pool can be used once more.
    pub(super) async fn may_use(&self, connection: &mut PgConnection, so_far: PoolConnectionMetadata) -> bool {
        if !self.counts(so_far.age) {
            return false;
        }
        if self.is_fresh(so_far.idle_for) {
            return true;
        }
        let answer = connection.ping().await;
        if answer.is_err() {
            self.doubt();
        }
        answer.is_ok()
    }

    /// Whether a connection of this age counts.
    pub(super) fn counts(&self, age: Duration) -> bool {
        self.at(age) >= self.since.load(Ordering::Relaxed)
    }

    /// Whether a connection that was used so long ago needs no sign of life.
    fn is_fresh(&self, idle_for: Duration) -> bool {
        idle_for < FRESH && self.at(idle_for) > self.doubt.load(Ordering::Relaxed)
    }

    /// When that was, so long ago.
    fn at(&self, ago: Duration) -> u64 {
        millis(self.began.elapsed().saturating_sub(ago))
    }

    fn doubt(&self) {
        self.doubt.store(self.at(Duration::ZERO), Ordering::Relaxed);
    }

    /// All connections that there are lead astray.
    pub(super) fn renew(&self) {
        let now = self.at(Duration::ZERO);
        if now >= self.since.load(Ordering::Relaxed) + millis(RENEW_EVERY) {
            self.since.store(now, Ordering::Relaxed);
            tracing::warn!("the database only reads, as a standby does: connecting anew");
        }
    }

    fn look_at(&self, error: &sqlx::Error) {
        self.doubt();
        if error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == READ_ONLY) {
            self.renew();
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A connection to run statements on, each by itself or all in one transaction. What is not committed is rolled back.
pub(super) struct Link {
    /// There until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    way: Way,
    within: bool,
    /// Whether all that it was asked was answered.
    answered: bool,
    renewal: Arc<Renewal>,
}

impl Link {
    // What it takes to make a connection is 40 KB: boxed, or it would be moved about with each request.

    pub(super) async fn acquire(pool: &PgPool, way: Way, renewal: Arc<Renewal>) -> Result<Self, sqlx::Error> {
        let connection = Some(Box::pin(pool.acquire()).await?);
        Ok(Self { connection, way, within: false, answered: true, renewal })
    }

    /// The same with a transaction.
    pub(super) async fn begin(pool: &PgPool, way: Way, renewal: Arc<Renewal>) -> Result<Self, sqlx::Error> {
        let mut link = Self::acquire(pool, way, renewal).await?;
        link.within = true;
        let begin = match way {
            Way::Direct => "begin",
            Way::Pooler => BEGIN,
        };
        link.tell(begin).await?;
        Ok(link)
    }

    /// Ends the transaction, if there is one.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("commit").await
    }

    /// Ends the transaction, if there is one, as if nothing had been.
    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.end("rollback").await
    }

    async fn end(mut self, how: &'static str) -> Result<(), sqlx::Error> {
        if self.within {
            self.tell(how).await?;
            self.within = false;
        }
        Ok(())
    }

    async fn tell(&mut self, what: &'static str) -> Result<(), sqlx::Error> {
        let told = self.connection().execute(sqlx::raw_sql(what)).await;
        self.answer(told).map(drop)
    }

    async fn ask<'q, E: 'q + Execute<'q, Postgres>>(&mut self, query: E) -> Result<Vec<Step>, sqlx::Error> {
        let (way, within) = (self.way, self.within);
        let connection = self.connection();
        let steps = match (way, within) {
            (Way::Direct, _) => connection.fetch_many(query).try_collect().await,
            (Way::Pooler, true) => connection.fetch_many(Unnamed(query)).try_collect().await,
            (Way::Pooler, false) => alone(connection, query).await,
        };
        self.answer(steps)
    }

    /// For a question, which may be given up before there is an answer.
    fn connection(&mut self) -> &mut PgConnection {
        self.answered = false;
        // Unwrap safety: it is taken by `drop` alone.
        self.connection.as_deref_mut().expect("a connection")
    }

    fn answer<T>(&mut self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        self.answered = matches!(&answer, Ok(_) | Err(sqlx::Error::Database(_)));
        answer.inspect_err(|error| self.renewal.look_at(error))
    }
}

impl Drop for Link {
    /// Whoever is on the other side of a network that swallows everything must not keep the connection's place for as long
    /// as the kernel has patience, which is a quarter of an hour.
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.answered && !self.within {
            return;
        }
        let within = self.within;
        tokio::spawn(async move {
            let settles = timeout(RELEASE_TIMEOUT, async {
                if within {
                    connection.execute(sqlx::raw_sql("rollback")).await.map(drop)
                } else {
                    connection.ping().await
                }
            });
            if !matches!(settles.await, Ok(Ok(()))) {
                drop(connection.detach());
            }
        });
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("way", &self.way).finish_non_exhaustive()
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

/// A statement in a transaction of its own.
async fn alone<'q, E>(connection: &mut PgConnection, query: E) -> Result<Vec<Step>, sqlx::Error>
where
    E: 'q + Execute<'q, Postgres>,
{
    let mut transaction = connection.begin_with(BEGIN).await?;
    let steps = transaction.fetch_many(Unnamed(query)).try_collect().await?;
    transaction.commit().await?;
    Ok(steps)
}

impl<'c> Executor<'c> for &'c mut Link {
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

    fn a_minute_old() -> Renewal {
        Renewal { began: Instant::now().checked_sub(Duration::from_mins(1)).unwrap(), ..Renewal::new() }
    }

    #[test]
    fn a_connection_that_was_used_just_now_is_asked_for_a_sign_of_life_once_another_one_was_lost() {
        let renewal = a_minute_old();
        assert!(renewal.is_fresh(Duration::from_millis(50)));
        assert!(!renewal.is_fresh(FRESH), "used too long ago");
        renewal.look_at(&sqlx::Error::WorkerCrashed);
        assert!(!renewal.is_fresh(Duration::from_millis(50)), "used before the other one was lost");
        assert!(!renewal.is_fresh(Duration::ZERO), "at the same moment");
        std::thread::sleep(Duration::from_millis(3));
        assert!(renewal.is_fresh(Duration::ZERO), "used since");
    }

    #[test]
    fn connections_of_before_a_renewal_do_not_count_and_those_made_since_do() {
        let renewal = a_minute_old();
        assert!(renewal.counts(Duration::from_secs(50)));
        renewal.renew();
        assert!(!renewal.counts(Duration::from_secs(50)), "made before");
        assert!(renewal.counts(Duration::ZERO), "made since");
    }
}
