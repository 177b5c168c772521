//! The lease under which one replica reconciles: a row, because advisory locks of a session do not work behind a pooler in
//! transaction mode.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use crate::db::connection::DbConnection;
use crate::db::{Db, DbError};

/// How long a lease is valid without renewal. Only the database's clock counts.
pub const LEASE_DURATION: Duration = Duration::from_mins(1);

/// The right to write for a reconciliation. Valid until it expires or another replica takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    holder: Uuid,
    /// Grows each time the lease is taken.
    fence: i64,
}

impl Db {
    /// Takes the lease for `duration`. `None` while another replica holds it, or this one in another run.
    pub async fn take_lease(&self, holder: Uuid, duration: Duration) -> Result<Option<Lease>, DbError> {
        let fence = sqlx::query_scalar(
            "update entraway.reconciliation_state
             set holder = $1, fence = fence + 1, lease_expires_at = clock_timestamp() + $2
             where lease_expires_at <= clock_timestamp() returning fence",
        )
        .bind(holder)
        .bind(interval(duration))
        .fetch_optional(&mut *self.connection_to_write().await?)
        .await?;
        Ok(fence.map(|fence| Lease { holder, fence }))
    }

    /// Extends the lease to `duration` from now. Returns `false` if it expired or another replica took it.
    pub async fn renew_lease(&self, lease: Lease, duration: Duration) -> Result<bool, DbError> {
        let done = sqlx::query(
            "update entraway.reconciliation_state set lease_expires_at = clock_timestamp() + $3
             where holder = $1 and fence = $2 and lease_expires_at > clock_timestamp()",
        )
        .bind(lease.holder)
        .bind(lease.fence)
        .bind(interval(duration))
        .execute(&mut *self.connection_to_write().await?)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends the lease, so that another replica can take it at once.
    pub async fn release_lease(&self, lease: Lease) -> Result<(), DbError> {
        sqlx::query(
            "update entraway.reconciliation_state set lease_expires_at = '-infinity' where holder = $1 and fence = $2",
        )
        .bind(lease.holder)
        .bind(lease.fence)
        .execute(&mut *self.connection_to_write().await?)
        .await?;
        Ok(())
    }

    /// Asks for a run at once: the replica that notices first runs it.
    pub async fn request_reconciliation(&self, at: DateTime<Utc>) -> Result<(), DbError> {
        sqlx::query("update entraway.reconciliation_state set requested_at = greatest(requested_at, $1)")
            .bind(at)
            .execute(&mut *self.connection_to_write().await?)
            .await?;
        Ok(())
    }
}

/// Fails with [`DbError::LeaseLost`] unless the lease is still held. Until the transaction ends, no other replica can take
/// it, so that a replica that was paused cannot write after another one took over.
pub(in crate::db) async fn check(connection: &mut DbConnection, lease: Lease) -> Result<(), DbError> {
    let held: Option<i64> = sqlx::query_scalar(
        "select fence from entraway.reconciliation_state
         where holder = $1 and fence = $2 and lease_expires_at > clock_timestamp() for share",
    )
    .bind(lease.holder)
    .bind(lease.fence)
    .fetch_optional(connection)
    .await?;
    held.map(drop).ok_or(DbError::LeaseLost)
}

fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
