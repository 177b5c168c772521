//! Which of the migrations the database has, and which this version needs; and doing them.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection};

use super::connection::{BEGIN_MIGRATIONS, ConnectionMode};
use super::{Store, StoreError};

/// The migrations in the folder of that name.
fn ours() -> Migrator {
    sqlx::migrate!()
}

/// The versions of the tables, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// What the database has had done to it; nothing where the tables are not there.
    pub applied: Vec<i64>,
    /// What this program knows of.
    pub known: Vec<i64>,
}

impl Store {
    /// Which migrations there are, here and in the database.
    pub async fn versions(&self) -> Result<Versions, StoreError> {
        let known = ours().iter().map(|migration| migration.version).collect();
        let there = sqlx::query_scalar("select to_regclass('entraway._sqlx_migrations') is not null");
        let applied = if there.fetch_one(&mut self.link().await?).await? {
            let versions = "select version from entraway._sqlx_migrations where success order by version";
            sqlx::query_scalar(versions).fetch_all(&mut self.link().await?).await?
        } else {
            Vec::new()
        };
        Ok(Versions { applied, known })
    }
}

/// Brings the tables up to date, on a connection whose statements have no time limit.
pub(super) async fn run(connection: &mut PgConnection, way: ConnectionMode) -> Result<(), StoreError> {
    match way {
        ConnectionMode::Direct => {
            make_schema(connection).await?;
            migrate(connection, true).await
        }
        ConnectionMode::Pooler => run_in_one_transaction(connection).await,
    }
}

/// Through a pooler a lock that outlives its transaction is nobody's and everybody's, and so is a statement with a name,
/// as sqlx's migrator prepares them. Within one transaction both are in order.
async fn run_in_one_transaction(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with(BEGIN_MIGRATIONS).await?;
    sqlx::raw_sql("select pg_advisory_xact_lock(hashtextextended('entraway migrations', 0)); deallocate all")
        .execute(&mut *transaction)
        .await?;
    make_schema(&mut transaction).await?;
    migrate(&mut transaction, false).await?;
    sqlx::raw_sql("deallocate all").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

async fn make_schema(connection: &mut PgConnection) -> Result<(), StoreError> {
    // Two replicas may find it missing at the same moment; the second is content with the first's.
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
    .map_err(|error| match StoreError::from(error) {
        StoreError::Refused(error) => StoreError::Schema(error),
        other => other,
    })?;
    Ok(())
}

async fn migrate(connection: &mut PgConnection, locking: bool) -> Result<(), StoreError> {
    let mut migrator = ours();
    // During a rollout, and after a way back, the database may know more than we do: what we need is there.
    migrator.set_ignore_missing(true).set_locking(locking).run_direct(None, connection, false).await.map_err(|error| {
        match error {
            MigrateError::Execute(error) => match StoreError::from(error) {
                StoreError::Refused(error) => StoreError::Migration(error.into()),
                other => other,
            },
            // A lock that somebody holds for long, for one.
            MigrateError::ExecuteMigration(error, version) => match StoreError::from(error) {
                StoreError::Refused(error) => StoreError::Migration(MigrateError::ExecuteMigration(error, version)),
                other => other,
            },
            other => StoreError::Migration(other),
        }
    })
}
