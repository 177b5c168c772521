//! Opens, lists and ends sessions.
//!
//! Every statement that ends a session notifies all replicas through `entraway.tell_sessions`.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Postgres, QueryBuilder, Row as _};

use super::apply::should_retry;
use super::audit::{self, Revocation};
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

/// Which sessions to end, whether active or expired.
#[derive(Clone, Copy)]
pub enum SessionFilter<'a> {
    /// Those of this object ID, in any tenant.
    Of(SessionOwner),
    /// Those of this identity. A user of another tenant with the same object ID keeps theirs.
    Identity(Identity),
    /// A user's session with this name in [`SessionRow`].
    Named(ObjectId, &'a str),
    Tokens(&'a [TokenHash]),
    /// Those opened in one session of Entra's (`sid` claim).
    EntraSession(&'a str),
}

impl SessionFilter<'_> {
    /// The user, if the filter names one.
    #[must_use]
    pub fn user(self) -> Option<ObjectId> {
        match self {
            Self::Of(SessionOwner::One(user)) | Self::Named(user, _) => Some(user),
            Self::Identity(identity) => Some(identity.object_id),
            Self::Of(SessionOwner::All) | Self::Tokens(_) | Self::EntraSession(_) => None,
        }
    }
}

/// Sessions that ended.
#[derive(Debug)]
pub struct EndedSessions {
    /// Number of sessions. After [`Db::insert_session`] it is the number of users whose sessions ended.
    pub count: usize,
    /// The users of these sessions.
    pub users: Vec<ObjectId>,
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

impl Db {
    /// Inserts a session and the sync record, and ends the sessions that the session replaces and those beyond the limit.
    ///
    /// One statement, retried if it loses a race.
    pub async fn insert_session(&self, session: &NewSession, run: &SyncRun) -> Result<EndedSessions, DbError> {
        let mut attempts = 0;
        loop {
            let outcome = self.insert_session_once(session, run).await;
            if !should_retry(&mut attempts, &outcome) {
                return outcome;
            }
        }
    }

    async fn insert_session_once(&self, session: &NewSession, run: &SyncRun) -> Result<EndedSessions, DbError> {
        // The record binds the user ($1), the tenant ($2) and its other columns (to $31).
        let query = sqlx::query(record!(
            ", opened as (
                insert into entraway.sessions
                    (user_id, tenant_id, token_hash, sid, sign_in_address, created_at, last_seen_at, expires_at)
                values ($1, $2, $32, $33, $34, $35, $35, $36)
                returning user_id, token_hash, created_at
            ), ended as materialized (
                select entraway.end_other_sessions(user_id, token_hash, $37, $38, created_at, $39) as whose from opened
            ), notified as materialized (
                select entraway.tell_sessions(whose) from ended where whose <> '{}'
            )
            select whose as user_ids, cardinality(whose)::bigint as sessions, (select count(*) from notified) from ended"
        ));
        let query = bind_record(query, session.identity, run)
            .bind(&session.token_hash[..])
            .bind(&session.sid)
            .bind(&session.sign_in_address)
            .bind(session.created_at)
            .bind(session.expires_at)
            .bind(slices(&session.replaces))
            .bind(i32::try_from(session.max_sessions).unwrap_or(i32::MAX))
            .bind(session.idle_cutoff);
        self.fetch_ended(query).await
    }

    /// Ends sessions. With a revocation, it also inserts an audit event for each user whose sessions end.
    ///
    /// One statement, retried if it loses a race.
    pub async fn end_sessions(
        &self,
        which: SessionFilter<'_>,
        revocation: Option<&Revocation>,
    ) -> Result<EndedSessions, DbError> {
        let mut attempts = 0;
        loop {
            let outcome = self.fetch_ended(self.delete_sessions(which, revocation).build()).await;
            if !should_retry(&mut attempts, &outcome) {
                return outcome;
            }
        }
    }

    /// Deletes sessions and notifies all replicas.
    fn delete_sessions(&self, which: SessionFilter<'_>, revocation: Option<&Revocation>) -> QueryBuilder<Postgres> {
        let start = if revocation.is_some() { format!("{}, ", self.relations()) } else { "with ".to_owned() };
        let mut query = QueryBuilder::new(start);
        if matches!(which, SessionFilter::Of(SessionOwner::All)) {
            // Locks no rows first, which would take long; a deadlock is retried.
            query.push("ended as (delete from entraway.sessions returning user_id, tenant_id), ");
        } else {
            query.push("to_end as materialized (select token_hash from entraway.sessions where ");
            push_filter(&mut query, which);
            // Locks rows in the same order as `entraway.end_other_sessions`.
            query.push(
                " order by token_hash for update
                 ), ended as (
                    delete from entraway.sessions where token_hash in (select token_hash from to_end)
                    returning user_id, tenant_id
                 ), ",
            );
        }
        if let Some(revocation) = revocation {
            audit::push_revoked(&mut query, revocation);
        }
        query.push(NOTIFIED);
        query
    }

    async fn fetch_ended(&self, query: Query<'_, Postgres, PgArguments>) -> Result<EndedSessions, DbError> {
        let row = query.fetch_one(&mut *self.connection_to_write().await?).await?;
        // Sessions belong to object IDs only.
        let users = row.try_get::<Vec<String>, _>("user_ids")?.iter().filter_map(|id| id.parse().ok()).collect();
        let count = usize::try_from(row.try_get::<i64, _>("sessions")?).unwrap_or_default();
        Ok(EndedSessions { count, users })
    }

    /// Active sessions at `now`, newest first, at most `limit`.
    pub async fn list_sessions(
        &self,
        owner: SessionOwner,
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
        .bind(SessionFilter::Of(owner).user().map(|user| user.to_string()))
        .bind(now)
        .bind(now - idle_timeout)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection().await?)
        .await?;
        Ok(rows)
    }
}

/// Adds the condition for the sessions of a filter.
fn push_filter(query: &mut QueryBuilder<Postgres>, which: SessionFilter<'_>) {
    match which {
        SessionFilter::Of(SessionOwner::All) => query.push("true"),
        SessionFilter::Of(SessionOwner::One(user)) => query.push("user_id = ").push_bind(user.to_string()),
        SessionFilter::Identity(Identity { tenant_id, object_id }) => {
            query.push("user_id = ").push_bind(object_id.to_string());
            query.push(" and tenant_id = ").push_bind(tenant_id.as_uuid())
        }
        SessionFilter::Named(user, name) => {
            query.push("user_id = ").push_bind(user.to_string());
            query.push(" and encode(substring(token_hash for 16), 'hex') = ").push_bind(name.to_owned())
        }
        SessionFilter::Tokens(hashes) => {
            query.push("token_hash = any(").push_bind(hashes.iter().map(|hash| hash.to_vec()).collect::<Vec<_>>());
            query.push(")")
        }
        SessionFilter::EntraSession(sid) => query.push("sid = ").push_bind(sid.to_owned()),
    };
}

/// The end of the statement.
const NOTIFIED: &str = "notified as materialized (
            select entraway.tell_sessions(array(select user_id from ended))
         )
         select array(select distinct user_id from ended) as user_ids, (select count(*) from ended) as sessions
         from notified";

/// Token hashes as a parameter.
pub(super) fn slices(hashes: &[TokenHash]) -> Vec<&[u8]> {
    hashes.iter().map(|hash| &hash[..]).collect()
}
