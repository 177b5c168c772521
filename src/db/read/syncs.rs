//! Sync records and the numbers of the sign-in chart.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use super::list::{Builder, ListSource, Page, PageRequest, Sort};
use crate::db::{Db, DbError};

/// Filter for sync records.
#[derive(Clone, Debug, Default)]
pub struct SyncFilter {
    /// Object ID of the user.
    pub object_id: Option<String>,
    /// Key of the user's row. An object ID alone is not enough: another tenant's administrator can choose it, and the
    /// attempt is recorded under that ID.
    pub user_id: Option<String>,
    /// Records that mention this group.
    pub group: Option<String>,
    /// Records with a denial, an unknown list or a rejected row.
    pub troubled: bool,
}

/// Sync record of one sign-in.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct SyncRow {
    #[sqlx(rename = "id")]
    pub run_id: String,
    pub object_id: String,
    pub tenant_id: Uuid,
    /// Key of the user's row; `None` if there is none.
    pub user_id: Option<String>,
    pub name: Option<String>,
    pub started_at: DateTime<Utc>,
    /// `signed_in`, or the reason of the denial.
    pub outcome: String,
    /// `known`, `unknown`, `not_configured` or `not_read`.
    pub assigned_groups: String,
    pub assigned_groups_read: Option<i32>,
    pub assigned_groups_why: Option<String>,
    pub member_of: String,
    pub member_of_read: Option<i32>,
    pub member_of_why: Option<String>,
    pub organizations_created: Vec<String>,
    pub teams_created: Vec<String>,
    pub organizations_joined: Vec<String>,
    pub teams_joined: Vec<String>,
    /// Teams that the user was removed from.
    pub removed_from_teams: Vec<String>,
    pub removed_from_organizations: Vec<String>,
    /// Number of the user's LiteLLM keys that were blocked with the removal.
    pub keys_blocked: i32,
    /// Teams whose models were updated to their organization's.
    pub team_models_updated: Vec<String>,
    pub user_created: bool,
    pub user_updated: bool,
    /// Changed roles: the user's own and those in organizations.
    #[sqlx(json)]
    pub role_changes: Vec<RoleChange>,
    #[sqlx(json)]
    pub failures: Vec<FailedGroup>,
    /// What was left alone, and why. Each entry has the key `note`.
    pub notes: Json<serde_json::Value>,
    /// How often the transaction lost a race and was retried.
    pub retries: i32,
    pub entra_ms: Option<f64>,
    pub graph_ms: f64,
    pub plan_ms: Option<f64>,
    pub store_ms: f64,
}

impl SyncRow {
    /// Whether the sign-in was denied, a list was unknown, or a row was rejected.
    #[must_use]
    pub fn troubled(&self) -> bool {
        self.outcome != "signed_in"
            || self.assigned_groups == "unknown"
            || self.member_of == "unknown"
            || !self.failures.is_empty()
    }
}

/// A row that the database rejected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailedGroup {
    /// `organization` or `team`.
    pub kind: String,
    pub id: Option<String>,
    pub alias: Option<String>,
    pub why: Option<String>,
}

/// A role that a sign-in changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoleChange {
    /// `global`, or an organization's id.
    pub scope: String,
    /// `None` if there was no role or no account.
    pub before: Option<String>,
    pub after: String,
}

/// Number of sign-ins in an hour.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Hour {
    /// Start of the hour.
    pub hour: DateTime<Utc>,
    pub all: i64,
    /// Sign-ins with a problem.
    pub troubled: i64,
}

/// As in the partial index.
macro_rules! troubled {
    () => {
        "(r.outcome <> 'signed_in' or r.assigned_groups = 'unknown' or r.member_of = 'unknown' or r.failures <> '[]')"
    };
}

const SYNCS: ListSource = ListSource {
    columns: "r.user_id as object_id, r.tenant_id, u.user_id,
              coalesce(nullif(u.user_alias, ''), u.user_email, u.user_id) as name, r.started_at, r.outcome,
              r.assigned_groups, r.assigned_groups_read, r.assigned_groups_why,
              r.member_of, r.member_of_read, r.member_of_why,
              r.organizations_created, r.teams_created, r.organizations_joined, r.teams_joined,
              r.removed_from_teams, r.removed_from_organizations, r.keys_blocked, r.team_models_updated, r.user_created, r.user_updated, r.role_changes, r.failures, r.notes, r.retries,
              r.entra_ms, r.graph_ms, r.plan_ms, r.store_ms",
    from: "entraway.sync_runs r left join identities u on u.object_id = r.user_id and u.tenant_id = r.tenant_id",
    id: "r.run_id",
    name: "r.user_id",
    created: "r.started_at",
    words: "entraway.words(r.user_id)",
    records: true,
};

impl Db {
    /// A page of the records that match a filter, newest first.
    pub async fn syncs(&self, filter: &SyncFilter, request: &PageRequest) -> Result<Page<SyncRow>, DbError> {
        let only = |query: &mut Builder| {
            if let Some(object_id) = &filter.object_id {
                query.push(" and r.user_id = ").push_bind(object_id.clone());
            }
            if let Some(user_id) = &filter.user_id {
                query.push(" and u.user_id = ").push_bind(user_id.clone());
            }
            if let Some(group) = &filter.group {
                query.push(" and r.touched <> '{}' and r.touched @> array[").push_bind(group.clone()).push("]");
            }
            if filter.troubled {
                query.push(concat!(" and ", troubled!()));
            }
        };
        self.list(&SYNCS, &PageRequest { sort: Sort::Newest, search: None, ..request.clone() }, only).await
    }

    /// When the user last signed in with all groups known.
    pub async fn last_known_sync(&self, object_id: &str, tenant_id: Uuid) -> Result<Option<DateTime<Utc>>, DbError> {
        let sql = "select max(started_at) from entraway.sync_runs
                   where user_id = $1 and tenant_id = $2 and outcome = 'signed_in' and member_of = 'known' and assigned_groups <> 'unknown'";
        Ok(sqlx::query_scalar(sql).bind(object_id).bind(tenant_id).fetch_one(&mut *self.connection().await?).await?)
    }

    /// Sign-ins per hour since a time. Hours without sign-ins are left out.
    pub async fn hours(&self, since: DateTime<Utc>) -> Result<Vec<Hour>, DbError> {
        let sql = concat!(
            "select date_trunc('hour', r.started_at, 'UTC') as hour, count(*) as all, count(*) filter (where ",
            troubled!(),
            ") as troubled
             from entraway.sync_runs r where r.started_at >= $1 group by 1 order by 1"
        );
        Ok(sqlx::query_as(sql).bind(since).fetch_all(&mut *self.connection().await?).await?)
    }

    /// Names of existing teams and organizations by ID.
    pub async fn group_names(&self, ids: &[String]) -> Result<BTreeMap<String, String>, DbError> {
        let sql = "
            select organization_id, organization_alias from organizations where organization_id = any($1)
            union all select team_id, team_alias from teams where team_id = any($1)";
        let query = sqlx::query_as(self.over_relations(sql)).bind(ids);
        let names: Vec<(String, String)> = query.fetch_all(&mut *self.connection().await?).await?;
        Ok(names.into_iter().collect())
    }
}
