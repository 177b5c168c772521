//! Database migrations: which are applied, which this version needs, and running them.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection};

use super::connection::{BEGIN_MIGRATIONS, ConnectionMode};
use super::{Db, DbError};

/// The migrations of `migrations/`. Everything of ours is in one schema, including sqlx's table, because the database may
/// belong to another program.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.dangerous_set_table_name("entraway._sqlx_migrations");
    migrator
}

/// Migration versions, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Applied in the database; empty if the tables do not exist.
    pub applied: Vec<i64>,
    /// Known to this program.
    pub known: Vec<i64>,
}

impl Db {
    /// Reads which migrations are applied, and which this program knows.
    pub async fn versions(&self) -> Result<Versions, DbError> {
        let known = migrator().iter().map(|migration| migration.version).collect();
        let table_exists = sqlx::query_scalar("select to_regclass('entraway._sqlx_migrations') is not null");
        let applied = if table_exists.fetch_one(&mut self.acquire().await?).await? {
            let versions = "select version from entraway._sqlx_migrations where success order by version";
            sqlx::query_scalar(versions).fetch_all(&mut self.acquire().await?).await?
        } else {
            Vec::new()
        };
        Ok(Versions { applied, known })
    }
}

/// Runs the migrations on a connection without a statement timeout.
pub(super) async fn run(connection: &mut PgConnection, mode: ConnectionMode) -> Result<(), DbError> {
    match mode {
        ConnectionMode::Direct => {
            create_schema(connection).await?;
            migrate(connection, true).await
        }
        ConnectionMode::Pooled => run_in_one_transaction(connection).await,
    }
}

/// Behind a transaction pooler, session locks and named statements (sqlx's migrator uses both) leak to other clients.
/// One transaction keeps them on one server connection.
async fn run_in_one_transaction(connection: &mut PgConnection) -> Result<(), DbError> {
    let mut transaction = connection.begin_with(BEGIN_MIGRATIONS).await?;
    sqlx::raw_sql("select pg_advisory_xact_lock(hashtextextended('entraway migrations', 0)); deallocate all")
        .execute(&mut *transaction)
        .await?;
    create_schema(&mut transaction).await?;
    migrate(&mut transaction, false).await?;
    sqlx::raw_sql("deallocate all").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Unlike sqlx's `create schema if not exists`, needs no right on the database if the schema exists.
async fn create_schema(connection: &mut PgConnection) -> Result<(), DbError> {
    // Two replicas may create it at the same time; the second ignores the error.
    sqlx::raw_sql(
        "do $$ begin
            if to_regnamespace('entraway') is null then
                create schema entraway;
            end if;
        exception when duplicate_schema or unique_violation then
            null;
        end $$",
    )
    .execute(connection)
    .await
    .map_err(|error| match DbError::from(error) {
        DbError::Refused(error) => DbError::Schema(error),
        other => other,
    })?;
    Ok(())
}

async fn migrate(connection: &mut PgConnection, locking: bool) -> Result<(), DbError> {
    let mut migrator = migrator();
    // During a rollout or after a rollback, the database may have newer migrations; the ones needed here are applied.
    migrator.set_ignore_missing(true).set_locking(locking).run_direct(None, connection, false).await.map_err(|error| {
        match error {
            MigrateError::Execute(error) => match DbError::from(error) {
                DbError::Refused(error) => DbError::Migration(error.into()),
                other => other,
            },
            // Such as a lock that another session holds too long.
            MigrateError::ExecuteMigration(error, version) => match DbError::from(error) {
                DbError::Refused(error) => DbError::Migration(MigrateError::ExecuteMigration(error, version)),
                other => other,
            },
            other => DbError::Migration(other),
        }
    })
}
