//! Sign-ins that failed before the user was known, as operators see them.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::list::{Builder, ListSource, Page, PageRequest, Sort};
use crate::db::{Db, DbError};

/// Filter for failed sign-ins.
#[derive(Clone, Debug, Default)]
pub struct FailedSignInFilter {
    /// Prefix of the error code, such as `canceled` or `id_token`.
    pub code: Option<String>,
    /// Request ID.
    pub request_id: Option<String>,
}

/// A sign-in that failed before the user was known.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct FailedSignInRow {
    #[sqlx(rename = "id")]
    pub sign_in_id: String,
    pub failed_at: DateTime<Utc>,
    /// Error code, as on the error page.
    pub code: String,
    /// Entra's error number, such as `50105`.
    pub aadsts: Option<String>,
    pub request_id: String,
}

const FAILED_SIGN_INS: ListSource = ListSource {
    columns: "f.failed_at, f.code, f.aadsts, f.request_id",
    from: "entraway.failed_sign_ins f",
    id: "f.sign_in_id",
    name: "f.code",
    created: "f.failed_at",
    words: "entraway.words(f.code)",
    records: true,
};

impl Db {
    /// A page of the failed sign-ins that match a filter, newest first.
    pub async fn failed_sign_ins(
        &self,
        filter: &FailedSignInFilter,
        request: &PageRequest,
    ) -> Result<Page<FailedSignInRow>, DbError> {
        let only = |query: &mut Builder| {
            if let Some(code) = &filter.code {
                query.push(" and starts_with(f.code, ").push_bind(code.clone()).push(")");
            }
            if let Some(request_id) = &filter.request_id {
                query.push(" and f.request_id = ").push_bind(request_id.clone());
            }
        };
        self.list(&FAILED_SIGN_INS, &PageRequest { sort: Sort::Newest, search: None, ..request.clone() }, only).await
    }

    /// Number of failed sign-ins since a time.
    pub async fn failed_sign_ins_since(&self, since: DateTime<Utc>) -> Result<i64, DbError> {
        let sql = "select count(*) from entraway.failed_sign_ins where failed_at >= $1";
        Ok(sqlx::query_scalar(sql).bind(since).fetch_one(&mut *self.connection().await?).await?)
    }
}
