//! The user of a page request, read for each page so that permissions are current.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row as _;

use super::read::name_or_id;
use super::session::TokenHash;
use super::{Db, DbError};
use crate::domain::{Identity, ObjectId, TenantId};

/// The user of an active session.
pub struct SessionUser {
    pub identity: Identity,
    /// Key of the user's row.
    pub user_id: String,
    pub display_name: Option<String>,
    pub email: Option<String>,
    pub user_role: Option<String>,
    /// Organizations where the user's membership says `org_admin`.
    pub administers: Vec<String>,
    /// When the session was opened.
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl SessionUser {
    /// Display name, else e-mail address, else ID.
    #[must_use]
    pub fn name(&self) -> &str {
        name_or_id(self.display_name.as_deref(), self.email.as_deref(), &self.user_id)
    }
}

const SESSION_USER: &str = "
    select s.user_id as object_id, s.tenant_id, s.created_at, s.last_seen_at, s.expires_at,
           u.user_id, u.user_alias, u.user_email, u.user_role,
           array(select organization_id from organization_members m
                 where m.user_id = u.user_id and lower(m.user_role) = 'org_admin') as administers
    from entraway.sessions s
         join identities u on u.object_id = s.user_id and u.tenant_id = s.tenant_id and u.is_owner
    where s.token_hash = $1 and s.expires_at > $2 and s.last_seen_at > $3";

impl Db {
    /// Loads the user of an active session. One statement, and at most once a minute a second one that updates
    /// `last_seen_at`.
    pub async fn session_user(
        &self,
        hash: &TokenHash,
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
    ) -> Result<Option<SessionUser>, DbError> {
        let query = sqlx::query(self.over_relations(SESSION_USER)).bind(&hash[..]).bind(now).bind(now - idle_timeout);
        let row = query.fetch_optional(&mut *self.connection().await?).await?;
        let Some(row) = row else { return Ok(None) };
        self.touch_sessions(&[(*hash, row.try_get("last_seen_at")?)], now, idle_timeout).await;
        let object_id: ObjectId = row.try_get::<String, _>("object_id")?.parse().map_err(|_| DbError::UserId)?;
        Ok(Some(SessionUser {
            identity: Identity { tenant_id: TenantId::from(row.try_get::<uuid::Uuid, _>("tenant_id")?), object_id },
            user_id: row.try_get("user_id")?,
            display_name: row.try_get("user_alias")?,
            email: row.try_get("user_email")?,
            user_role: row.try_get("user_role")?,
            administers: row.try_get("administers")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
        }))
    }
}
