//! Plans that the circuit breaker held, and what operators decided about them.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::Lease;
use super::lease::check;
use crate::audit::{AuditAction, AuditActor, AuditEvent, AuditResult, AuditTarget, AuditTargetKind};
use crate::db::{Db, DbError, audit};
use crate::reconciliation::PlanHash;

/// How long an approval is valid.
const APPROVAL_VALID: TimeDelta = TimeDelta::hours(24);

/// What an operator decides about a held plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Approve,
    Reject,
}

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// The plan is approved or rejected. Another decision replaces it until the plan is applied.
    Done(PlanHash),
    /// No plan's hash begins with this text, or those of several do.
    NotFound,
    /// The plan was `applied`, or `lapsed` since a later run had other changes.
    NotHeld { status: String },
}

/// A plan that waits for a decision, or that an operator rejected.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct HeldPlan {
    pub plan_hash: String,
    pub run_id: Uuid,
    pub held_at: DateTime<Utc>,
    /// `held`, `approved` or `rejected`.
    pub status: String,
    pub decided_by: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub changes: i32,
}

impl Db {
    /// Hashes of the plans whose approval is valid at `now`.
    pub async fn approved_plans(&self, now: DateTime<Utc>) -> Result<BTreeSet<PlanHash>, DbError> {
        let hashes: Vec<String> = sqlx::query_scalar(
            "select plan_hash from entraway.held_plans where status = 'approved' and decided_at > $1",
        )
        .bind(now - APPROVAL_VALID)
        .fetch_all(&mut *self.connection().await?)
        .await?;
        Ok(hashes.iter().filter_map(|hash| hash.parse().ok()).collect())
    }

    /// Stores the plan that a run holds, if any, and lets all others lapse. Returns whether the plan was not held before.
    /// A plan that an operator rejected stays rejected, and one that was approved while the run was reading stays approved,
    /// so that the next run applies it.
    pub async fn hold_plan(
        &self,
        lease: Lease,
        run_id: Uuid,
        now: DateTime<Utc>,
        held: Option<(&PlanHash, usize)>,
    ) -> Result<bool, DbError> {
        let mut transaction = self.begin().await?;
        check(&mut transaction, lease).await?;
        let new: bool = sqlx::query_scalar(
            "with lapsed as (
                update entraway.held_plans set status = 'lapsed'
                where status in ('held', 'approved', 'rejected') and plan_hash is distinct from $1
             ), known as (
                select from entraway.held_plans
                where plan_hash = $1 and (status in ('held', 'rejected') or status = 'approved' and decided_at > $5)
             ), held as (
                insert into entraway.held_plans as plan (plan_hash, run_id, held_at, status, changes)
                select $1, $2, $3, 'held', $4 where $1 is not null
                on conflict (plan_hash) do update
                set run_id = excluded.run_id, held_at = excluded.held_at, status = 'held', decided_by = null,
                    decided_at = null
                where plan.status in ('lapsed', 'applied') or plan.status = 'approved' and plan.decided_at <= $5
             )
             select $1 is not null and not exists (select from known)",
        )
        .bind(held.map(|(hash, _)| hash.as_str()))
        .bind(run_id)
        .bind(now)
        .bind(held.map_or(0, |(_, changes)| i32::try_from(changes).unwrap_or(i32::MAX)))
        .bind(now - APPROVAL_VALID)
        .fetch_one(&mut *transaction)
        .await?;
        if let Some((hash, changes)) = held.filter(|_| new) {
            let mut event = plan_event(AuditAction::PlanHeld, AuditActor::Job, hash);
            event.run_id = Some(run_id);
            event.after = Some(json!({ "changes": changes }));
            audit::insert(&mut transaction, now, &[event], None).await?;
        }
        transaction.inner.commit().await?;
        Ok(new)
    }

    /// Records that an approved plan was applied, also if an operator rejected it or it lapsed meanwhile.
    pub async fn plan_applied(&self, lease: Lease, plan: &PlanHash) -> Result<(), DbError> {
        let mut transaction = self.begin().await?;
        check(&mut transaction, lease).await?;
        sqlx::query("update entraway.held_plans set status = 'applied' where plan_hash = $1")
            .bind(plan.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.inner.commit().await?;
        Ok(())
    }

    /// Approves or rejects the plan whose hash begins with `hash`, with an audit event. After an approval a run begins at
    /// once.
    pub async fn decide_plan(
        &self,
        hash: &str,
        decision: Decision,
        actor: AuditActor,
        now: DateTime<Utc>,
    ) -> Result<Decided, DbError> {
        let mut transaction = self.begin().await?;
        // First, because a run locks this row, and then the plans.
        sqlx::query(
            "update entraway.reconciliation_state
             set requested_at = case when $1 then greatest(requested_at, $2) else requested_at end",
        )
        .bind(decision == Decision::Approve)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        let found: Vec<(String, String)> = sqlx::query_as(
            "select plan_hash, status from entraway.held_plans where starts_with(plan_hash, $1) and $1 <> ''
             order by plan_hash limit 2 for update",
        )
        .bind(hash)
        .fetch_all(&mut *transaction)
        .await?;
        let [(hash, status)] = &found[..] else { return Ok(Decided::NotFound) };
        if !["held", "approved", "rejected"].contains(&status.as_str()) {
            return Ok(Decided::NotHeld { status: status.clone() });
        }
        let Ok(hash) = hash.parse::<PlanHash>() else { return Ok(Decided::NotFound) };
        let (status, action) = match decision {
            Decision::Approve => ("approved", AuditAction::PlanApproved),
            Decision::Reject => ("rejected", AuditAction::PlanRejected),
        };
        let name: &str = actor.into();
        let by = actor.object_id().map_or_else(|| name.to_owned(), |id| id.to_string());
        sqlx::query(
            "update entraway.held_plans set status = $2, decided_by = $3, decided_at = $4 where plan_hash = $1",
        )
        .bind(hash.as_str())
        .bind(status)
        .bind(by)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        audit::insert(&mut transaction, now, &[plan_event(action, actor, &hash)], None).await?;
        transaction.inner.commit().await?;
        Ok(Decided::Done(hash))
    }
}

fn plan_event(action: AuditAction, actor: AuditActor, plan: &PlanHash) -> AuditEvent {
    AuditEvent {
        actor,
        run_id: None,
        action,
        user_id: None,
        object_id: None,
        target: AuditTarget { kind: AuditTargetKind::Plan, id: Some(plan.as_str().to_owned()), name: None },
        cause: None,
        group: None,
        before: None,
        after: None,
        evidence: None,
        result: AuditResult::Applied,
    }
}
