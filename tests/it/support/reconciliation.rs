//! Reconciliation runs and held plans in a test's database.

use serde_json::{Value, json};

use super::World;

impl World {
    /// Inserts the record of a run, which needs `run_id` and `started_at` only.
    pub(crate) async fn insert_run(&self, run: Value) {
        let defaults = json!({ "trigger": "interval", "status": "done", "compared": 0, "added": 0, "removed": 0, "skipped": 0, "accounts": 0,
                               "incomplete": 0, "held": 0 });
        let sql = "insert into entraway.reconciliation_runs
                   select (jsonb_populate_record(null::entraway.reconciliation_runs, $1 || $2)).*";
        sqlx::query(sql).bind(defaults).bind(run).execute(&self.pool).await.unwrap();
    }

    /// Inserts a held plan, which needs `plan_hash`, `run_id`, `held_at` and `changes` only.
    pub(crate) async fn insert_held_plan(&self, plan: Value) {
        let sql = "insert into entraway.held_plans
                   select (jsonb_populate_record(null::entraway.held_plans, $1 || $2)).*";
        sqlx::query(sql).bind(json!({ "status": "held" })).bind(plan).execute(&self.pool).await.unwrap();
    }

    /// Status and decider of a held plan, and whether a run is requested.
    pub(crate) async fn plan_decision(&self, plan_hash: &str) -> (String, Option<String>, bool) {
        let sql = "select p.status, p.decided_by, s.requested_at > '-infinity'
                   from entraway.held_plans p, entraway.reconciliation_state s where p.plan_hash = $1";
        sqlx::query_as(sql).bind(plan_hash).fetch_one(&self.pool).await.unwrap()
    }
}
