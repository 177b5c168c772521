//! Records of sign-ins that failed before the user was known.

use chrono::{DateTime, Utc};

use super::{Db, DbError};

/// A sign-in that failed before the user was known.
#[derive(Debug)]
pub struct FailedSignIn {
    pub failed_at: DateTime<Utc>,
    /// Error code, as on the error page.
    pub code: &'static str,
    /// Entra's error number, such as `50105`.
    pub aadsts: Option<String>,
    pub request_id: String,
}

impl Db {
    /// Stores the record of a failed sign-in. It is kept as long as sync records.
    pub async fn record_failed_sign_in(&self, failed: &FailedSignIn) -> Result<(), DbError> {
        sqlx::query(
            "insert into entraway.failed_sign_ins (failed_at, code, aadsts, request_id) values ($1, $2, $3, $4)",
        )
        .bind(failed.failed_at)
        .bind(failed.code)
        .bind(&failed.aadsts)
        .bind(&failed.request_id)
        .execute(&mut *self.connection_to_write().await?)
        .await?;
        Ok(())
    }
}
