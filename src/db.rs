//! Postgres: the only place with SQL. Every statement handles a set; none stands in a loop. It decides nothing: what to
//! write comes as a plan.

mod apply;
mod connect;
mod connection;
mod current_user;
mod expiry;
mod failed_sign_in;
mod litellm;
mod migrations;
mod native;
mod pooled_connection;
mod read;
mod roles;
mod session;
mod session_details;
mod session_listener;
mod session_lookup;
mod sync_record;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::domain::{EntraUser, StoreKind};
use crate::observability::metrics::Metrics;
use crate::plan::{Applied, Current, Directory, Plan, Planner};

use apply::Tables as _;
use connect::Target;
use connection::{ConnectionMode, DbConnection, PoolGeneration};
use litellm::LiteLlm;
use native::Native;
use pooled_connection::{Connection, Use};

pub use connect::ConnectError;
pub use current_user::SessionUser;
pub use expiry::AssertionKey;
pub use failed_sign_in::FailedSignIn;
pub use litellm::Leftovers;
pub use migrations::Versions;
pub use read::{
    Cursor, Failed, FailedSignInFilter, FailedSignInRow, Hour, Key, Listed, Listing, Member, Organization, PAGE,
    RoleChanged, RowLimits, Sort, SyncFilter, SyncRow, Team, Turn, UserOrganization, UserRow, UserTeam,
};
pub use roles::{Adoption, AdoptionState};
pub use session::{NewSession, SessionRow, TokenHash, Whose};
pub use session_details::{LastSync, Me, OrganizationOfMe, SessionOfMe, TeamOfMe, UserOfMe};
pub use session_listener::{ListenError, SessionChange, SessionListener};
pub use session_lookup::{ForwardedSession, ForwardedUser, SessionReader, touch_interval};
pub use sync_record::{Denial, SyncRun};

/// A sign-in waits this long for a connection before it is told to come back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A readiness check waits this long for its connection: with the attempt that tells the reason it must be over before
/// probes give up.
const READINESS_TIMEOUT: Duration = Duration::from_secs(1);

/// So many wait for each connection at most. A statement takes some milliseconds: whoever stands further back had better
/// come again than wait here and take up memory.
const WAITING_PER_CONNECTION: u32 = 20;

/// Of so many connections one is kept for those who only read.
const CONNECTIONS_PER_READER: u32 = 4;

/// The tables that hold organizations, teams and people, and our own beside them.
#[derive(Clone, Debug)]
pub struct Store {
    kind: StoreKind,
    pool: PgPool,
    /// One connection beside the pool, for readiness checks: they neither wait for sign-ins nor take a connection from them.
    readiness: PgPool,
    renewal: Arc<PoolGeneration>,
    reach: Arc<ConnectionState>,
    /// A place for everyone who has a connection or waits for one.
    line: Arc<Semaphore>,
    /// A turn for everyone who writes. A lock that somebody holds keeps writers waiting, with their connections; those who
    /// only read need not wait behind them.
    turns: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// How the connections to the database are used at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub in_use: usize,
    pub idle: usize,
    pub most: u32,
}

/// What is known of the way to the database.
#[derive(Debug)]
struct ConnectionState {
    /// Found out with the first connection.
    way: OnceLock<ConnectionMode>,
    /// Where a pooler drops or refuses the settings, nothing is asked for.
    plain: PgConnectOptions,
    /// Several of our connections were one of the database's: nobody can listen.
    shared: AtomicBool,
    target: Target,
}

/// What can go wrong with the database, by situation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, or none free.
    #[error("the database is not available")]
    Connect(#[source] ConnectError),
    /// A connection that broke, or a statement that found no place, lock or time: later may go well.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A standby, say.
    #[error("the database only reads, as a standby does")]
    ReadOnly,
    /// Too many wait for a connection.
    #[error("too many requests wait for the database")]
    Busy,
    /// It was asked, and whoever did so has given up.
    #[error("the database did not answer in time")]
    NoAnswer,
    /// The object id belongs to a person of another tenant already.
    #[error("the user id belongs to a person of another tenant")]
    OtherTenant,
    #[error("the database refused a statement")]
    Refused(#[source] sqlx::Error),
    /// Not a database of a LiteLLM proxy, or one of a version that this service does not know.
    #[error("the database's LiteLLM tables cannot be served (see docs/litellm.md): {}", .0.join("; "))]
    NotLiteLlm(Vec<String>),
    #[error("the schema entraway is not there and could not be made")]
    Schema(#[source] sqlx::Error),
    #[error("the tables could not be brought up to date")]
    Migration(#[source] MigrateError),
    #[error("the database's address cannot be read")]
    Address,
    #[error("the cookie key in the database is not 64 bytes long")]
    CookieKey,
    #[error("a session in the database is of a user id that is no object id")]
    UserId,
}

impl StoreError {
    /// Whether the database cannot be used at this moment, and the same may go well later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Unavailable(_) | Self::ReadOnly | Self::NoAnswer)
    }

    /// What the operator can do, where the situation says.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Connect(error) => Some(error.remedy()),
            _ => None,
        }
    }

    /// A word for the situation.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect(_) | Self::Unavailable(_) => "unavailable",
            Self::ReadOnly => "read_only",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::OtherTenant => "other_tenant",
            Self::Refused(_) => "refused",
            Self::NotLiteLlm(_) => "not_litellm",
            Self::Schema(_) => "schema",
            Self::Migration(_) => "migration",
            Self::Address => "address",
            Self::CookieKey => "cookie_key",
            Self::UserId => "user_id",
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let lost = match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_) => true,
            // 08 connection, 53 resources, 55 lock not available, 57 operator intervention (shutdown, statement
            // time-out), 58 system error; 40 a serialization failure or deadlock that outlasted its retries.
            // 28 and 3D: the server does not let us in, or not into this database. 25006 is a server that only reads, as a
            // standby does.
            sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| {
                let classes = ["08", "28", "3D", "40", "53", "55", "57", "58"];
                classes.iter().any(|class| code.starts_with(class)) || code == "25006"
            }),
            _ => false,
        };
        if lost { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}

impl Store {
    /// Opens the pool; the first connection is made when it is needed.
    pub fn new(kind: StoreKind, url: &SecretString, max_connections: u32) -> Result<Self, StoreError> {
        Self::with(kind, url, max_connections, &[])
    }

    /// For bringing the tables up to date and nothing else: one connection, and a statement takes as long as it takes.
    pub fn for_migrations(kind: StoreKind, url: &SecretString) -> Result<Self, StoreError> {
        Self::with(kind, url, 1, &[("statement_timeout", "0")])
    }

    /// `settings` win over those of every connection.
    fn with(
        kind: StoreKind,
        url: &SecretString,
        max_connections: u32,
        settings: &[(&str, &str)],
    ) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.expose_secret().parse().map_err(|_| StoreError::Address)?;
        // Poolers do not know the last one, and every Postgres of today writes numbers in full without it.
        let plain = options.application_name("entraway").extra_float_digits(None);
        let options = connection::with_settings(plain.clone()).options(settings.iter().copied());
        let renewal = Arc::new(PoolGeneration::new());
        let pool = |max_connections, acquire_timeout, options| {
            let renewal = renewal.clone();
            PgPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(acquire_timeout)
                .before_acquire(move |_, connection| Box::pin(std::future::ready(Ok(renewal.counts(connection.age)))))
                .connect_lazy_with(options)
        };
        let readiness = pool(1, READINESS_TIMEOUT, options.clone().application_name("entraway readiness"));
        let pool = pool(max_connections, ACQUIRE_TIMEOUT, options);
        let places = max_connections.saturating_mul(1 + WAITING_PER_CONNECTION);
        let semaphore = |count| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)));
        let line = semaphore(places);
        let turns = semaphore(turns(max_connections));
        let target = Target::new(&plain);
        let reach = Arc::new(ConnectionState { way: OnceLock::new(), plain, shared: AtomicBool::new(false), target });
        Ok(Self { kind, pool, readiness, renewal, reach, line, turns, metrics: Arc::default() })
    }

    /// Whose tables these are.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// Counts there.
    #[must_use]
    pub fn counted_by(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Where it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How the connections are used at this moment.
    #[must_use]
    pub fn pool(&self) -> Pool {
        let (idle, all) = (self.pool.num_idle(), self.pool.size() as usize);
        Pool { in_use: all.saturating_sub(idle), idle, most: self.pool.options().get_max_connections() }
    }

    /// A connection, for which not too many wait already.
    async fn connection(&self) -> Result<Connection<'_>, StoreError> {
        self.take(async { None }, self.link()).await
    }

    /// A connection to write with.
    async fn connection_to_write(&self) -> Result<Connection<'_>, StoreError> {
        self.take(self.turn(), self.link()).await
    }

    /// A connection to write with, if it is nobody else's turn: for what can wait for another time.
    async fn connection_to_write_now(&self) -> Result<Option<Connection<'_>>, StoreError> {
        match self.turns.try_acquire() {
            Ok(turn) => self.take(async { Some(turn) }, self.link()).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// A transaction to write in.
    async fn begin(&self) -> Result<Connection<'_>, StoreError> {
        let begun = async { Ok(self.link().await?.begin().await?) };
        self.take(self.turn(), begun).await
    }

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes the semaphore.
        self.turns.acquire().await.ok()
    }

    async fn take<'a>(
        &'a self,
        turn: impl Future<Output = Option<SemaphorePermit<'a>>>,
        link: impl Future<Output = Result<DbConnection, StoreError>>,
    ) -> Result<Connection<'a>, StoreError> {
        let place = self.line.try_acquire().map_err(|_| StoreError::Busy)?;
        let begin = Instant::now();
        let waits = self.metrics.postgres_waiting.guard(());
        let taken = timeout(ACQUIRE_TIMEOUT, async {
            let turn = turn.await;
            (turn, link.await)
        })
        .await;
        drop(waits);
        let taken_at = Instant::now();
        self.metrics.postgres_wait_seconds.observe((), taken_at - begin);
        let Ok((turn, link)) = taken else { return Err(self.no_connection(sqlx::Error::PoolTimedOut).await) };
        let used = Use { begin: Some(taken_at), metrics: &self.metrics, _place: place, _turn: turn };
        Ok(Connection { inner: link?, used })
    }

    /// A connection, however many wait for one already.
    async fn link(&self) -> Result<DbConnection, StoreError> {
        let way = self.way().await?;
        match DbConnection::acquire(&self.pool, way, self.renewal.clone()).await {
            Ok(link) => Ok(link),
            Err(error) => Err(self.no_connection(error).await),
        }
    }

    /// Why the pool gave no connection.
    async fn no_connection(&self, error: sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::PoolTimedOut => match self.reach.target.probe(&self.pool.connect_options()).await {
                Ok(()) => StoreError::Connect(ConnectError::InUse { most: self.pool().most }),
                Err(error) => StoreError::Connect(error),
            },
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => error.into(),
            error => StoreError::Connect(self.reach.target.explain(&error)),
        }
    }

    /// Host and `sslmode` of a connection that others could read or change on its way.
    #[must_use]
    pub fn unverified_host(&self) -> Option<(String, &'static str)> {
        connect::unverified(&self.reach.plain)
    }

    /// How the database is reached, found out with the first connection.
    async fn way(&self) -> Result<ConnectionMode, StoreError> {
        if let Some(way) = self.reach.way.get() {
            return Ok(*way);
        }
        // Beside the pool, which would hide why it gives none.
        let target = &self.reach.target;
        let first = target.connect(&self.pool.connect_options(), ACQUIRE_TIMEOUT).await;
        let way = match first.map_err(StoreError::Connect)? {
            Ok(mut connection) => {
                let way = connection::way_of(&mut connection).await?;
                connect::close(connection).await;
                way
            }
            Err(error) if connection::refuses_settings(&error) => ConnectionMode::Pooler,
            Err(error) => return Err(StoreError::Connect(target.explain(&error))),
        };
        if way == ConnectionMode::Pooler {
            self.pool.set_connect_options(self.reach.plain.clone());
            self.readiness.set_connect_options(self.reach.plain.clone().application_name("entraway readiness"));
            tracing::info!("there is a pooler before the database: each statement has a transaction of its own");
        }
        Ok(*self.reach.way.get_or_init(|| way))
    }

    /// Makes the database ready: looks at the tables that are not ours, and brings our own up to date.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        self.check_tables().await?;
        self.migrate().await
    }

    /// Brings our tables up to date. Several replicas may do so at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // An index takes as long as its table is large. A lock that somebody holds for long is another matter: whoever
        // asked tries again.
        let way = self.way().await?;
        let options = (*self.pool.connect_options()).clone();
        let options = match way {
            ConnectionMode::Direct => options.options([("statement_timeout", "0")]),
            ConnectionMode::Pooler => options,
        };
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options);
        let done = match pool.acquire().await {
            Ok(mut connection) => migrations::run(&mut connection, way).await,
            Err(error) => Err(self.no_connection(error).await),
        };
        pool.close().await;
        done
    }

    /// The server's version.
    pub async fn version(&self) -> Result<String, StoreError> {
        Ok(sqlx::query_scalar("select current_setting('server_version')").fetch_one(&mut self.link().await?).await?)
    }

    /// Whether the database answers, can be written to and holds our tables, and the proxy's as we need them.
    pub async fn ready(&self) -> Result<(), StoreError> {
        let sql = "select current_setting('transaction_read_only')::boolean
                   where not exists (select from entraway.sessions limit 0)";
        let way = self.way().await?;
        let mut link = match DbConnection::acquire(&self.readiness, way, self.renewal.clone()).await {
            Ok(link) => link,
            Err(error) => {
                return Err(match self.no_connection(error).await {
                    // That is said of the pool that sign-ins use.
                    StoreError::Connect(ConnectError::InUse { .. }) => StoreError::NoAnswer,
                    error => error,
                });
            }
        };
        if sqlx::query_scalar(sql).fetch_one(&mut link).await? {
            self.renewal.renew();
            return Err(StoreError::ReadOnly);
        }
        self.check_tables_with(&mut link).await
    }

    /// Whether the tables that are not ours are such that this service can serve them: all columns that it reads and
    /// writes are there, and it may do so. With the native store there is nothing to look at.
    pub async fn check_tables(&self) -> Result<(), StoreError> {
        match self.kind {
            StoreKind::Native => Ok(()),
            StoreKind::LiteLlm => self.check_tables_with(&mut self.link().await?).await,
        }
    }

    async fn check_tables_with(&self, link: &mut DbConnection) -> Result<(), StoreError> {
        match self.kind {
            StoreKind::Native => Ok(()),
            StoreKind::LiteLlm => litellm::check(link).await,
        }
    }

    /// What the store holds for this person and the groups of the directory: one statement.
    pub async fn read(&self, person: &EntraUser, directory: &Directory) -> Result<Current, StoreError> {
        let mut connection = self.connection().await?;
        match self.kind {
            StoreKind::Native => Native::read(&mut connection, person, directory).await,
            StoreKind::LiteLlm => LiteLlm::read(&mut connection, person, directory).await,
        }
    }

    /// Writes what is missing, in one transaction: takes the locks, reads and plans again on what they protect, writes.
    /// `plan` is the plan that told that there is something to do.
    pub async fn apply(&self, planner: &Planner<'_>, plan: &Plan) -> Result<Applied, StoreError> {
        match self.kind {
            // What is alive over all of these statements is large.
            StoreKind::Native => Box::pin(apply::apply::<Native>(self, planner, plan)).await,
            StoreKind::LiteLlm => Box::pin(apply::apply::<LiteLlm>(self, planner, plan)).await,
        }
    }

    /// Whether this database user could read the keys of a LiteLLM proxy, for which there is no need.
    pub async fn may_read_keys(&self) -> Result<bool, StoreError> {
        let sql = r#"select coalesce(has_table_privilege(to_regclass('public."LiteLLM_VerificationToken"'), 'select'), false)"#;
        Ok(sqlx::query_scalar(sql).fetch_one(&mut self.link().await?).await?)
    }

    /// Whether a LiteLLM database has an organization of this id.
    pub async fn has_organization(&self, organization_id: &str) -> Result<bool, StoreError> {
        let sql = r#"select exists (select from public."LiteLLM_OrganizationTable" where organization_id = $1)"#;
        Ok(sqlx::query_scalar(sql).bind(organization_id).fetch_one(&mut self.link().await?).await?)
    }

    /// Waits for connections to be given back, and closes them.
    pub async fn close(&self) {
        tokio::join!(self.pool.close(), self.readiness.close());
    }
}

/// How many may write at a time.
fn turns(connections: u32) -> u32 {
    let kept = connections.div_ceil(CONNECTIONS_PER_READER);
    connections.saturating_sub(kept).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_connections_are_kept_for_those_who_only_read() {
        for (connections, writers) in [(1, 1), (2, 1), (4, 3), (5, 3), (10, 7), (100, 75)] {
            assert_eq!(turns(connections), writers, "of {connections} connections");
        }
    }
}
