//! Reconciliation runs and held plans, as operators see them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::list::{ListSource, Page, PageRequest, Sort};
use crate::db::{Db, DbError};

/// Record of a reconciliation run, without its plan.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct RunRow {
    #[sqlx(rename = "id")]
    pub run_id: String,
    /// `interval`, `request` or `command`.
    pub trigger: String,
    /// When the run began to read Entra.
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// `running`, `done`, `held`, `incomplete`, `failed` or `interrupted`.
    pub status: String,
    /// Managed team memberships whose groups are complete.
    pub compared: i32,
    /// Missing memberships that the run added.
    pub added: i32,
    pub removed: i32,
    /// Accounts that the run disabled or restored.
    pub accounts: i32,
    /// Memberships that changed since the plan and were left alone.
    pub skipped: i32,
    /// Groups that could not be compared.
    pub incomplete: i32,
    /// Changes that the circuit breaker held.
    pub held: i32,
    /// Hash of the held plan.
    pub held_plan: Option<String>,
    /// Why the run failed.
    pub error: Option<String>,
}

/// A reconciliation run with its plan.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct RunWithPlan {
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub run: RunRow,
    /// The plan as the run stored it, perhaps of another version; `None` if the run made none.
    pub plan: Option<Value>,
    /// Lengths of the whole lists of the plan, by name.
    #[serde(skip)]
    pub lengths: Option<Json<BTreeMap<String, usize>>>,
}

/// A plan that the circuit breaker held, with the names of the moment.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct HeldPlanRow {
    pub plan_hash: String,
    /// The run that held it first.
    pub run_id: Uuid,
    pub held_at: DateTime<Utc>,
    /// `held`, `approved`, `rejected`, `applied` or `lapsed`.
    pub status: String,
    /// Object ID of an operator, or `command`.
    pub decided_by: Option<String>,
    /// Name of that operator.
    pub decided_by_name: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    /// Number of held changes.
    pub change_count: i32,
    /// When the newest run that held it began to read Entra.
    pub read_at: Option<DateTime<Utc>>,
    /// The held changes, as in the plan of that run.
    pub changes: Option<Value>,
    /// The exceeded limits.
    pub tripped: Option<Value>,
    /// `sync.removal_limits` at the time.
    pub limits: Option<Value>,
}

const RUNS: ListSource = ListSource {
    columns: "r.trigger, r.started_at, r.finished_at, r.status, r.compared, r.added, r.removed, r.accounts, r.skipped, r.incomplete, r.held,
              r.held_plan, r.error",
    from: "entraway.reconciliation_runs r",
    id: "r.run_id",
    name: "r.status",
    created: "r.started_at",
    words: "entraway.words(r.status)",
    records: true,
};

/// Runs with the first entries of each list of their plans. `$1` is the maximum number of entries; null is no limit.
macro_rules! runs_with_plans {
    () => {
        "select r.run_id::text as id, r.trigger, r.started_at, r.finished_at, r.status, r.compared, r.added, r.removed, r.accounts, r.skipped,
                r.incomplete, r.held, r.held_plan, r.error,
                case when $1::bigint is null then r.plan else (
                    select jsonb_object_agg(key, case jsonb_typeof(value)
                        when 'array' then jsonb_path_query_array(value, '$[0 to $n]', jsonb_build_object('n', $1 - 1))
                        else value end)
                    from jsonb_each(r.plan)) end as plan,
                (select jsonb_object_agg(key, jsonb_array_length(value)) from jsonb_each(r.plan)
                 where jsonb_typeof(value) = 'array') as lengths
         from entraway.reconciliation_runs r where "
    };
}

/// Held plans with the first of their held changes. `$1` is the maximum number of changes; null is no limit.
macro_rules! held_plans {
    () => {
        "select p.plan_hash, p.run_id, p.held_at, p.status, p.decided_by, p.decided_at, p.changes as change_count,
                (select coalesce(nullif(a.user_alias, ''), a.user_id) from identities a
                 where a.object_id = p.decided_by order by a.is_owner desc limit 1) as decided_by_name,
                r.started_at as read_at, r.plan -> 'tripped' as tripped, r.plan -> 'limits' as limits,
                case when $1::bigint is null then r.changes
                     else jsonb_path_query_array(r.changes, '$[0 to $n]', jsonb_build_object('n', $1 - 1)) end as changes
         from entraway.held_plans p left join lateral (
             select started_at, plan, jsonb_path_query_array(plan, '$.changes[*] ? (@.held == true)') as changes
             from entraway.reconciliation_runs
             where (held_plan = p.plan_hash or run_id = p.run_id)
                   and jsonb_path_exists(plan, '$.changes[*] ? (@.held == true)')
             order by started_at desc, run_id desc limit 1) r on true
         where "
    };
}

impl Db {
    /// A page of the runs, newest first.
    pub async fn reconciliation_runs(&self, request: &PageRequest) -> Result<Page<RunRow>, DbError> {
        self.list(&RUNS, &PageRequest { sort: Sort::Newest, search: None, ..request.clone() }, |_| {}).await
    }

    /// A run with its plan. `limit` is the maximum number of entries of each list of the plan.
    pub async fn reconciliation_run(&self, run_id: Uuid, limit: Option<u32>) -> Result<Option<RunWithPlan>, DbError> {
        let query =
            sqlx::query_as(concat!(runs_with_plans!(), "r.run_id = $2")).bind(limit.map(i64::from)).bind(run_id);
        Ok(query.fetch_optional(&mut *self.connection().await?).await?)
    }

    /// The newest run that has a plan. `limit` as for [`Self::reconciliation_run`].
    pub async fn latest_reconciliation_plan(&self, limit: Option<u32>) -> Result<Option<RunWithPlan>, DbError> {
        let sql = concat!(runs_with_plans!(), "r.plan is not null order by r.started_at desc, r.run_id desc limit 1");
        let query = sqlx::query_as(sql).bind(limit.map(i64::from));
        Ok(query.fetch_optional(&mut *self.connection().await?).await?)
    }

    /// When a run was last requested, if none has begun since then.
    pub async fn requested_reconciliation(&self) -> Result<Option<DateTime<Utc>>, DbError> {
        let sql = "select requested_at from entraway.reconciliation_state
                   where requested_at > coalesce((select max(started_at) from entraway.reconciliation_runs), '-infinity')";
        Ok(sqlx::query_scalar(sql).fetch_optional(&mut *self.connection().await?).await?)
    }

    /// The plan that waits for a decision, or whose decision still counts. `limit` is the maximum number of changes.
    pub async fn current_held_plan(&self, limit: Option<u32>) -> Result<Option<HeldPlanRow>, DbError> {
        let sql =
            concat!(held_plans!(), "p.status in ('held', 'approved', 'rejected') order by p.held_at desc limit 1");
        let query = sqlx::query_as(self.over_relations(sql)).bind(limit.map(i64::from));
        Ok(query.fetch_optional(&mut *self.connection().await?).await?)
    }

    /// A held plan by its hash. `limit` as for [`Self::current_held_plan`].
    pub async fn held_plan(&self, plan_hash: &str, limit: Option<u32>) -> Result<Option<HeldPlanRow>, DbError> {
        let sql = self.over_relations(concat!(held_plans!(), "p.plan_hash = $2"));
        let query = sqlx::query_as(sql).bind(limit.map(i64::from)).bind(plan_hash);
        Ok(query.fetch_optional(&mut *self.connection().await?).await?)
    }

    /// Keys of the rows of users, by object ID.
    pub async fn user_ids(&self, object_ids: &[String]) -> Result<BTreeMap<String, String>, DbError> {
        let sql = "select object_id, user_id from identities where is_owner and object_id = any($1)";
        let query = sqlx::query_as(self.over_relations(sql)).bind(object_ids);
        let ids: Vec<(String, String)> = query.fetch_all(&mut *self.connection().await?).await?;
        Ok(ids.into_iter().collect())
    }
}
