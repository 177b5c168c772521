//! Sessions, the sign-in attempts that were used up, and the key that seals cookies: ours with every store.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::types::Json;

use super::sync_run::{ListRecord, SyncRun, milliseconds, texts};
use super::{Store, StoreError};
use crate::domain::{Identity, StoreKind};

/// The SHA-256 of a session's token.
pub type TokenHash = [u8; 32];

/// The idle clock is written at most this often, or four times in an idle time-out that is short.
const TOUCH: TimeDelta = TimeDelta::minutes(1);

/// How long sync records are kept.
const RECORDS_KEPT: TimeDelta = TimeDelta::days(90);

/// A session to open.
pub struct NewSession {
    pub token_hash: TokenHash,
    pub identity: Identity,
    pub sid: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// The session that this browser had before: it ends.
    pub replaces: Vec<TokenHash>,
}

/// All that `GET /api/me` tells of a session and its person.
#[derive(Clone, Debug, Serialize)]
pub struct Me {
    pub user: UserOfMe,
    pub organizations: Vec<OrganizationOfMe>,
    pub teams: Vec<TeamOfMe>,
    pub session: SessionOfMe,
    pub last_sync: Option<LastSync>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserOfMe {
    pub user_id: String,
    pub tenant_id: String,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub user_role: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrganizationOfMe {
    pub organization_id: String,
    pub organization_alias: String,
    pub user_role: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TeamOfMe {
    pub team_id: String,
    pub team_alias: String,
    pub organization_id: Option<String>,
    pub role: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct SessionOfMe {
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// The person's newest sync record, as far as it is theirs: of other people's groups, and of what the database said, only
/// how many.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastSync {
    pub started_at: DateTime<Utc>,
    /// `known`, `unknown` or `not_configured`.
    pub assigned_groups: String,
    /// `known` or `unknown`.
    pub member_of: String,
    pub organizations_created: i64,
    pub teams_created: i64,
    /// The ids of those that the person joined.
    pub organizations_joined: Vec<String>,
    pub teams_joined: Vec<String>,
    pub user_created: bool,
    /// The person's own data changed, or a role of theirs.
    pub user_updated: bool,
    /// Organizations and teams that could not be created.
    pub failures: i64,
}

/// A session, if it is alive, with everything about its person. `u` is their row, `user` says from where; the others
/// give their organizations `o` with the membership `m`, and their teams `t` with the role in it.
macro_rules! session_query {
    ($user:literal, $organizations:literal, $teams:literal, $team_role:literal) => {
        concat!(
            "select s.created_at, s.last_seen_at, s.expires_at,
                json_build_object('user_id', u.user_id, 'tenant_id', s.tenant_id, 'email', u.user_email,
                                  'display_name', u.user_alias, 'user_role', u.user_role) as person,
                (select coalesce(json_agg(json_build_object('organization_id', o.organization_id,
                            'organization_alias', o.organization_alias, 'user_role', m.user_role)
                            order by o.organization_alias, o.organization_id), '[]')
                 from ",
            $organizations,
            ") as organizations,
                (select coalesce(json_agg(json_build_object('team_id', t.team_id,
                            'team_alias', coalesce(t.team_alias, t.team_id),
                            'organization_id', t.organization_id, 'role', ",
            $team_role,
            ")
                            order by t.team_alias, t.team_id), '[]')
                 from ",
            $teams,
            ") as teams,
                (select json_build_object('started_at', r.started_at, 'assigned_groups', r.assigned_groups,
                            'member_of', r.member_of, 'organizations_created', cardinality(r.organizations_created),
                            'teams_created', cardinality(r.teams_created),
                            'organizations_joined', r.organizations_joined, 'teams_joined', r.teams_joined,
                            'user_created', r.user_created, 'user_updated', r.user_updated,
                            'failures', jsonb_array_length(r.failures))
                 from entraway.sync_runs r
                 where r.user_id = s.user_id order by r.started_at desc limit 1) as last_sync
             from entraway.sessions s join ",
            $user,
            "
             where s.token_hash = $1 and s.expires_at > $2 and s.last_seen_at > $3"
        )
    };
}

const NATIVE_SESSION: &str = session_query!(
    "entraway.users u on u.user_id = s.user_id and u.tenant_id = s.tenant_id",
    "entraway.organization_members m join entraway.organizations o using (organization_id)
     where m.user_id = u.user_id",
    "entraway.team_members m join entraway.teams t using (team_id) where m.user_id = u.user_id",
    "m.role"
);

/// Which teams a person is in the proxy's own pages take from the person's row, too.
const LITELLM_SESSION: &str = session_query!(
    r#"entraway.litellm_users p on p.object_id = s.user_id and p.tenant_id = s.tenant_id
       join public."LiteLLM_UserTable" u on u.user_id = p.user_id and p.object_id in (u.user_id, u.sso_user_id)"#,
    r#"public."LiteLLM_OrganizationMembership" m join public."LiteLLM_OrganizationTable" o using (organization_id)
       where m.user_id = u.user_id"#,
    r#"public."LiteLLM_TeamTable" t where t.team_id = any(u.teams)"#,
    "case when t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', u.user_id, 'role', 'admin'))
          then 'admin' else 'user' end"
);

impl Store {
    /// Opens a session, ends the one it replaces, and keeps the sync record: one statement.
    pub async fn open_session(&self, session: &NewSession, run: &SyncRun) -> Result<(), StoreError> {
        let assigned = ListRecord::new(run.directory.assigned.as_ref());
        let member_of = ListRecord::new(Some(&run.directory.member_of));
        sqlx::query(
            "with run as (
                insert into entraway.sync_runs
                    (user_id, tenant_id, started_at,
                     assigned_groups, assigned_groups_read, assigned_groups_why, member_of, member_of_read, member_of_why,
                     organizations_created, teams_created, organizations_joined, teams_joined,
                     user_created, user_updated, failures, notes, retries, graph_ms, store_ms)
                values ($1, $2, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)
            ), replaced as (
                delete from entraway.sessions where token_hash = any($7)
            )
            insert into entraway.sessions (token_hash, user_id, tenant_id, sid, created_at, last_seen_at, expires_at)
            values ($3, $1, $2, $4, $5, $5, $6)",
        )
        .bind(session.identity.object_id.to_string())
        .bind(session.identity.tenant_id.as_uuid())
        .bind(&session.token_hash[..])
        .bind(&session.sid)
        .bind(session.created_at)
        .bind(session.expires_at)
        .bind(session.replaces.iter().map(|hash| &hash[..]).collect::<Vec<_>>())
        .bind(run.started_at)
        .bind(assigned.state)
        .bind(assigned.read)
        .bind(assigned.why)
        .bind(member_of.state)
        .bind(member_of.read)
        .bind(member_of.why)
        .bind(texts(&run.applied.organizations_created))
        .bind(texts(&run.applied.teams_created))
        .bind(texts(&run.applied.organizations_joined))
        .bind(texts(&run.applied.teams_joined))
        .bind(run.applied.user_created)
        .bind(run.applied.user_updated)
        .bind(Json(&run.applied.failures))
        .bind(Json(&run.notes))
        .bind(i32::try_from(run.applied.retries).unwrap_or(i32::MAX))
        .bind(milliseconds(run.graph_time))
        .bind(milliseconds(run.store_time))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The session of a token, if it is alive at `now`, with everything about its person; one statement, and at most
    /// once a minute a second that moves the idle clock.
    pub async fn session(
        &self,
        hash: &TokenHash,
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
    ) -> Result<Option<Me>, StoreError> {
        let row = sqlx::query(match self.kind {
            StoreKind::Native => NATIVE_SESSION,
            StoreKind::LiteLlm => LITELLM_SESSION,
        })
        .bind(&hash[..])
        .bind(now)
        .bind(now - idle_timeout)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let last_seen_at: DateTime<Utc> = row.try_get("last_seen_at")?;
        if last_seen_at < now - TOUCH.min(idle_timeout / 4) {
            // The session is good all the same: a standby, say, tells but does not write.
            if let Err(error) = self.touch(hash, now).await {
                tracing::warn!("a session's idle clock was not written: {error}");
            }
        }
        let Json(user) = row.try_get("person")?;
        let Json(organizations) = row.try_get("organizations")?;
        let Json(teams) = row.try_get("teams")?;
        let last_sync: Option<Json<LastSync>> = row.try_get("last_sync")?;
        let session = SessionOfMe { created_at: row.try_get("created_at")?, expires_at: row.try_get("expires_at")? };
        Ok(Some(Me { user, organizations, teams, session, last_sync: last_sync.map(|Json(sync)| sync) }))
    }

    async fn touch(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("update entraway.sessions set last_seen_at = $2 where token_hash = $1 and last_seen_at < $2")
            .bind(&hash[..])
            .bind(now)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends sessions; tells nothing of whether there were any.
    pub async fn end_sessions(&self, hashes: &[TokenHash]) -> Result<(), StoreError> {
        let hashes: Vec<&[u8]> = hashes.iter().map(|hash| &hash[..]).collect();
        sqlx::query("delete from entraway.sessions where token_hash = any($1)")
            .bind(hashes)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Uses a sign-in attempt up, on all replicas; false where it was used up before.
    pub async fn use_attempt(&self, attempt_id: &str, expires_at: DateTime<Utc>) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "insert into entraway.used_attempts (attempt_id, expires_at) values ($1, $2) on conflict do nothing",
        )
        .bind(attempt_id)
        .bind(expires_at)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The key that all replicas seal cookies with: the one in the table, or `fresh` if there is none yet.
    pub async fn cookie_key(&self, fresh: [u8; 64]) -> Result<[u8; 64], StoreError> {
        sqlx::query("insert into entraway.cookie_key (key) values ($1) on conflict do nothing")
            .bind(&fresh[..])
            .execute(&self.pool)
            .await?;
        let key: Vec<u8> = sqlx::query_scalar("select key from entraway.cookie_key").fetch_one(&self.pool).await?;
        key.try_into().map_err(|_| StoreError::CookieKey)
    }

    /// Deletes the sessions and attempts that are over, and the sync records that are old; gives how many rows went.
    pub async fn purge(&self, now: DateTime<Utc>, idle_timeout: TimeDelta) -> Result<i64, StoreError> {
        let rows = sqlx::query_scalar(
            "with sessions as (
                delete from entraway.sessions where expires_at < $1 or last_seen_at < $2 returning 1
            ), attempts as (
                delete from entraway.used_attempts where expires_at < $1 returning 1
            ), runs as (
                delete from entraway.sync_runs where started_at < $3 returning 1
            )
            select (select count(*) from sessions) + (select count(*) from attempts) + (select count(*) from runs)",
        )
        .bind(now)
        .bind(now - idle_timeout)
        .bind(now - RECORDS_KEPT)
        .fetch_one(&self.pool)
        .await?;
        Ok(rows)
    }
}
