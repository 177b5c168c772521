//! Migrations as Prisma keeps them: a folder for each, named by its time, with a `migration.sql` in it. They make the
//! tables of another program, for tests, benchmarks and the demo.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{ClusterError, PrivateCluster};

/// Where `script/setup --litellm` puts the migrations: in cargo's target folder, which is taken to be in the current
/// one, as the scripts and `cargo test` have it, unless `CARGO_TARGET_DIR` is set.
pub fn litellm_migrations() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").filter(|target| !target.is_empty());
    target.map_or_else(|| PathBuf::from("target"), PathBuf::from).join("litellm-schema/migrations")
}

impl PrivateCluster {
    /// Runs the `migration.sql` of each folder in `folder`, in the order of the names' bytes; gives how many.
    ///
    /// As `prisma migrate deploy` does, without its book-keeping: the database has to be empty. It stops at the first
    /// that Postgres refuses; those before it stay.
    pub async fn apply_migrations(&self, database: &str, folder: &Path) -> Result<usize, ClusterError> {
        let files = migrations(folder)?;
        let refused = |source| ClusterError::Connect { name: database.to_owned(), source };
        let mut connection = PgConnection::connect(&self.url(database)).await.map_err(refused)?;
        for file in &files {
            let sql = fs::read_to_string(file).map_err(unreadable(file))?;
            // Safe as SQL: running the file's text is the purpose. The whole of it in one message, so that Postgres
            // makes a transaction of several statements and none of one: `create index concurrently` wants that.
            let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
            ran.map_err(|source| ClusterError::Migration { file: file.clone(), source })?;
        }
        // All is written, and the server ends the connection's process when ours is gone, too.
        let _ = connection.close().await;
        Ok(files.len())
    }
}

/// The `migration.sql` of each folder in `folder`, whether it is there or not, in order.
fn migrations(folder: &Path) -> Result<Vec<PathBuf>, ClusterError> {
    let none = || ClusterError::NoMigrations { folder: folder.to_owned() };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
        entries => entries.map_err(unreadable(folder))?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable(folder))?.path();
        // Prisma's own `migration_lock.toml` lies among them.
        if path.is_dir() {
            folders.push(path);
        }
    }
    if folders.is_empty() {
        return Err(none());
    }
    // Here a path is bytes, and they are compared as such; no locale has a say.
    folders.sort();
    Ok(folders.into_iter().map(|folder| folder.join("migration.sql")).collect())
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    |source| ClusterError::ReadMigration { path, source }
}
