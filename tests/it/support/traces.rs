//! What a sign-in leaves behind, to compare before and after; and a database that goes away and comes back.

use entraway::domain::{GroupId, ObjectId};
use sqlx::{AssertSqlSafe, PgPool};

use super::world::cluster;
use super::{Rows, World};

/// Every row of the store with its version, and how many sessions and sync records there are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Traces {
    pub(crate) rows: Rows,
    versions: Vec<String>,
    pub(crate) sessions: i64,
    pub(crate) runs: i64,
}

impl World {
    pub(crate) async fn traces(&self) -> Traces {
        let (sessions, runs) = self.sessions_and_runs().await;
        Traces { rows: self.rows().await, versions: self.versions().await, sessions, runs }
    }

    /// A person in one group, which is assigned to the app.
    pub(crate) fn alice(&self) -> (ObjectId, GroupId) {
        self.fake.edit(|directory| {
            let alice = directory.person("Alice Arden", |_| {});
            let group = directory.group("Production LLM Evals");
            directory.put(alice, group);
            directory.assign(group);
            (alice, group)
        })
    }

    /// From now on nobody can connect to this test's database, and who was connected is not any more.
    pub(crate) async fn database_goes_away(&self) {
        self.administer(&format!(
            "alter database {name} with allow_connections false;
             select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'",
            name = self.database_name
        ))
        .await;
    }

    pub(crate) async fn database_comes_back(&self) {
        self.administer(&format!("alter database {} with allow_connections true", self.database_name)).await;
    }

    /// Runs SQL beside this test's database.
    async fn administer(&self, sql: &str) {
        let pool = PgPool::connect(&cluster().await.url("postgres")).await.unwrap();
        for statement in sql.split(';') {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
        }
        pool.close().await;
    }
}
