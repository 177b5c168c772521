//! Snapshots of the store to compare before and after; and a database that goes away and comes back.

use std::collections::BTreeMap;

use entra_simulator::{GroupId, ObjectId};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use super::world::cluster;
use super::{Rows, World};

/// Every row of the store with its version, the stored groups of users, the number of sessions and sync records, and
/// the outcomes of denials.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowCounts {
    pub(crate) rows: Rows,
    versions: Vec<String>,
    /// The last known groups by object ID, with their time.
    pub(crate) readings: BTreeMap<String, Value>,
    pub(crate) sessions: i64,
    pub(crate) runs: i64,
    /// The outcomes of denied sign-ins of authenticated users, in order of time.
    refusals: Vec<String>,
}

impl RowCounts {
    /// The same after one denial with this reason: one more record, and nothing else.
    #[must_use]
    pub(crate) fn and_refused(mut self, why: &str) -> Self {
        self.runs += 1;
        self.refusals.push(why.to_owned());
        self
    }

    /// Removes the stored groups of a user, which may have been read again, and returns the groups.
    pub(crate) fn take_groups(&mut self, person: ObjectId) -> Option<Value> {
        self.readings.remove(&person.to_string()).map(|mut reading| reading["groups"].take())
    }
}

impl World {
    pub(crate) async fn traces(&self) -> RowCounts {
        let (sessions, runs) = self.sessions_and_runs().await;
        let (readings, refusals) = (self.readings().await, self.refusals().await);
        RowCounts { rows: self.rows().await, versions: self.versions().await, readings, sessions, runs, refusals }
    }

    /// The stored groups of users by object ID.
    pub(crate) async fn readings(&self) -> BTreeMap<String, Value> {
        let sql = "select user_id, to_jsonb(g) - 'user_id' from entraway.person_groups g";
        let rows: Vec<(String, Value)> = sqlx::query_as(sql).fetch_all(&self.pool).await.unwrap();
        rows.into_iter().collect()
    }

    /// The outcomes of sync records of denied sign-ins, in order of time.
    pub(crate) async fn refusals(&self) -> Vec<String> {
        let sql = "select outcome from entraway.sync_runs where outcome <> 'signed_in' order by started_at, run_id";
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }

    /// A user in one assigned group.
    pub(crate) fn alice(&self) -> (ObjectId, GroupId) {
        self.simulator.edit(|directory| {
            let alice = directory.person("Alice Arden", |_| {});
            let group = directory.group("Production LLM Evals");
            directory.put(alice, group);
            directory.assign(group);
            (alice, group)
        })
    }

    /// Closes all connections to this test's database and rejects new ones.
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

    /// Runs SQL on another database of the cluster.
    async fn administer(&self, sql: &str) {
        let pool = PgPool::connect(&cluster().await.url("postgres")).await.unwrap();
        for statement in sql.split(';') {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
        }
        pool.close().await;
    }
}
