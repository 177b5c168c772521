//! Everything that `GET /api/me` returns about a session.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::roles::litellm_role;
use super::session::TokenHash;
use super::{Db, DbError};
use crate::domain::StoreKind;

/// A session with its user, organizations, teams and last sync.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Me {
    pub user: MeUser,
    pub organizations: Vec<MeOrganization>,
    pub teams: Vec<MeTeam>,
    pub session: MeSession,
    pub last_sync: Option<LastSync>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeUser {
    pub user_id: String,
    pub tenant_id: String,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub user_role: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeOrganization {
    pub organization_id: String,
    pub organization_alias: String,
    pub user_role: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeTeam {
    pub team_id: String,
    pub team_alias: String,
    pub organization_id: Option<String>,
    pub role: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeSession {
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Sync record of the user's last sign-in. Of created groups and failures it contains only the number, because they may
/// belong to other users.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastSync {
    pub started_at: DateTime<Utc>,
    /// `known`, `unknown` or `not_configured`.
    pub assigned_groups: String,
    /// `known` or `unknown`.
    pub member_of: String,
    pub organizations_created: i64,
    pub teams_created: i64,
    /// IDs of organizations that the user was added to.
    pub organizations_joined: Vec<String>,
    pub teams_joined: Vec<String>,
    /// IDs of organizations that the user was removed from.
    pub removed_from_organizations: Vec<String>,
    pub removed_from_teams: Vec<String>,
    pub user_created: bool,
    /// The user's row or one of the user's roles changed.
    pub user_updated: bool,
    /// Number of organizations and teams that could not be created.
    pub failures: i64,
}

/// Query for an active session with everything about its user.
///
/// `u` is the user's row, joined by `$user`. `$organizations` joins organizations `o` with memberships `m`, `$teams`
/// joins teams `t`, and `$team_role` is the role in a team.
macro_rules! session_query {
    ($role:expr, $user:literal, $organizations:literal, $teams:literal, $team_role:literal) => {
        concat!(
            "select s.last_seen_at, json_build_object(
                'session', json_build_object('created_at', s.created_at, 'expires_at', s.expires_at),
                'user', json_build_object('user_id', u.user_id, 'tenant_id', s.tenant_id, 'email', u.user_email,
                                          'display_name', u.user_alias, 'user_role', ",
            $role,
            "),
                'organizations',
                (select coalesce(json_agg(json_build_object('organization_id', o.organization_id,
                            'organization_alias', o.organization_alias, 'user_role', m.user_role)
                            order by o.organization_alias, o.organization_id), '[]')
                 from ",
            $organizations,
            "),
                'teams',
                (select coalesce(json_agg(json_build_object('team_id', t.team_id,
                            'team_alias', coalesce(t.team_alias, t.team_id),
                            'organization_id', t.organization_id, 'role', ",
            $team_role,
            ")
                            order by t.team_alias, t.team_id), '[]')
                 from ",
            $teams,
            "),
                'last_sync',
                (select json_build_object('started_at', r.started_at, 'assigned_groups', r.assigned_groups,
                            'member_of', r.member_of, 'organizations_created', cardinality(r.organizations_created),
                            'teams_created', cardinality(r.teams_created),
                            'organizations_joined', r.organizations_joined, 'teams_joined', r.teams_joined,
                            'removed_from_organizations', r.removed_from_organizations, 'removed_from_teams', r.removed_from_teams,
                            'user_created', r.user_created, 'user_updated', r.user_updated,
                            'failures', jsonb_array_length(r.failures))
                 from entraway.sync_runs r
                 where r.user_id = s.user_id and r.tenant_id = s.tenant_id and r.outcome = 'signed_in'
                 order by r.started_at desc limit 1)
             )
             from entraway.sessions s join ",
            $user,
            "
             where s.token_hash = $1 and s.expires_at > $2 and s.last_seen_at > $3"
        )
    };
}

const NATIVE_SESSION: &str = session_query!(
    "u.user_role",
    "entraway.users u on u.user_id = s.user_id and u.tenant_id = s.tenant_id",
    "entraway.organization_members m join entraway.organizations o using (organization_id)
     where m.user_id = u.user_id",
    "entraway.team_members m join entraway.teams t using (team_id) where m.user_id = u.user_id",
    "m.role"
);

/// Team memberships come from the user's row, as on LiteLLM's own pages.
const LITELLM_SESSION: &str = session_query!(
    litellm_role!(),
    r#"entraway.litellm_users p on p.object_id = s.user_id and p.tenant_id = s.tenant_id
       join public."LiteLLM_UserTable" u on u.user_id = p.user_id and p.object_id in (u.user_id, u.sso_user_id)"#,
    r#"public."LiteLLM_OrganizationMembership" m join public."LiteLLM_OrganizationTable" o using (organization_id)
       where m.user_id = u.user_id"#,
    r#"public."LiteLLM_TeamTable" t where t.team_id = any(u.teams)"#,
    "case when t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', u.user_id, 'role', 'admin'))
          then 'admin' else 'user' end"
);

impl Db {
    /// Loads an active session with everything about its user. One statement, and at most once a minute a second one
    /// that updates `last_seen_at`.
    pub async fn session(
        &self,
        hash: &TokenHash,
        now: DateTime<Utc>,
        idle_timeout: TimeDelta,
    ) -> Result<Option<Me>, DbError> {
        let row: Option<(DateTime<Utc>, Json<Me>)> = sqlx::query_as(match self.kind {
            StoreKind::Native => NATIVE_SESSION,
            StoreKind::LiteLlm => LITELLM_SESSION,
        })
        .bind(&hash[..])
        .bind(now)
        .bind(now - idle_timeout)
        .fetch_optional(&mut *self.connection().await?)
        .await?;
        let Some((last_seen_at, Json(me))) = row else { return Ok(None) };
        self.touch_sessions(&[(*hash, last_seen_at)], now, idle_timeout).await;
        Ok(Some(me))
    }
}
