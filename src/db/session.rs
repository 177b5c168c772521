//! Opens, lists and ends sessions.
//!
//! Every statement that ends a session notifies all replicas through `entraway.tell_sessions`.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row as _;

use super::apply::should_retry;
use super::sync_record::{bind_record, record};
use super::{Db, DbError};
use crate::domain::{Identity, ObjectId};
use crate::sync_run::SyncRun;

/// SHA-256 of a session token.
pub type TokenHash = [u8; 32];

/// A session to open.
pub struct NewSession {
    pub token_hash: TokenHash,
    pub identity: Identity,
    /// Address from the verified ID token, passed to upstreams.
    pub sign_in_address: Option<String>,
    pub sid: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// The browser's previous sessions, which end.
    pub replaces: Vec<TokenHash>,
    /// Maximum number of active sessions per user; the oldest end first.
    pub max_sessions: u32,
    /// Sessions last used before this time have expired.
    pub idle_cutoff: DateTime<Utc>,
}

/// Which users' sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOwner {
    One(ObjectId),
    All,
}

/// An active session as operators see it. Contains nothing that can be used to sign in.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SessionRow {
    /// First half of the token hash, in hexadecimal.
    pub session: String,
    pub user_id: String,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl SessionOwner {
    fn user_id(self) -> Option<String> {
        match self {
            Self::One(user) => Some(user.to_string()),
            Self::All => None,
        }
    }
}

impl Db {
    /// Opens a session, ends the sessions it replaces and those beyond the limit, and stores the sync record.
    ///
    /// One statement, retried if it loses a race. Returns the users whose sessions ended.
    pub async fn open_session(&self, session: &NewSession, run: &SyncRun) -> Result<Vec<ObjectId>, DbError> {
        let mut attempts = 0;
        loop {
            let outcome = self.open_session_once(session, run).await;
            if !should_retry(&mut attempts, &outcome) {
                return outcome;
            }
        }
    }

    async fn open_session_once(&self, session: &NewSession, run: &SyncRun) -> Result<Vec<ObjectId>, DbError> {
        let query = sqlx::query(record!(
            ", opened as (
                insert into entraway.sessions
                    (token_hash, user_id, tenant_id, sid, created_at, last_seen_at, expires_at, sign_in_address)
                values ($28, $1, $2, $29, $30, $30, $31, $35)
                returning user_id
            ), ended as materialized (
                select entraway.end_other_sessions(user_id, $28, $32, $33, $30, $34) as whose from opened
            ), notified as materialized (
                select entraway.tell_sessions(whose) from ended where whose <> '{}'
            )
            select whose, (select count(*) from notified) from ended"
        ));
        let row = bind_record(query, session.identity, run)
            .bind(&session.token_hash[..])
            .bind(&session.sid)
            .bind(session.created_at)
            .bind(session.expires_at)
            .bind(session.replaces.iter().map(|hash| &hash[..]).collect::<Vec<_>>())
            .bind(i32::try_from(session.max_sessions).unwrap_or(i32::MAX))
            .bind(session.idle_cutoff)
            .bind(&session.sign_in_address)
            .fetch_one(&mut *self.connection_to_write().await?)
            .await?;
        Ok(object_ids(&row.try_get::<Vec<String>, _>("whose")?))
    }

    /// Ends sessions. Returns their users.
    pub async fn end_sessions(&self, hashes: &[TokenHash]) -> Result<Vec<ObjectId>, DbError> {
        let hashes: Vec<&[u8]> = hashes.iter().map(|hash| &hash[..]).collect();
        let ended = sqlx::query_scalar(
            "with ended as (delete from entraway.sessions where token_hash = any($1) returning user_id),
                  notified as (select entraway.tell_sessions(array(select user_id from ended)))
             select user_id from ended cross join notified",
        )
        .bind(hashes)
        .fetch_all(&mut *self.connection_to_write().await?)
        .await?;
        Ok(object_ids(&ended))
    }

    /// Ends the sessions of an Entra session (the `sid` claim). Returns their users.
    pub async fn end_sessions_of_sid(&self, sid: &str) -> Result<Vec<ObjectId>, DbError> {
        let ended = sqlx::query_scalar(
            "with ended as (delete from entraway.sessions where sid = $1 returning user_id),
                  notified as (select entraway.tell_sessions(array(select user_id from ended)))
             select user_id from ended cross join notified",
        )
        .bind(sid)
        .fetch_all(&mut *self.connection_to_write().await?)
        .await?;
        Ok(object_ids(&ended))
    }

    /// Ends all sessions of an identity and returns their number. A user of another tenant with the same object ID
    /// keeps theirs.
    pub async fn end_sessions_of_identity(&self, identity: Identity) -> Result<usize, DbError> {
        let mut attempts = 0;
        loop {
            let outcome = self.end_sessions_of_identity_once(identity).await;
            if !should_retry(&mut attempts, &outcome) {
                return outcome;
            }
        }
    }

    async fn end_sessions_of_identity_once(&self, identity: Identity) -> Result<usize, DbError> {
        let ended: i64 = sqlx::query_scalar(
            "with to_end as materialized (
                select token_hash from entraway.sessions
                where user_id = $1 and tenant_id = $2 order by token_hash for update
             ), ended as (
                delete from entraway.sessions where token_hash in (select token_hash from to_end) returning user_id
             ), notified as materialized (select entraway.tell_sessions(array(select user_id from ended)))
             select (select count(*) from ended) from notified",
        )
        .bind(identity.object_id.to_string())
        .bind(identity.tenant_id.as_uuid())
        .fetch_one(&mut *self.connection_to_write().await?)
        .await?;
        Ok(usize::try_from(ended).unwrap_or_default())
    }

    /// Ends sessions, active or expired. Returns their number.
    pub async fn revoke_sessions(&self, whose: SessionOwner) -> Result<i64, DbError> {
        let ended = sqlx::query_scalar(
            "with ended as (
                delete from entraway.sessions where $1::text is null or user_id = $1 returning user_id
             ), notified as (select entraway.tell_sessions(array(select user_id from ended)))
             select (select count(*) from ended) from notified",
        )
        .bind(whose.user_id())
        .fetch_one(&mut *self.connection_to_write().await?)
        .await?;
        Ok(ended)
    }

    /// Ends a user's session by its name in [`SessionRow`]. Returns whether it existed.
    pub async fn end_session_of(&self, user: ObjectId, session: &str) -> Result<bool, DbError> {
        let ended: i64 = sqlx::query_scalar(
            "with ended as (
                delete from entraway.sessions
                where user_id = $1 and encode(substring(token_hash for 16), 'hex') = $2 returning user_id
             ), notified as (select entraway.tell_sessions(array(select user_id from ended)))
             select (select count(*) from ended) from notified",
        )
        .bind(user.to_string())
        .bind(session)
        .fetch_one(&mut *self.connection_to_write().await?)
        .await?;
        Ok(ended > 0)
    }

    /// Active sessions at `now`, newest first, at most `limit`.
    pub async fn list_sessions(
        &self,
        whose: SessionOwner,
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
        limit: u32,
    ) -> Result<Vec<SessionRow>, DbError> {
        let rows = sqlx::query_as(
            "select encode(substring(token_hash for 16), 'hex') as session, user_id, created_at, last_seen_at, expires_at
             from entraway.sessions
             where ($1::text is null or user_id = $1) and expires_at > $2 and last_seen_at > $3
             order by created_at desc, token_hash limit $4",
        )
        .bind(whose.user_id())
        .bind(now)
        .bind(now - idle_timeout)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        Ok(rows)
    }
}

/// Sessions belong to object IDs only.
fn object_ids(user_ids: &[String]) -> Vec<ObjectId> {
    user_ids.iter().filter_map(|id| id.parse().ok()).collect()
}
