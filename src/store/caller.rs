//! Who a session's token belongs to, as a reverse proxy asks on every request: one indexed read.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row as _;

use super::session::TokenHash;
use super::{Store, StoreError};
use crate::domain::{Identity, ObjectId, StoreKind, TenantId};

/// The idle clock is written at most this often, or four times in an idle time-out that is short.
const TOUCH: TimeDelta = TimeDelta::minutes(1);

/// The person behind a session, as far as a proxy or an upstream has to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    pub identity: Identity,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub user_role: Option<String>,
    /// Ids, sorted.
    pub organizations: Vec<String>,
    /// Ids, sorted.
    pub teams: Vec<String>,
}

/// A session that is alive, and its person.
pub struct CallerSession {
    pub caller: Caller,
    pub expires_at: DateTime<Utc>,
}

/// How often the idle clock of a session is written at most.
#[must_use]
pub fn touch_interval(idle_timeout: TimeDelta) -> TimeDelta {
    TOUCH.min(idle_timeout / 4)
}

const NATIVE: &str =
    "select s.user_id, s.tenant_id, s.last_seen_at, s.expires_at, u.user_email, u.user_alias, u.user_role,
        array(select organization_id from entraway.organization_members m where m.user_id = u.user_id order by 1)
            as organizations,
        array(select team_id from entraway.team_members m where m.user_id = u.user_id order by 1) as teams
    from entraway.sessions s
    join entraway.users u on u.user_id = s.user_id and u.tenant_id = s.tenant_id
    where s.token_hash = $1 and s.expires_at > $2 and s.last_seen_at > $3";

/// Which teams a person is in: as on their own page.
const LITELLM: &str = r#"select s.user_id, s.tenant_id, s.last_seen_at, s.expires_at, u.user_email, u.user_alias, u.user_role,
        array(select organization_id from public."LiteLLM_OrganizationMembership" m where m.user_id = u.user_id order by 1)
            as organizations,
        array(select team_id from public."LiteLLM_TeamTable" t where t.team_id = any(u.teams) order by 1) as teams
    from entraway.sessions s
    join entraway.litellm_users p on p.object_id = s.user_id and p.tenant_id = s.tenant_id
    join public."LiteLLM_UserTable" u on u.user_id = p.user_id and p.object_id in (u.user_id, u.sso_user_id)
    where s.token_hash = $1 and s.expires_at > $2 and s.last_seen_at > $3"#;

impl Store {
    /// The session of a token, if it is alive at `now`; one statement, and at most once a minute a second that moves the
    /// idle clock.
    pub async fn caller(
        &self,
        hash: &TokenHash,
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
    ) -> Result<Option<CallerSession>, StoreError> {
        let sql = match self.kind {
            StoreKind::Native => NATIVE,
            StoreKind::LiteLlm => LITELLM,
        };
        let query = sqlx::query(sql).bind(&hash[..]).bind(now).bind(now - idle_timeout);
        let row = query.fetch_optional(&mut *self.connection().await?).await?;
        let Some(row) = row else { return Ok(None) };
        self.keep_alive(hash, row.try_get("last_seen_at")?, now, idle_timeout).await;
        let user_id: String = row.try_get("user_id")?;
        let object_id: ObjectId = user_id.parse().map_err(|_| StoreError::UserId)?;
        let tenant_id = TenantId::from(row.try_get::<uuid::Uuid, _>("tenant_id")?);
        let caller = Caller {
            identity: Identity { tenant_id, object_id },
            email: row.try_get("user_email")?,
            display_name: row.try_get("user_alias")?,
            user_role: row.try_get("user_role")?,
            organizations: row.try_get("organizations")?,
            teams: row.try_get("teams")?,
        };
        Ok(Some(CallerSession { caller, expires_at: row.try_get("expires_at")? }))
    }

    /// Moves the idle clock where that is due. The session is good all the same: a standby, say, tells but does not write.
    pub(super) async fn keep_alive(
        &self,
        hash: &TokenHash,
        last_seen_at: DateTime<Utc>,
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
    ) {
        let due = now - touch_interval(idle_timeout);
        if last_seen_at >= due {
            return;
        }
        if let Err(error) = self.touch(hash, now, due).await {
            tracing::warn!("a session's idle clock was not written: {error}");
        }
    }

    /// Another replica may have done so meanwhile, or somebody holds the row: nobody who is signed in waits for that.
    async fn touch(&self, hash: &TokenHash, now: DateTime<Utc>, due: DateTime<Utc>) -> Result<(), StoreError> {
        let Some(mut connection) = self.connection_to_write_now().await? else { return Ok(()) };
        sqlx::query(
            "update entraway.sessions set last_seen_at = $2
             where token_hash = (select token_hash from entraway.sessions where token_hash = $1 and last_seen_at < $3
                                 for no key update skip locked)",
        )
        .bind(&hash[..])
        .bind(now)
        .bind(due)
        .execute(&mut *connection)
        .await?;
        Ok(())
    }
}
