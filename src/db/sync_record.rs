//! Sync records: one row per sign-in that Entra authenticated, whether allowed or denied.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::types::Json;
use sqlx::{Postgres, Row as _};

use super::apply::should_retry;
use super::{Db, DbError};
use crate::domain::{GroupId, Identity};
use crate::plan::{Directory, GroupList, Note, RoleScope};
use crate::sync_run::{Denial, SyncRun};

/// IDs of all groups and organizations that the record mentions.
fn touched(run: &SyncRun) -> Vec<String> {
    let applied = &run.applied;
    let sets = [&applied.organizations_created, &applied.teams_created, &applied.teams_joined];
    let failed = applied.failures.iter().map(|failure| &failure.id);
    let changed = applied.role_changes.iter().filter_map(|change| match &change.scope {
        RoleScope::Organization(id) => Some(id.clone()),
        RoleScope::Global => None,
    });
    let noted = run.notes.iter().filter_map(|note| match note {
        Note::TeamStaysStandalone { team } => Some(team.to_string()),
        Note::RemovalKept { id, .. } => Some(id.clone()),
        _ => None,
    });
    let updated = applied.team_models_updated.keys();
    let groups: BTreeSet<GroupId> = sets.into_iter().flatten().chain(updated).chain(failed).copied().collect();
    let organizations = applied.organizations_joined.iter().chain(&applied.removed_from_organizations);
    let left = applied.removed_from_teams.keys().chain(organizations).cloned();
    let ids = groups.iter().map(ToString::to_string).chain(left).chain(changed).chain(noted);
    ids.collect::<BTreeSet<String>>().into_iter().collect()
}

/// The user's groups with name and assignment. `None` if the list is unknown or belongs to a user of another
/// tenant.
fn known_groups(run: &SyncRun) -> Option<Json<BTreeMap<GroupId, GroupRecord<'_>>>> {
    if run.denial == Some(Denial::OtherTenant) {
        return None;
    }
    let directory = run.directory.as_ref()?;
    let GroupList::Known(member_of) = &directory.member_of else { return None };
    let assigned = |group: &GroupId| match &directory.assigned {
        Some(GroupList::Known(assigned)) => Some(assigned.contains_key(group)),
        _ => None,
    };
    let record = |(id, name): (&GroupId, _)| (*id, GroupRecord { name, assigned: assigned(id) });
    Some(Json(member_of.iter().map(record).collect()))
}
/// A stored group of the user.
#[derive(Serialize)]
struct GroupRecord<'a> {
    name: &'a Option<String>,
    assigned: Option<bool>,
}

/// State of a list in the record: its length if known, else the reason.
struct ListRecord<'a> {
    state: &'static str,
    read: Option<i32>,
    why: Option<&'a str>,
}

impl<'a> ListRecord<'a> {
    fn new(reading: Option<&'a GroupList>) -> Self {
        match reading {
            None => Self { state: "not_configured", read: None, why: None },
            Some(GroupList::Known(groups)) => {
                Self { state: "known", read: i32::try_from(groups.len()).ok(), why: None }
            }
            Some(GroupList::Unknown(unknown)) => Self { state: "unknown", read: None, why: Some(&unknown.message) },
        }
    }

    fn of(directory: Option<&'a Directory>) -> [Self; 2] {
        match directory {
            Some(directory) => [Self::new(directory.assigned.as_ref()), Self::new(Some(&directory.member_of))],
            None => [(); 2].map(|()| Self { state: "not_read", read: None, why: None }),
        }
    }
}

/// Start of a statement that stores a sync record. Its parameters are those of [`bind_record`].
///
/// Unchanged groups are not written again. A denied user of another tenant may have an object ID that was chosen to
/// collide, so only an allowed sign-in replaces the groups of another tenant's user.
macro_rules! record {
    ($rest:literal) => {
        concat!(
            "with run as (
                insert into entraway.sync_runs
                    (user_id, tenant_id, started_at, outcome,
                     assigned_groups, assigned_groups_read, assigned_groups_why, member_of, member_of_read, member_of_why,
                     organizations_created, teams_created, organizations_joined, teams_joined, touched,
                     user_created, user_updated, failures, notes, retries, entra_ms, graph_ms, plan_ms, store_ms,
                     role_changes, team_models_updated, run_id, removed_from_teams, removed_from_organizations, keys_blocked)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                        $22, $23, $24, $26, $27, $28, $29, $30, $31)
            ), reading as (
                insert into entraway.person_groups as known
                       (user_id, tenant_id, assigned_groups, groups, since, confirmed_at)
                select $1, $2, $5, $25, $3, $3 where $25::jsonb is not null
                on conflict (user_id) do update
                set (tenant_id, assigned_groups, groups, since, confirmed_at) = (
                    select excluded.tenant_id, said.assigned_groups, said.groups,
                           case when said.differs then excluded.since else known.since end, excluded.confirmed_at
                    from entraway.what_is_known(known, excluded) said)
                where (known.tenant_id = excluded.tenant_id or $4 = 'signed_in')
                  and known.confirmed_at <= excluded.confirmed_at
                  and (known.confirmed_at < excluded.confirmed_at - interval '1 day'
                       or ((known.tenant_id, known.assigned_groups, known.groups)
                               is distinct from (excluded.tenant_id, excluded.assigned_groups, excluded.groups)
                           and (select differs from entraway.what_is_known(known, excluded))))
            )",
            $rest
        )
    };
}
pub(super) use record;

/// Binds the 31 parameters of `record!`. A statement's own parameters start at $32.
pub(super) fn bind_record<'q>(
    query: Query<'q, Postgres, PgArguments>,
    identity: Identity,
    run: &'q SyncRun,
) -> Query<'q, Postgres, PgArguments> {
    let [assigned, member_of] = ListRecord::of(run.directory.as_ref());
    let applied = &run.applied;
    query
        .bind(identity.object_id.to_string())
        .bind(identity.tenant_id.as_uuid())
        .bind(run.started_at)
        .bind(run.denial.map_or("signed_in", Denial::as_str))
        .bind(assigned.state)
        .bind(assigned.read)
        .bind(assigned.why)
        .bind(member_of.state)
        .bind(member_of.read)
        .bind(member_of.why)
        .bind(texts(&applied.organizations_created))
        .bind(texts(&applied.teams_created))
        .bind(applied.organizations_joined.iter().collect::<Vec<_>>())
        .bind(texts(&applied.teams_joined))
        .bind(touched(run))
        .bind(applied.user_created)
        .bind(applied.user_updated)
        .bind(Json(&applied.failures))
        .bind(Json(&run.notes))
        .bind(i32::try_from(applied.retries).unwrap_or(i32::MAX))
        .bind(milliseconds(run.entra_time))
        .bind(milliseconds(run.graph_time))
        .bind(milliseconds(run.plan_time))
        .bind(milliseconds(run.store_time))
        .bind(known_groups(run))
        .bind(Json(&applied.role_changes))
        .bind(applied.team_models_updated.keys().map(ToString::to_string).collect::<Vec<_>>())
        .bind(run.run_id)
        .bind(applied.removed_from_teams.keys().collect::<Vec<_>>())
        .bind(applied.removed_from_organizations.iter().collect::<Vec<_>>())
        .bind(i32::try_from(applied.keys_blocked.values().map(BTreeSet::len).sum::<usize>()).unwrap_or(i32::MAX))
}

impl Db {
    /// Stores the record of a denied sign-in and, if [`Denial::is_known`], ends the identity's sessions. A user of
    /// another tenant with the same object ID keeps theirs.
    ///
    /// One statement, retried if it loses a race. Returns the number of ended sessions.
    pub async fn record_denial(&self, identity: Identity, run: &SyncRun) -> Result<usize, DbError> {
        let mut attempts = 0;
        loop {
            let outcome = self.record_denial_once(identity, run).await;
            if !should_retry(&mut attempts, &outcome) {
                return outcome;
            }
        }
    }

    async fn record_denial_once(&self, identity: Identity, run: &SyncRun) -> Result<usize, DbError> {
        // Locks rows in the same order as `entraway.end_other_sessions`.
        let query = sqlx::query(record!(
            ", to_end as materialized (
                select token_hash from entraway.sessions
                where $32 and user_id = $1 and tenant_id = $2 order by token_hash for update
            ), ended as (
                delete from entraway.sessions where token_hash in (select token_hash from to_end) returning user_id
            ), notified as materialized (
                select entraway.tell_sessions(array(select user_id from ended))
            )
            select (select count(*) from ended) from notified"
        ));
        let query = bind_record(query, identity, run).bind(run.denial.is_some_and(Denial::is_known));
        let ended: i64 = query.fetch_one(&mut *self.connection_to_write().await?).await?.try_get(0)?;
        Ok(usize::try_from(ended).unwrap_or_default())
    }
}

fn texts(ids: &BTreeSet<GroupId>) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
