//! Consumed login states, keys, and deletion of expired rows.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::zeroize::Zeroizing;

use super::{Db, DbError};

/// How long sync records are kept.
const RECORD_RETENTION: TimeDelta = TimeDelta::days(90);
/// How long the plans of reconciliation runs are kept: a plan may be large, and a run every few minutes stores one.
const PLAN_RETENTION: TimeDelta = TimeDelta::days(7);
/// Maximum number of sync records per user, so that one account cannot fill the table. Enough for several a day.
const MAX_RECORDS_PER_USER: i64 = 500;
/// Only users with a record in this period are checked for too many records. Several times the interval of the expiry
/// job.
const RECENT_RECORDS: TimeDelta = TimeDelta::hours(1);

/// A signing key of identity assertions. Secret: it contains the private key as PKCS#8.
pub struct AssertionKey {
    pub kid: String,
    pub private_key: Zeroizing<Vec<u8>>,
    pub created_at: DateTime<Utc>,
}

impl Db {
    /// Consumes a login state for all replicas. Returns `false` if it was consumed before.
    pub async fn consume_login_state(&self, state_id: &str, expires_at: DateTime<Utc>) -> Result<bool, DbError> {
        let done = sqlx::query(
            "insert into entraway.used_attempts (attempt_id, expires_at) values ($1, $2) on conflict do nothing",
        )
        .bind(state_id)
        .bind(expires_at)
        .execute(&mut *self.connection_to_write().await?)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The key with which all replicas seal cookies: the stored one, or `fresh` if there is none.
    pub async fn cookie_key(&self, fresh: [u8; 64]) -> Result<[u8; 64], DbError> {
        sqlx::query("insert into entraway.cookie_key (key) values ($1) on conflict do nothing")
            .bind(&fresh[..])
            .execute(&mut self.acquire().await?)
            .await?;
        let key: Vec<u8> =
            sqlx::query_scalar("select key from entraway.cookie_key").fetch_one(&mut self.acquire().await?).await?;
        key.try_into().map_err(|_| DbError::CookieKey)
    }

    /// The signing keys of identity assertions, newest first.
    ///
    /// Stores `fresh` as the newest key if no key was created since `renew_before`. Deletes a key once a newer one was
    /// created before `succeeded_before`.
    pub async fn assertion_keys(
        &self,
        fresh: AssertionKey,
        renew_before: DateTime<Utc>,
        succeeded_before: DateTime<Utc>,
    ) -> Result<Vec<AssertionKey>, DbError> {
        let mut transaction = self.begin().await?;
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('entraway assertion keys', 0))")
            .execute(&mut *transaction)
            .await?;
        let rows: Vec<(String, Vec<u8>, DateTime<Utc>)> = sqlx::query_as(
            "with created as (
                insert into entraway.assertion_keys (kid, private_key, created_at)
                select $1, $2, $3
                where not exists (select from entraway.assertion_keys where created_at >= $4)
                returning kid, private_key, created_at
             ), deleted as (
                delete from entraway.assertion_keys k
                where exists (select from entraway.assertion_keys newer
                              where newer.created_at > k.created_at and newer.created_at < $5)
                returning kid
             )
             select kid, private_key, created_at from entraway.assertion_keys where kid not in (select kid from deleted)
             union all select kid, private_key, created_at from created
             order by created_at desc, kid",
        )
        .bind(fresh.kid)
        .bind(&fresh.private_key[..])
        .bind(fresh.created_at)
        .bind(renew_before)
        .bind(succeeded_before)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.inner.commit().await?;
        let key =
            |(kid, private_key, created_at)| AssertionKey { kid, private_key: Zeroizing::new(private_key), created_at };
        Ok(rows.into_iter().map(key).collect())
    }

    /// Deletes expired sessions and login states, old sync records and those beyond the limit, old failed sign-ins, and
    /// groups that were not confirmed for as long, old reconciliation runs and their plans, and audit events older than `audit_retention`.
    ///
    /// Returns the number of deleted rows. Only one replica at a time deletes; the others return at once.
    pub async fn delete_expired(
        &self,
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
        audit_retention: TimeDelta,
    ) -> Result<i64, DbError> {
        let rows = sqlx::query_scalar(
            "with job_lock as materialized (
                select pg_try_advisory_xact_lock(hashtextextended('entraway purge', 0)) as acquired
            ), sessions as (
                delete from entraway.sessions
                where (expires_at < $1 or last_seen_at < $2) and (select acquired from job_lock) returning 1
            ), attempts as (
                delete from entraway.used_attempts where expires_at < $1 and (select acquired from job_lock) returning 1
            ), over_limit as materialized (
                select recent.user_id, recent.tenant_id, oldest.started_at
                from (select distinct user_id, tenant_id from entraway.sync_runs
                      where started_at > $4 and (select acquired from job_lock)) recent
                cross join lateral (
                    select started_at from entraway.sync_runs run
                    where run.user_id = recent.user_id and run.tenant_id = recent.tenant_id
                    order by started_at desc offset $5 limit 1) oldest
            ), old_runs as (
                delete from entraway.sync_runs where started_at < $3 and (select acquired from job_lock) returning 1
            ), runs_beyond as (
                delete from entraway.sync_runs run using over_limit
                where run.user_id = over_limit.user_id and run.tenant_id = over_limit.tenant_id
                  and run.started_at <= over_limit.started_at and run.started_at >= $3
                returning 1
            ), failed as (
                delete from entraway.failed_sign_ins where failed_at < $3 and (select acquired from job_lock) returning 1
            ), groups as (
                delete from entraway.person_groups where confirmed_at < $3 and (select acquired from job_lock) returning 1
            ), reconciliations as (
                delete from entraway.reconciliation_runs where started_at < $3 and (select acquired from job_lock) returning 1
            ), plans as (
                update entraway.reconciliation_runs set plan = null
                where started_at < $7 and started_at >= $3 and plan is not null and (select acquired from job_lock)
            ), decided as (
                delete from entraway.held_plans
                where held_at < $3 and status in ('applied', 'lapsed') and (select acquired from job_lock)
            ), events as (
                delete from entraway.audit_events where at < $6 and (select acquired from job_lock) returning 1
            )
            select (select count(*) from sessions) + (select count(*) from attempts) + (select count(*) from old_runs)
                   + (select count(*) from runs_beyond) + (select count(*) from failed) + (select count(*) from groups)
                   + (select count(*) from events) + (select count(*) from reconciliations)",
        )
        .bind(now)
        .bind(now - idle_timeout)
        .bind(now - RECORD_RETENTION)
        .bind(now - RECENT_RECORDS)
        .bind(MAX_RECORDS_PER_USER)
        .bind(now - audit_retention)
        .bind(now - PLAN_RETENTION)
        .fetch_one(&mut *self.connection_to_write().await?)
        .await?;
        Ok(rows)
    }
}
