//! Blocking users whose accounts are disabled: the privileges for `metadata.scim_active`. LiteLLM 1.110.2 rejects keys and
//! tokens of a user with the value false (`auth/user_api_key_auth.py`).

use super::removal::{missing_privileges_sql, parallel};
use crate::db::DbError;
use crate::db::connection::DbConnection;

/// Privileges: table, column, privilege.
const METADATA: &[[&str; 3]] =
    &[["LiteLLM_UserTable", "metadata", "SELECT"], ["LiteLLM_UserTable", "metadata", "UPDATE"]];

/// The privileges that blocking a user needs: tables, columns and privileges, in parallel lists.
pub(super) fn privileges() -> [Vec<&'static str>; 3] {
    parallel(METADATA)
}

/// The missing privileges, such as `UPDATE on LiteLLM_UserTable.metadata`.
pub(in crate::db) async fn missing_privileges(connection: &mut DbConnection) -> Result<Vec<String>, DbError> {
    let [tables, columns, privileges] = privileges();
    let query = sqlx::query_scalar(concat!("select ", missing_privileges_sql!("$1", "$2", "$3")));
    Ok(query.bind(tables).bind(columns).bind(privileges).fetch_one(connection).await?)
}
