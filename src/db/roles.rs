//! Roles in a LiteLLM database, and which user rows an operator has confirmed.

use chrono::{DateTime, Utc};

use super::{Db, DbError};
use crate::domain::ObjectId;

/// SQL expression for the role of the user with row `u` and our record `p`: LiteLLM rejects `org_admin` as a global
/// role, so its row cannot say so. Same rule as `effective_role` in `plan/roles.rs`.
macro_rules! litellm_role {
    () => {
        "case when u.user_role = 'internal_user' and p.sso_user_role = 'org_admin'
                   and p.row_created_at is not distinct from u.created_at then 'org_admin' else u.user_role end"
    };
}
pub(super) use litellm_role;

/// Result of confirming a user's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Key of the row.
    pub user_id: String,
    pub user_role: Option<String>,
    /// When another program created the row.
    pub created_at: Option<DateTime<Utc>>,
    pub state: AdoptionState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionState {
    /// Confirmed now.
    Confirmed,
    /// Confirmed earlier, at this time.
    AlreadyConfirmed(DateTime<Utc>),
    /// The row is the service's own, or an older version adopted it: no role is withheld.
    NotNeeded,
}

/// Finds the row in the same way as a sign-in. `known` is `false` if the row needs confirmation.
const ADOPT: &str = r#"with user_row as materialized (
        select user_id, user_role, created_at from public."LiteLLM_UserTable" u
        where user_id = $1 or sso_user_id = $1 and not exists (
            select from entraway.litellm_users other
            where other.user_id = u.user_id and other.object_id <> $1
              and other.row_created_at is not distinct from u.created_at)
        order by user_id = $1 desc limit 1
    ), before as materialized (
        select a.adopted_at from entraway.litellm_adopted_rows a join user_row p using (user_id)
        where a.object_id = $1 and a.row_created_at is not distinct from p.created_at
    ), known as materialized (
        select from entraway.litellm_users o join user_row p using (user_id)
        where o.object_id = $1 and not o.premade and o.row_created_at is not distinct from p.created_at
    ), adopted as (
        insert into entraway.litellm_adopted_rows as a (object_id, user_id, row_created_at, adopted_at)
        select $1, user_id, created_at, $2 from user_row
        where not exists (select from before) and not exists (select from known)
        on conflict (object_id) do update set user_id = excluded.user_id,
            row_created_at = excluded.row_created_at, adopted_at = excluded.adopted_at
        returning user_id
    ), audited as (
        insert into entraway.audit_events (event_id, at, actor, action, user_id, object_id, target_kind, result)
        select entraway.uuid_at($2), $2, 'command', 'account_confirmed', user_id, $1, 'account', 'applied' from adopted
    )
    select user_id, user_role, created_at at time zone 'UTC', (select adopted_at from before),
           exists (select from known)
    from user_row"#;

/// A row of [`ADOPT`], in column order.
type Adopted = (String, Option<String>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, bool);

impl Db {
    /// Confirms a user's row in a LiteLLM database, so that the next sign-in may grant an operator role, and inserts the
    /// audit event. Idempotent.
    ///
    /// Returns `None` if a sign-in of this user would find no row.
    pub async fn adopt(&self, user: ObjectId, now: DateTime<Utc>) -> Result<Option<Adoption>, DbError> {
        let query = sqlx::query_as(ADOPT).bind(user.to_string()).bind(now);
        let row: Option<Adopted> = query.fetch_optional(&mut *self.connection_to_write().await?).await?;
        Ok(row.map(|(user_id, user_role, created_at, before, known)| {
            let state = match before {
                _ if known => AdoptionState::NotNeeded,
                Some(at) => AdoptionState::AlreadyConfirmed(at),
                None => AdoptionState::Confirmed,
            };
            Adoption { user_id, user_role, created_at, state }
        }))
    }
}
