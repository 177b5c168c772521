//! What a sign-in leaves behind, to compare before and after; and a database that goes away and comes back.

use std::collections::BTreeMap;

use entra_simulator::{GroupId, ObjectId};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use super::world::cluster;
use super::{Rows, World};

/// Every row of the store with its version, what is kept of people's groups, how many sessions and sync records there
/// are, and which of the records say that somebody was refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowCounts {
    pub(crate) rows: Rows,
    versions: Vec<String>,
    /// What Entra last told of a person's groups, by object id; with the time since when.
    pub(crate) readings: BTreeMap<String, Value>,
    pub(crate) sessions: i64,
    pub(crate) runs: i64,
    /// Why people were refused whom Entra had vouched for, in the order of time.
    refusals: Vec<String>,
}

impl RowCounts {
    /// The same after somebody was refused: with a record of that, for this reason, and nothing else.
    #[must_use]
    pub(crate) fn and_refused(mut self, why: &str) -> Self {
        self.runs += 1;
        self.refusals.push(why.to_owned());
        self
    }

    /// Takes out what is kept of a person's groups, which may have been read anew; the groups are given back.
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

    /// What is kept of people's groups, by object id.
    pub(crate) async fn readings(&self) -> BTreeMap<String, Value> {
        let sql = "select user_id, to_jsonb(g) - 'user_id' from entraway.person_groups g";
        let rows: Vec<(String, Value)> = sqlx::query_as(sql).fetch_all(&self.pool).await.unwrap();
        rows.into_iter().collect()
    }

    /// The outcomes of the sync records of people who were refused, in the order of time.
    pub(crate) async fn refusals(&self) -> Vec<String> {
        let sql = "select outcome from entraway.sync_runs where outcome <> 'signed_in' order by started_at, run_id";
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }

    /// A person in one group, which is assigned to the app.
    pub(crate) fn alice(&self) -> (ObjectId, GroupId) {
        self.simulator.edit(|directory| {
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
