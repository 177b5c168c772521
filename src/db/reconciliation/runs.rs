//! Records of reconciliation runs.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::Lease;
use super::lease::check;
use crate::db::{Db, DbError};
use crate::reconciliation::PlanHash;

/// What the next run's time depends on.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Schedule {
    /// When the last run began; `None` before the first one.
    pub last_started_at: Option<DateTime<Utc>>,
    /// When a run was last asked for; `None` if never.
    pub requested_at: Option<DateTime<Utc>>,
    /// Failed runs since the last one that did not fail.
    #[sqlx(try_from = "i64")]
    pub failures: u32,
    /// The last run did not end by itself, or still runs.
    pub interrupted: bool,
    /// Changes that the last complete or incomplete run held and that were not rejected, and groups that it could not compare.
    pub held: i32,
    pub incomplete: i32,
    /// When the last run ended that compared all groups.
    pub last_complete_at: Option<DateTime<Utc>>,
}

/// Why a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RunTrigger {
    /// `sync.reconcile.interval`.
    Interval,
    /// An operator or a command asked for it.
    Request,
    /// `entraway reconcile`.
    Command,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RunStatus {
    Done,
    /// The circuit breaker holds changes.
    Held,
    /// Groups could not be compared.
    Incomplete,
    Failed,
    /// The replica lost the lease or was stopped.
    Interrupted,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct FinishedRun {
    pub run_id: Uuid,
    pub finished_at: DateTime<Utc>,
    pub status: RunStatus,
    pub compared: usize,
    /// Memberships that were added.
    pub added: usize,
    pub removed: usize,
    /// Memberships that changed since the plan and were left alone.
    pub skipped: usize,
    /// Accounts that were disabled or restored.
    pub accounts: usize,
    /// Groups that could not be compared.
    pub incomplete: usize,
    pub held: usize,
    pub held_plan: Option<PlanHash>,
    /// Why the run failed.
    pub error: Option<String>,
}

impl Db {
    /// What the next run's time depends on.
    pub async fn reconciliation_schedule(&self) -> Result<Schedule, DbError> {
        let schedule = sqlx::query_as(
            "select last.started_at as last_started_at, nullif(state.requested_at, '-infinity') as requested_at,
                    coalesce(last.status in ('running', 'interrupted'), false) as interrupted,
                    (select count(*) from entraway.reconciliation_runs
                     where status = 'failed' and started_at > coalesce(
                         (select max(started_at) from entraway.reconciliation_runs
                          where status in ('done', 'held', 'incomplete')), '-infinity')) as failures,
                    case when ended.rejected then 0 else coalesce(ended.held, 0) end as held, coalesce(ended.incomplete, 0) as incomplete,
                    (select max(finished_at) from entraway.reconciliation_runs
                     where status in ('done', 'held') and incomplete = 0) as last_complete_at
             from entraway.reconciliation_state state left join lateral (
                 select started_at, status from entraway.reconciliation_runs order by started_at desc, run_id desc limit 1
             ) last on true left join lateral (
                 select held, incomplete, exists (
                            select from entraway.held_plans p
                            where p.plan_hash = run.held_plan and p.status = 'rejected') as rejected
                 from entraway.reconciliation_runs run
                 where status in ('done', 'held', 'incomplete') order by started_at desc, run_id desc limit 1
             ) ended on true",
        )
        .fetch_one(&mut *self.connection().await?)
        .await?;
        Ok(schedule)
    }

    /// Records that a run began. Runs that are still recorded as running were interrupted: only one replica has the lease.
    pub async fn start_run(
        &self,
        lease: Lease,
        run_id: Uuid,
        trigger: RunTrigger,
        started_at: DateTime<Utc>,
    ) -> Result<(), DbError> {
        let mut transaction = self.begin().await?;
        check(&mut transaction, lease).await?;
        let name: &str = trigger.into();
        sqlx::query(
            "with interrupted as (
                update entraway.reconciliation_runs set status = 'interrupted', finished_at = $3 where status = 'running'
             )
             insert into entraway.reconciliation_runs (run_id, trigger, started_at, status) values ($1, $2, $3, 'running')",
        )
        .bind(run_id)
        .bind(name)
        .bind(started_at)
        .execute(&mut *transaction)
        .await?;
        transaction.inner.commit().await?;
        Ok(())
    }

    /// Stores the plan of a run, before any of it is applied.
    pub async fn store_plan(&self, lease: Lease, run_id: Uuid, plan: &Value) -> Result<(), DbError> {
        let mut transaction = self.begin().await?;
        check(&mut transaction, lease).await?;
        sqlx::query("update entraway.reconciliation_runs set plan = $2 where run_id = $1")
            .bind(run_id)
            .bind(plan)
            .execute(&mut *transaction)
            .await?;
        transaction.inner.commit().await?;
        Ok(())
    }

    /// Records how a run ended, also without the lease.
    pub async fn finish_run(&self, run: &FinishedRun) -> Result<(), DbError> {
        let status: &str = run.status.into();
        sqlx::query(
            "update entraway.reconciliation_runs
             set finished_at = $2, status = $3, compared = $4, added = $5, removed = $6, skipped = $7, incomplete = $8,
                 held = $9, held_plan = $10, error = $11, accounts = $12
             where run_id = $1 and status = 'running'",
        )
        .bind(run.run_id)
        .bind(run.finished_at)
        .bind(status)
        .bind(number(run.compared))
        .bind(number(run.added))
        .bind(number(run.removed))
        .bind(number(run.skipped))
        .bind(number(run.incomplete))
        .bind(number(run.held))
        .bind(run.held_plan.as_ref().map(PlanHash::as_str))
        .bind(&run.error)
        .bind(number(run.accounts))
        .execute(&mut *self.connection_to_write().await?)
        .await?;
        Ok(())
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
