//! Who sessions' tokens belong to, as reverse proxies ask on every request: one indexed read each, many in one statement.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::roles::litellm_role;
use super::session::TokenHash;
use super::{Connection, Store, StoreError};
use crate::domain::{Identity, ObjectId, StoreKind, TenantId};

/// The idle clock is written at most this often, or four times in an idle time-out that is short.
const TOUCH: TimeDelta = TimeDelta::minutes(1);

/// Then a connection goes back to the pool, which knows whether it still counts.
const HELD: Duration = Duration::from_millis(250);

/// The person behind a session, as far as a proxy or an upstream has to know.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardedUser {
    pub identity: Identity,
    /// The address that the user signed in with last. The `email` claim, which is not verified, is not told to upstreams
    /// (Microsoft, "Migrate away from using email claims for user identification").
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub user_role: Option<String>,
    /// Ids, sorted.
    pub organizations: Vec<String>,
    /// Ids, sorted.
    pub teams: Vec<String>,
}

/// A session that is alive, and its person.
pub struct ForwardedSession {
    pub caller: ForwardedUser,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Reads sessions. Questions that follow one another share a connection, so that the pool need not find out each time
/// whether it is alive.
pub struct SessionReader<'a> {
    store: &'a Store,
    /// Since when it is held.
    connection: Option<(Instant, Connection<'a>)>,
}

/// How often the idle clock of a session is written at most.
#[must_use]
pub fn touch_interval(idle_timeout: TimeDelta) -> TimeDelta {
    TOUCH.min(idle_timeout / 4)
}

/// What both stores read of a session. All sessions of a user tell one address, that of the newest: they share one entry
/// in memory.
macro_rules! callers {
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

const NATIVE: &str = callers!(
    "array(select organization_id from entraway.organization_members m where m.user_id = u.user_id order by 1)
        as organizations,
     array(select team_id from entraway.team_members m where m.user_id = u.user_id order by 1) as teams
     from entraway.sessions s
     join entraway.users u on u.user_id = s.user_id and u.tenant_id = s.tenant_id",
    "u.user_role"
);

/// Which teams a person is in: as on their own page.
const LITELLM: &str = callers!(
    r#"array(select organization_id from public."LiteLLM_OrganizationMembership" m where m.user_id = u.user_id order by 1)
        as organizations,
     array(select team_id from public."LiteLLM_TeamTable" t where t.team_id = any(u.teams) order by 1) as teams
     from entraway.sessions s
     join entraway.litellm_users p on p.object_id = s.user_id and p.tenant_id = s.tenant_id
     join public."LiteLLM_UserTable" u on u.user_id = p.user_id and p.object_id in (u.user_id, u.sso_user_id)"#,
    litellm_role!()
);

fn caller_session(row: &PgRow) -> Result<ForwardedSession, StoreError> {
    let user_id: &str = row.try_get("user_id")?;
    let object_id: ObjectId = user_id.parse().map_err(|_| StoreError::UserId)?;
    let tenant_id = TenantId::from(row.try_get::<uuid::Uuid, _>("tenant_id")?);
    let caller = ForwardedUser {
        identity: Identity { tenant_id, object_id },
        email: row.try_get("sign_in_address")?,
        display_name: row.try_get("user_alias")?,
        user_role: row.try_get("user_role")?,
        organizations: row.try_get("organizations")?,
        teams: row.try_get("teams")?,
    };
    Ok(ForwardedSession {
        caller,
        created_at: row.try_get("created_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}

impl Store {
    /// To read sessions, one question after the other.
    pub fn callers(&self) -> SessionReader<'_> {
        SessionReader { store: self, connection: None }
    }

    /// Moves the idle clocks of sessions, each given with when it was last seen, where that is due. They are good all the
    /// same: a standby, say, tells but does not write.
    pub async fn keep_alive(
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
            tracing::warn!("the idle clock of {} sessions was not written: {error}", hashes.len());
        }
    }

    /// Another replica may have done so meanwhile, or somebody holds a row: nobody who is signed in waits for that.
    async fn touch(&self, hashes: &[TokenHash], now: DateTime<Utc>, due: DateTime<Utc>) -> Result<(), StoreError> {
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
    /// The sessions of these tokens that are alive at `now`, in any order; one statement. What cannot be told of one of
    /// them is no error of the others.
    pub async fn read(
        &mut self,
        hashes: &[TokenHash],
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
    ) -> Result<Vec<(TokenHash, Result<ForwardedSession, StoreError>)>, StoreError> {
        let sql = match self.store.kind {
            StoreKind::Native => NATIVE,
            StoreKind::LiteLlm => LITELLM,
        };
        let query = sqlx::query(sql).bind(slices(hashes)).bind(now).bind(now - idle_timeout);
        // One that was held long enough is given back before another one is waited for.
        let held = self.connection.take().filter(|(since, _)| since.elapsed() < HELD);
        let (since, mut connection) = match held {
            Some((since, connection)) => (since, connection.used_again()),
            None => (Instant::now(), self.store.connection().await?),
        };
        let rows = query.fetch_all(&mut *connection).await?;
        connection.rests();
        // Only one that did not fail is used again.
        self.connection = Some((since, connection));
        rows.iter().map(|row| Ok((row.try_get("token_hash")?, caller_session(row)))).collect()
    }
}

fn slices(hashes: &[TokenHash]) -> Vec<&[u8]> {
    hashes.iter().map(|hash| &hash[..]).collect()
}
