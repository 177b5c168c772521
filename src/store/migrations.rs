//! Which of the migrations the database has, and which this version needs.

use sqlx::migrate::Migrator;

use super::{Store, StoreError};

/// The migrations in the folder of that name.
pub(super) fn ours() -> Migrator {
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
        let applied = if there.fetch_one(&self.pool).await? {
            let versions = "select version from entraway._sqlx_migrations where success order by version";
            sqlx::query_scalar(versions).fetch_all(&self.pool).await?
        } else {
            Vec::new()
        };
        Ok(Versions { applied, known })
    }
}
