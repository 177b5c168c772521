//! Opening, listing and ending sessions. Every statement that ends one tells all replicas: `entraway.tell_sessions`.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row as _;

use super::apply::try_again;
use super::sync_record::{SyncRun, bind_record, record};
use super::{Store, StoreError};
use crate::domain::{Identity, ObjectId};

/// The SHA-256 of a session's token.
pub type TokenHash = [u8; 32];

/// A session to open.
pub struct NewSession {
    pub token_hash: TokenHash,
    pub identity: Identity,
    /// From the verified ID token: what upstreams are told as the user's address.
    pub sign_in_address: Option<String>,
    pub sid: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// The session that this browser had before: it ends.
    pub replaces: Vec<TokenHash>,
    /// A person has at most so many that are alive; beyond that the oldest ends.
    pub most: u32,
    /// Sessions that were last used before this are not alive.
    pub idle_since: DateTime<Utc>,
}

/// Whose sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    One(ObjectId),
    All,
}

/// A session that is alive, as an operator may see it: nothing in it opens a door.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SessionRow {
    /// The first half of the token's hash, in hexadecimal.
    pub session: String,
    pub user_id: String,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl Whose {
    fn user_id(self) -> Option<String> {
        match self {
            Self::One(person) => Some(person.to_string()),
            Self::All => None,
        }
    }
}

impl Store {
    /// Opens a session, ends the one it replaces and what the person has too many of, and keeps the sync record: one
    /// statement, tried again where it lost a race. Gives whose sessions ended.
    pub async fn open_session(&self, session: &NewSession, run: &SyncRun) -> Result<Vec<ObjectId>, StoreError> {
        let mut tries = 0;
        loop {
            let outcome = self.open_session_once(session, run).await;
            if !try_again(&mut tries, &outcome) {
                return outcome;
            }
        }
    }

    async fn open_session_once(&self, session: &NewSession, run: &SyncRun) -> Result<Vec<ObjectId>, StoreError> {
        let query = sqlx::query(record!(
            ", opened as (
                insert into entraway.sessions
                    (token_hash, user_id, tenant_id, sid, created_at, last_seen_at, expires_at, sign_in_address)
                values ($28, $1, $2, $29, $30, $30, $31, $35)
                returning user_id
            ), ended as materialized (
                select entraway.end_other_sessions(user_id, $28, $32, $33, $30, $34) as whose from opened
            ), told as materialized (
                select entraway.tell_sessions(whose) from ended where whose <> '{}'
            )
            select whose, (select count(*) from told) from ended"
        ));
        let row = bind_record(query, session.identity, run)
            .bind(&session.token_hash[..])
            .bind(&session.sid)
            .bind(session.created_at)
            .bind(session.expires_at)
            .bind(session.replaces.iter().map(|hash| &hash[..]).collect::<Vec<_>>())
            .bind(i32::try_from(session.most).unwrap_or(i32::MAX))
            .bind(session.idle_since)
            .bind(&session.sign_in_address)
            .fetch_one(&mut *self.connection_to_write().await?)
            .await?;
        Ok(people(&row.try_get::<Vec<String>, _>("whose")?))
    }

    /// Ends sessions; gives whose they were.
    pub async fn end_sessions(&self, hashes: &[TokenHash]) -> Result<Vec<ObjectId>, StoreError> {
        let hashes: Vec<&[u8]> = hashes.iter().map(|hash| &hash[..]).collect();
        let ended = sqlx::query_scalar(
            "with ended as (delete from entraway.sessions where token_hash = any($1) returning user_id),
                  told as (select entraway.tell_sessions(array(select user_id from ended)))
             select user_id from ended cross join told",
        )
        .bind(hashes)
        .fetch_all(&mut *self.connection_to_write().await?)
        .await?;
        Ok(people(&ended))
    }

    /// Ends the sessions that were opened in one session of Entra's, its `sid`; gives whose they were.
    pub async fn end_sessions_of_sid(&self, sid: &str) -> Result<Vec<ObjectId>, StoreError> {
        let ended = sqlx::query_scalar(
            "with ended as (delete from entraway.sessions where sid = $1 returning user_id),
                  told as (select entraway.tell_sessions(array(select user_id from ended)))
             select user_id from ended cross join told",
        )
        .bind(sid)
        .fetch_all(&mut *self.connection_to_write().await?)
        .await?;
        Ok(people(&ended))
    }

    /// Ends the sessions of an identity; another tenant's user of the same object id keeps theirs. Gives how many there
    /// were.
    pub async fn end_sessions_of_identity(&self, identity: Identity) -> Result<usize, StoreError> {
        let mut tries = 0;
        loop {
            let outcome = self.end_sessions_of_identity_once(identity).await;
            if !try_again(&mut tries, &outcome) {
                return outcome;
            }
        }
    }

    async fn end_sessions_of_identity_once(&self, identity: Identity) -> Result<usize, StoreError> {
        let ended: i64 = sqlx::query_scalar(
            "with doomed as materialized (
                select token_hash from entraway.sessions
                where user_id = $1 and tenant_id = $2 order by token_hash for update
             ), ended as (
                delete from entraway.sessions where token_hash in (select token_hash from doomed) returning user_id
             ), told as materialized (select entraway.tell_sessions(array(select user_id from ended)))
             select (select count(*) from ended) from told",
        )
        .bind(identity.object_id.to_string())
        .bind(identity.tenant_id.as_uuid())
        .fetch_one(&mut *self.connection_to_write().await?)
        .await?;
        Ok(usize::try_from(ended).unwrap_or_default())
    }

    /// Ends sessions of whomever, alive or not; gives how many there were.
    pub async fn revoke_sessions(&self, whose: Whose) -> Result<i64, StoreError> {
        let ended = sqlx::query_scalar(
            "with ended as (
                delete from entraway.sessions where $1::text is null or user_id = $1 returning user_id
             ), told as (select entraway.tell_sessions(array(select user_id from ended)))
             select (select count(*) from ended) from told",
        )
        .bind(whose.user_id())
        .fetch_one(&mut *self.connection_to_write().await?)
        .await?;
        Ok(ended)
    }

    /// Ends the session that `list_sessions` calls so, if it is this person's; gives whether there was one.
    pub async fn end_session_of(&self, person: ObjectId, session: &str) -> Result<bool, StoreError> {
        let ended: i64 = sqlx::query_scalar(
            "with ended as (
                delete from entraway.sessions
                where user_id = $1 and encode(substring(token_hash for 16), 'hex') = $2 returning user_id
             ), told as (select entraway.tell_sessions(array(select user_id from ended)))
             select (select count(*) from ended) from told",
        )
        .bind(person.to_string())
        .bind(session)
        .fetch_one(&mut *self.connection_to_write().await?)
        .await?;
        Ok(ended > 0)
    }

    /// The sessions that are alive at `now`, the newest first; at most `most` of them.
    pub async fn list_sessions(
        &self,
        whose: Whose,
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
        most: u32,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let rows = sqlx::query_as(
            "select encode(substring(token_hash for 16), 'hex') as session, user_id, created_at, last_seen_at, expires_at
             from entraway.sessions
             where ($1::text is null or user_id = $1) and expires_at > $2 and last_seen_at > $3
             order by created_at desc, token_hash limit $4",
        )
        .bind(whose.user_id())
        .bind(now)
        .bind(now - idle_timeout)
        .bind(i64::from(most))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        Ok(rows)
    }
}

/// Sessions are of object ids alone.
fn people(user_ids: &[String]) -> Vec<ObjectId> {
    user_ids.iter().filter_map(|id| id.parse().ok()).collect()
}
