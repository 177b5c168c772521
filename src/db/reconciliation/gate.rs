//! What decides whether a run's removals are applied or held: accepted settings, and earlier removals.

use chrono::{DateTime, TimeDelta, Utc};

use super::Lease;
use super::lease::check;
use crate::db::{Db, DbError};

impl Db {
    /// The hash of the settings that the last run accepted. `None` before the first such run.
    pub async fn accepted_settings(&self) -> Result<Option<String>, DbError> {
        let accepted = sqlx::query_scalar("select accepted_settings from entraway.reconciliation_state")
            .fetch_optional(&mut *self.connection().await?)
            .await?;
        Ok(accepted.flatten())
    }

    /// Records that a run removed memberships with these settings, or had nothing to remove.
    pub async fn accept_settings(&self, lease: Lease, hash: &str) -> Result<(), DbError> {
        let mut transaction = self.begin().await?;
        check(&mut transaction, lease).await?;
        sqlx::query(
            "update entraway.reconciliation_state set accepted_settings = $1 where accepted_settings is distinct from $1",
        )
        .bind(hash)
        .execute(&mut *transaction)
        .await?;
        transaction.inner.commit().await?;
        Ok(())
    }

    /// Managed memberships that runs removed in the 24 hours before `now`, by their audit events. An organization membership
    /// counts only if the run removed no team membership of the user. Runs whose limits an operator lifted do not count: their
    /// plans name the approval.
    pub async fn removed_in_last_day(&self, now: DateTime<Utc>) -> Result<usize, DbError> {
        let removed: i64 = sqlx::query_scalar(
            "with by_user as (
                select run_id, count(*) filter (where action = 'team_member_removed') as teams,
                       count(*) filter (where action = 'organization_member_removed') as organizations
                from entraway.audit_events
                where at > $1 and at <= $2 and actor = 'job' and result = 'applied'
                  and action in ('team_member_removed', 'organization_member_removed')
                group by run_id, object_id
             ), by_run as (
                select run_id, sum(case teams when 0 then organizations else teams end) as memberships
                from by_user group by run_id
             )
             select coalesce(sum(by_run.memberships), 0)::bigint
             from by_run left join entraway.reconciliation_runs r using (run_id)
             where r.plan ->> 'approved' is null and r.plan ->> 'max_removals' is null",
        )
        .bind(now - TimeDelta::hours(24))
        .bind(now)
        .fetch_one(&mut *self.connection().await?)
        .await?;
        Ok(usize::try_from(removed).unwrap_or_default())
    }
}
