//! Access to Postgres. This module is the only one with SQL.
//!
//! Statements are set-based; none runs in a loop. The module decides nothing: a [`Plan`] says what to write.

mod apply;
mod audit;
mod connect;
mod connection;
mod current_user;
mod error;
mod expiry;
mod failed_sign_in;
mod litellm;
mod migrations;
mod native;
mod pooled_connection;
mod read;
mod reconciliation;
mod relations;
mod removal;
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
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::domain::StoreKind;
use crate::observability::metrics::Metrics;
use crate::plan::{Applied, Current, Plan, Planner};
use crate::policy::KeysOnRemoval;

use apply::Tables as _;
use connect::Target;
use connection::{ConnectionMode, DbConnection, PoolGeneration};
use litellm::LiteLlm;
use native::Native;
use pooled_connection::{Connection, Usage};

pub use audit::Revocation;
pub use connect::ConnectError;
pub use current_user::SessionUser;
pub use error::DbError;
pub use expiry::AssertionKey;
pub use failed_sign_in::FailedSignIn;
pub use litellm::Leftovers;
pub use migrations::Versions;
pub use read::{
    ActionFilter, AuditFilter, AuditRow, Cursor, DisabledAccountRow, FailedGroup, FailedSignInFilter, FailedSignInRow,
    HeldPlanRow, Hour, Key, Member, Organization, PAGE_SIZE, Page, PagePosition, PageRequest, RoleChange, RowLimits,
    RunRow, RunWithPlan, Sort, SyncFilter, SyncRow, Team, UserKeys, UserOrganization, UserRow, UserTeam,
};
pub use reconciliation::{
    AccountRun, AppliedAccounts, ApplyingRun, Decided, Decision, FinishedRun, HeldPlan, LEASE_DURATION, Lease,
    RemovedMembers, Renamed, RunStatus, RunTrigger, Schedule,
};
pub use roles::{Adoption, AdoptionState};
pub use session::{EndedSessions, NewSession, SessionFilter, SessionOwner, SessionRow, TokenHash};
pub use session_details::{LastSync, Me, MeOrganization, MeSession, MeTeam, MeUser};
pub use session_listener::{ListenError, SessionChange, SessionListener};
pub use session_lookup::{ForwardedSession, ForwardedUser, SessionReader, touch_interval};

/// Maximum time that a sign-in waits for a connection before it fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time that a readiness check waits for its connection. It leaves time for the probe that finds the reason
/// before health probes time out.
const READINESS_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of waiting requests per connection. Statements take milliseconds; a request beyond this limit is
/// better retried than queued in memory.
const WAITING_PER_CONNECTION: u32 = 20;

/// One of this many connections is reserved for reading.
const CONNECTIONS_PER_READER: u32 = 4;

/// The database: the tables of organizations, teams and users, and the service's own tables.
#[derive(Clone, Debug)]
pub struct Db {
    kind: StoreKind,
    pool: PgPool,
    /// One connection beside the pool for readiness checks, so that they neither wait for sign-ins nor delay them.
    readiness: PgPool,
    generation: Arc<PoolGeneration>,
    state: Arc<ConnectionState>,
    /// One permit for each request that holds or waits for a connection.
    queue: Arc<Semaphore>,
    /// One permit for each writer. A writer can wait for a lock and hold its connection meanwhile; readers must not
    /// wait behind it.
    write_permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// Current use of the connection pool.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub in_use: usize,
    pub idle: usize,
    pub max_connections: u32,
}

/// How the database is reached.
#[derive(Debug)]
struct ConnectionState {
    /// Detected with the first connection.
    mode: OnceLock<ConnectionMode>,
    /// The pooler shares server connections between client connections, so that LISTEN does not work.
    multiplexed: AtomicBool,
    target: Target,
}

impl Db {
    /// Creates the pool. Connections are opened on demand.
    pub fn new(kind: StoreKind, url: &SecretString, max_connections: u32) -> Result<Self, DbError> {
        let options: PgConnectOptions = url.expose_secret().parse().map_err(|_| DbError::Address)?;
        // Poolers do not know `extra_float_digits`, and Postgres 12 and later print exact numbers without it.
        let base_options = options.application_name("entraway").extra_float_digits(None);
        let options = connection::with_settings(base_options.clone());
        let generation = Arc::new(PoolGeneration::default());
        let pool = |max_connections, acquire_timeout, options| {
            let generation = generation.clone();
            PgPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(acquire_timeout)
                .before_acquire(move |_, connection| {
                    Box::pin(std::future::ready(Ok(generation.is_current(connection.age))))
                })
                .connect_lazy_with(options)
        };
        let readiness = pool(1, READINESS_TIMEOUT, options.clone().application_name("entraway readiness"));
        let pool = pool(max_connections, ACQUIRE_TIMEOUT, options);
        let queue_length = max_connections.saturating_mul(1 + WAITING_PER_CONNECTION);
        let semaphore = |count| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)));
        let queue = semaphore(queue_length);
        let write_permits = semaphore(max_writers(max_connections));
        let state = Arc::new(ConnectionState {
            mode: OnceLock::new(),
            multiplexed: AtomicBool::new(false),
            target: Target::new(base_options),
        });
        Ok(Self { kind, pool, readiness, generation, state, queue, write_permits, metrics: Arc::default() })
    }

    /// Which program's tables this store uses.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// Sets where the store records metrics.
    #[must_use]
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Where the store records metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Current use of the connection pool.
    #[must_use]
    pub fn pool(&self) -> Pool {
        let (idle, all) = (self.pool.num_idle(), self.pool.size() as usize);
        Pool { in_use: all.saturating_sub(idle), idle, max_connections: self.pool.options().get_max_connections() }
    }

    /// Checks out a connection for reading. Fails with [`DbError::Busy`] if the queue is full.
    async fn connection(&self) -> Result<Connection<'_>, DbError> {
        self.checkout(async { None }, self.acquire()).await
    }

    /// Checks out a connection for writing.
    async fn connection_to_write(&self) -> Result<Connection<'_>, DbError> {
        self.checkout(self.write_permit(), self.acquire()).await
    }

    /// Checks out a connection for writing if a permit is free; for writes that can wait for another time.
    async fn connection_to_write_now(&self) -> Result<Option<Connection<'_>>, DbError> {
        match self.write_permits.try_acquire() {
            Ok(permit) => self.checkout(async { Some(permit) }, self.acquire()).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Begins a transaction for writing.
    async fn begin(&self) -> Result<Connection<'_>, DbError> {
        let transaction = async { Ok(self.acquire().await?.begin().await?) };
        self.checkout(self.write_permit(), transaction).await
    }

    async fn write_permit(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.write_permits.acquire().await.ok()
    }

    async fn checkout<'a>(
        &'a self,
        permit: impl Future<Output = Option<SemaphorePermit<'a>>>,
        connection: impl Future<Output = Result<DbConnection, DbError>>,
    ) -> Result<Connection<'a>, DbError> {
        let queue_permit = self.queue.try_acquire().map_err(|_| DbError::Busy)?;
        let begin = Instant::now();
        let waiting = self.metrics.postgres_waiting.guard(());
        let result = timeout(ACQUIRE_TIMEOUT, async {
            let permit = permit.await;
            (permit, connection.await)
        })
        .await;
        drop(waiting);
        let acquired_at = Instant::now();
        self.metrics.postgres_wait_seconds.observe((), acquired_at - begin);
        let Ok((permit, connection)) = result else { return Err(self.no_connection(sqlx::Error::PoolTimedOut).await) };
        let usage = Usage {
            started_at: Some(acquired_at),
            metrics: &self.metrics,
            _queue_permit: queue_permit,
            _write_permit: permit,
        };
        Ok(Connection { inner: connection?, usage })
    }

    /// Acquires a connection without queue limit.
    async fn acquire(&self) -> Result<DbConnection, DbError> {
        let mode = self.mode().await?;
        match DbConnection::acquire(&self.pool, mode, self.generation.clone()).await {
            Ok(connection) => Ok(connection),
            Err(error) => Err(self.no_connection(error).await),
        }
    }

    /// Finds out why the pool gave no connection.
    async fn no_connection(&self, error: sqlx::Error) -> DbError {
        match error {
            sqlx::Error::PoolTimedOut => match self.state.target.probe(&self.pool.connect_options()).await {
                Ok(()) => {
                    DbError::Connect(ConnectError::PoolExhausted { max_connections: self.pool().max_connections })
                }
                Err(error) => DbError::Connect(error),
            },
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => error.into(),
            error => DbError::Connect(self.state.target.explain(&error)),
        }
    }

    /// Host and `sslmode`, if others on the network could read or change the connection.
    #[must_use]
    pub fn unverified_host(&self) -> Option<(String, &'static str)> {
        connect::unverified(&self.state.target.options)
    }

    /// The connection mode, detected with the first connection.
    async fn mode(&self) -> Result<ConnectionMode, DbError> {
        if let Some(mode) = self.state.mode.get() {
            return Ok(*mode);
        }
        // Connects beside the pool, which would hide the reason of a failure.
        let target = &self.state.target;
        let attempt = target.connect(&self.pool.connect_options(), ACQUIRE_TIMEOUT).await;
        let mode = match attempt.map_err(DbError::Connect)? {
            Ok(mut connection) => {
                let mode = connection::detect_mode(&mut connection).await?;
                connect::close(connection).await;
                mode
            }
            Err(error) if connection::rejects_settings(&error) => ConnectionMode::Pooled,
            Err(error) => return Err(DbError::Connect(target.explain(&error))),
        };
        if mode == ConnectionMode::Pooled {
            self.pool.set_connect_options(target.options.clone());
            self.readiness.set_connect_options(target.options.clone().application_name("entraway readiness"));
            tracing::info!("database is behind a transaction pooler; each statement runs in its own transaction");
        }
        Ok(*self.state.mode.get_or_init(|| mode))
    }

    /// Checks the tables of LiteLLM, then runs the migrations.
    pub async fn prepare(&self) -> Result<(), DbError> {
        self.check_tables().await?;
        self.migrate().await
    }

    /// Runs the migrations. Several replicas may do so at the same time.
    pub async fn migrate(&self) -> Result<(), DbError> {
        // Building an index takes long on a large table, so there is no statement timeout. Waiting for a lock stays
        // limited: the caller retries.
        let mode = self.mode().await?;
        let options = (*self.pool.connect_options()).clone();
        let options = match mode {
            ConnectionMode::Direct => options.options([("statement_timeout", "0")]),
            ConnectionMode::Pooled => options,
        };
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options);
        let done = match pool.acquire().await {
            Ok(mut connection) => migrations::run(&mut connection, mode).await,
            Err(error) => Err(self.no_connection(error).await),
        };
        pool.close().await;
        done
    }

    /// Version of the database server.
    pub async fn version(&self) -> Result<String, DbError> {
        Ok(sqlx::query_scalar("select current_setting('server_version')").fetch_one(&mut self.acquire().await?).await?)
    }

    /// Whether the database answers, is writable and has the required tables.
    pub async fn ready(&self) -> Result<(), DbError> {
        let sql = "select current_setting('transaction_read_only')::boolean
                   where not exists (select from entraway.sessions limit 0)";
        let mode = self.mode().await?;
        let mut connection = match DbConnection::acquire(&self.readiness, mode, self.generation.clone()).await {
            Ok(connection) => connection,
            Err(error) => {
                return Err(match self.no_connection(error).await {
                    // `PoolExhausted` would describe the pool that sign-ins use, not this connection.
                    DbError::Connect(ConnectError::PoolExhausted { .. }) => DbError::Timeout,
                    error => error,
                });
            }
        };
        if sqlx::query_scalar(sql).fetch_one(&mut connection).await? {
            self.generation.invalidate();
            return Err(DbError::ReadOnly);
        }
        self.check_tables_with(&mut connection).await
    }

    /// Whether LiteLLM's tables have all columns that this service reads and writes, with the privileges for it. The
    /// native store needs no check.
    pub async fn check_tables(&self) -> Result<(), DbError> {
        match self.kind {
            StoreKind::Native => Ok(()),
            StoreKind::LiteLlm => self.check_tables_with(&mut self.acquire().await?).await,
        }
    }

    async fn check_tables_with(&self, connection: &mut DbConnection) -> Result<(), DbError> {
        match self.kind {
            StoreKind::Native => Ok(()),
            StoreKind::LiteLlm => litellm::check(connection).await,
        }
    }

    /// Reads the current state for this user and the groups of the directory, in one statement.
    pub async fn read(&self, planner: &Planner<'_>) -> Result<Current, DbError> {
        let mut connection = self.connection().await?;
        match self.kind {
            StoreKind::Native => Native::read(&mut connection, planner).await,
            StoreKind::LiteLlm => LiteLlm::read(&mut connection, planner).await,
        }
    }

    /// Applies a plan in one transaction: takes the locks, reads and plans again under them, and writes.
    ///
    /// `plan` is the plan that showed that a write is necessary.
    pub async fn apply(&self, planner: &Planner<'_>, plan: &Plan) -> Result<Applied, DbError> {
        self.apply_with(planner, plan, None).await
    }

    async fn apply_with(&self, planner: &Planner<'_>, plan: &Plan, lease: Option<Lease>) -> Result<Applied, DbError> {
        match self.kind {
            // Boxed, because the future is large.
            StoreKind::Native => Box::pin(apply::apply::<Native>(self, planner, plan, lease)).await,
            StoreKind::LiteLlm => Box::pin(apply::apply::<LiteLlm>(self, planner, plan, lease)).await,
        }
    }

    /// Privileges in a LiteLLM database that are missing to remove memberships (`docs/litellm-grants-removal.sql`).
    pub async fn missing_removal_privileges(&self, keys: KeysOnRemoval) -> Result<Vec<String>, DbError> {
        match self.kind {
            StoreKind::Native => Ok(Vec::new()),
            StoreKind::LiteLlm => litellm::missing_removal_privileges(&mut *self.connection().await?, keys).await,
        }
    }

    /// Whether this database user may read the keys of a LiteLLM proxy, which the service does not need.
    pub async fn may_read_keys(&self) -> Result<bool, DbError> {
        let sql = r#"select coalesce(has_table_privilege(to_regclass('public."LiteLLM_VerificationToken"'), 'select'), false)"#;
        Ok(sqlx::query_scalar(sql).fetch_one(&mut self.acquire().await?).await?)
    }

    /// Whether a LiteLLM database has an organization with this ID.
    pub async fn has_organization(&self, organization_id: &str) -> Result<bool, DbError> {
        let sql = r#"select exists (select from public."LiteLLM_OrganizationTable" where organization_id = $1)"#;
        Ok(sqlx::query_scalar(sql).bind(organization_id).fetch_one(&mut self.acquire().await?).await?)
    }

    /// Waits until all connections are returned, and closes them.
    pub async fn close(&self) {
        tokio::join!(self.pool.close(), self.readiness.close());
    }
}

/// Maximum number of concurrent writers.
fn max_writers(connections: u32) -> u32 {
    let kept = connections.div_ceil(CONNECTIONS_PER_READER);
    connections.saturating_sub(kept).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_limit_reserves_connections_for_readers() {
        for (connections, writers) in [(1, 1), (2, 1), (4, 3), (5, 3), (10, 7), (100, 75)] {
            assert_eq!(max_writers(connections), writers, "of {connections} connections");
        }
    }
}
