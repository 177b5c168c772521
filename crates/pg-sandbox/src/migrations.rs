//! Applies Prisma migrations: one folder each, named by its timestamp, with a `migration.sql`. They create LiteLLM's
//! tables for tests, benchmarks and the demo.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{ClusterError, PrivateCluster};

/// Folder in which `script/setup --litellm` stores the migrations, in cargo's target folder: `CARGO_TARGET_DIR`, or
/// `target` in the current folder.
pub fn litellm_migrations() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").filter(|target| !target.is_empty());
    target.map_or_else(|| PathBuf::from("target"), PathBuf::from).join("litellm-schema/migrations")
}

impl PrivateCluster {
    /// Runs the `migration.sql` of each folder in `folder`, in byte order of the names, and returns their number.
    ///
    /// Like `prisma migrate deploy` without its bookkeeping, so the database must be empty. Stops at the first
    /// migration that fails; earlier ones stay applied.
    pub async fn apply_migrations(&self, database: &str, folder: &Path) -> Result<usize, ClusterError> {
        let files = migrations(folder)?;
        let refused = |source| ClusterError::Connect { name: database.to_owned(), source };
        let mut connection = PgConnection::connect(&self.url(database)).await.map_err(refused)?;
        for file in &files {
            let sql = fs::read_to_string(file).map_err(unreadable(file))?;
            // Safe as SQL: running the file is the purpose. All in one message: Postgres then runs several statements
            // in one transaction and a single one outside, as `create index concurrently` requires.
            let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
            ran.map_err(|source| ClusterError::Migration { file: file.clone(), source })?;
        }
        // Everything is committed, and the server also closes the connection when this process exits.
        let _ = connection.close().await;
        Ok(files.len())
    }
}

/// The `migration.sql` paths of all folders in `folder`, in order. The files need not exist.
fn migrations(folder: &Path) -> Result<Vec<PathBuf>, ClusterError> {
    let none = || ClusterError::NoMigrations { folder: folder.to_owned() };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
        entries => entries.map_err(unreadable(folder))?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable(folder))?.path();
        // Skips Prisma's `migration_lock.toml`.
        if path.is_dir() {
            folders.push(path);
        }
    }
    if folders.is_empty() {
        return Err(none());
    }
    // Paths are compared as bytes, independent of the locale.
    folders.sort();
    Ok(folders.into_iter().map(|folder| folder.join("migration.sql")).collect())
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    |source| ClusterError::ReadMigration { path, source }
}
