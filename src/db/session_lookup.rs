//! Session lookups for forward auth: many sessions in one statement, one index lookup each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::roles::litellm_role;
use super::session::{TokenHash, slices};
use super::{Connection, Db, DbError};
use crate::domain::{Identity, ObjectId, StoreKind, TenantId};

/// Minimum time between two updates of a session's `last_seen_at`.
const TOUCH_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// Maximum time that a connection is held between lookups. The pool then checks whether it is still valid.
const MAX_HOLD: Duration = Duration::from_millis(250);

/// A session's user, as far as proxies and upstreams need.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardedUser {
    pub identity: Identity,
    /// The sign-in address of the newest session. The unverified `email` claim is never passed to upstreams (Microsoft,
    /// "Migrate away from using email claims for user identification").
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub user_role: Option<String>,
    /// IDs, sorted.
    pub organizations: Arc<[String]>,
    /// IDs, sorted. Usually those of the organizations, and then shared, since both are created from the same groups.
    pub teams: Arc<[String]>,
}

/// An active session with its user.
pub struct ForwardedSession {
    pub user: ForwardedUser,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Loads sessions. Consecutive lookups share a connection, so that the pool does not ping it each time.
pub struct SessionReader<'a> {
    db: &'a Db,
    /// With the time when it was acquired.
    connection: Option<(Instant, Connection<'a>)>,
}

/// Minimum time between two updates of `last_seen_at`: a minute, or a quarter of a short idle timeout.
#[must_use]
pub fn touch_interval(idle_timeout: TimeDelta) -> TimeDelta {
    TOUCH_INTERVAL.min(idle_timeout / 4)
}

/// Query for sessions, common to both stores. All sessions of a user have the address of the newest one, because they
/// share a cache entry.
macro_rules! session_query {
    ($rest:literal, $($role:tt)+) => {
        concat!(
            "select s.token_hash, s.user_id, s.tenant_id, s.created_at, s.last_seen_at, s.expires_at,
                    (select newest.sign_in_address from entraway.sessions newest
                     where newest.user_id = s.user_id and newest.tenant_id = s.tenant_id
                     order by newest.created_at desc, newest.token_hash limit 1) as sign_in_address,
                    u.user_alias, ",
            $($role)+,
            " as user_role, ",
            $rest,
            " where s.token_hash = any($1) and s.expires_at > $2 and s.last_seen_at > $3"
        )
    };
}

const NATIVE: &str = session_query!(
    "array(select organization_id from entraway.organization_members m where m.user_id = u.user_id order by 1)
        as organizations,
     array(select team_id from entraway.team_members m where m.user_id = u.user_id order by 1) as teams
     from entraway.sessions s
     join entraway.users u on u.user_id = s.user_id and u.tenant_id = s.tenant_id",
    "u.user_role"
);

/// Team memberships come from the user's row, as in `GET /api/me`.
const LITELLM: &str = session_query!(
    r#"array(select organization_id from public."LiteLLM_OrganizationMembership" m where m.user_id = u.user_id order by 1)
        as organizations,
     array(select team_id from public."LiteLLM_TeamTable" t where t.team_id = any(u.teams) order by 1) as teams
     from entraway.sessions s
     join entraway.litellm_users p on p.object_id = s.user_id and p.tenant_id = s.tenant_id
     join public."LiteLLM_UserTable" u on u.user_id = p.user_id and p.object_id in (u.user_id, u.sso_user_id)"#,
    litellm_role!()
);

fn forwarded_session(row: &PgRow) -> Result<ForwardedSession, DbError> {
    let user_id: &str = row.try_get("user_id")?;
    let object_id: ObjectId = user_id.parse().map_err(|_| DbError::UserId)?;
    let tenant_id = TenantId::from(row.try_get::<uuid::Uuid, _>("tenant_id")?);
    let ids = |column| row.try_get::<Vec<String>, _>(column);
    let (organizations, teams): (Arc<[_]>, _) = (ids("organizations")?.into(), ids("teams")?);
    let user = ForwardedUser {
        identity: Identity { tenant_id, object_id },
        email: row.try_get("sign_in_address")?,
        display_name: row.try_get("user_alias")?,
        user_role: row.try_get("user_role")?,
        teams: if teams[..] == organizations[..] { organizations.clone() } else { teams.into() },
        organizations,
    };
    Ok(ForwardedSession {
        user,
        created_at: row.try_get("created_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}

impl Db {
    /// Creates a reader for consecutive lookups.
    pub fn session_reader(&self) -> SessionReader<'_> {
        SessionReader { db: self, connection: None }
    }

    /// Updates `last_seen_at` of sessions where it is due. Sessions stay valid if this fails, for example on a standby.
    pub async fn touch_sessions(
        &self,
        sessions: &[(TokenHash, DateTime<Utc>)],
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
    ) {
        let due = now - touch_interval(idle_timeout);
        let hashes: Vec<_> = sessions.iter().filter(|(_, seen)| *seen < due).map(|(hash, _)| *hash).collect();
        if hashes.is_empty() {
            return;
        }
        if let Err(error) = self.touch(&hashes, now, due).await {
            tracing::warn!(%error, sessions = hashes.len(), "failed to update last_seen_at");
        }
    }

    /// Skips sessions that another replica updated or locked: requests must not wait for this.
    async fn touch(&self, hashes: &[TokenHash], now: DateTime<Utc>, due: DateTime<Utc>) -> Result<(), DbError> {
        let Some(mut connection) = self.connection_to_write_now().await? else { return Ok(()) };
        sqlx::query(
            "update entraway.sessions set last_seen_at = $2
             where token_hash = any(array(select token_hash from entraway.sessions
                                          where token_hash = any($1) and last_seen_at < $3 for no key update skip locked))",
        )
        .bind(slices(hashes))
        .bind(now)
        .bind(due)
        .execute(&mut *connection)
        .await?;
        Ok(())
    }
}

impl SessionReader<'_> {
    /// Loads the active sessions among these tokens, in any order, in one statement. An unreadable row fails only its
    /// own session.
    pub async fn read(
        &mut self,
        hashes: &[TokenHash],
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
    ) -> Result<Vec<(TokenHash, Result<ForwardedSession, DbError>)>, DbError> {
        let sql = match self.db.kind {
            StoreKind::Native => NATIVE,
            StoreKind::LiteLlm => LITELLM,
        };
        let query = sqlx::query(sql).bind(slices(hashes)).bind(now).bind(now - idle_timeout);
        // A connection held too long is returned before another one is acquired.
        let held = self.connection.take().filter(|(since, _)| since.elapsed() < MAX_HOLD);
        let (since, mut connection) = match held {
            Some((since, connection)) => (since, connection.resume()),
            None => (Instant::now(), self.db.connection().await?),
        };
        let rows = query.fetch_all(&mut *connection).await?;
        connection.pause();
        // Keeps only a connection whose query succeeded.
        self.connection = Some((since, connection));
        rows.iter().map(|row| Ok((row.try_get("token_hash")?, forwarded_session(row)))).collect()
    }
}
