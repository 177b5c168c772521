//! Applies the removals of a reconciliation plan: short transactions, each for some members of one team or organization, that
//! check again what the plan decided on.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{Lease, lease};
use crate::audit::AuditEvent;
use crate::db::apply::{Tables, should_retry_transaction};
use crate::db::connection::DbConnection;
use crate::db::litellm::LiteLlm;
use crate::db::native::Native;
use crate::db::removal::Removed;
use crate::db::{Db, DbError, audit};
use crate::domain::{ObjectId, Redacted, StoreKind};
use crate::policy::KeysOnRemoval;
use crate::reconciliation::{Change, MemberRemoval, TargetRemovals};

/// Members in one transaction, so that it is short and holds few locks.
const MEMBERS_PER_TRANSACTION: usize = 50;

/// The run that applies a plan.
#[derive(Clone, Copy, Debug)]
pub struct ApplyingRun {
    pub lease: Lease,
    pub run_id: Uuid,
    /// Before the first read from Entra. A user's sign-in that started later decides about the user's memberships.
    pub started_at: DateTime<Utc>,
    pub keys_on_removal: KeysOnRemoval,
}

/// What was removed from one team or organization.
#[derive(Debug, Default)]
pub struct RemovedMembers {
    /// Number of removed memberships.
    pub removed: usize,
    /// Users whose membership was left alone because something changed since the plan.
    pub skipped: usize,
    /// Removed users: object ID, and key of the user's row.
    pub users: BTreeSet<(ObjectId, Redacted)>,
    /// Hashes of the keys that were blocked.
    pub keys_blocked: BTreeSet<Redacted>,
}

/// The locks for removing members of one team or organization.
#[derive(Clone, Debug)]
pub(in crate::db) struct MemberLocks<'a> {
    /// The team, if it is one.
    pub(in crate::db) team: Option<&'a str>,
    /// Object IDs.
    pub(in crate::db) users: Vec<String>,
    /// An administrator is removed.
    pub(in crate::db) admins: bool,
}

/// Takes our own locks, in the order of a sign-in: that for removing administrators, then one per user, by hash.
pub(in crate::db) async fn lock_users(connection: &mut DbConnection, locks: &MemberLocks<'_>) -> Result<(), DbError> {
    sqlx::query(
        "with admins as materialized (
            select case when $1 then pg_advisory_xact_lock(hashtext('entraway.admins'), 0) end
         )
         select pg_advisory_xact_lock(hashtext('entraway.person'), key)
         from admins, (select distinct hashtext(id) as key from unnest($2::text[]) id order by 1) users",
    )
    .bind(locks.admins)
    .bind(&locks.users)
    .execute(connection)
    .await?;
    Ok(())
}

/// Memberships to remove ($3 as JSON) of users without a sign-in that started after the run ($4). $1 time, $2 run, $5 `team`
/// or `organization`, $6 its ID, $7 administrators who stay. The store continues with [`Tables::LEAVING`].
const WANTED: &str = "with parameters as (
            select $1::timestamptz as at, $2::uuid as run
        ), wanted as materialized (
            select w.object_id, w.tenant_id, w.sources
            from jsonb_to_recordset($3) as w(object_id text, tenant_id uuid, sources text[])
            where not exists (
                    select from entraway.sync_runs
                    where user_id = w.object_id and tenant_id = w.tenant_id and started_at > $4
                      and assigned_groups <> 'unknown' and member_of = 'known')
              and not exists (
                    select from entraway.audit_events
                    where object_id = w.object_id and at > $4 and actor = 'sign_in'
                      and action in ('team_member_added', 'team_member_removed'))
        ), ";

impl Db {
    /// Removes members of one team or organization, and blocks their keys of the team. Memberships that are no longer as the
    /// plan says are left alone: those with other sources, of users who signed in meanwhile, and of the last administrator.
    ///
    /// Several transactions, each retried if it loses a race. Fails with [`DbError::LeaseLost`] if another replica took over;
    /// what was committed before stays.
    pub async fn apply_removals(
        &self,
        run: &ApplyingRun,
        removals: &TargetRemovals,
        now: DateTime<Utc>,
    ) -> Result<RemovedMembers, DbError> {
        let mut all = RemovedMembers::default();
        for members in removals.removals.chunks(MEMBERS_PER_TRANSACTION) {
            let mut retries = 0;
            let removed = loop {
                let outcome = match self.kind {
                    StoreKind::Native => self.remove_members::<Native>(run, removals, members, now).await,
                    StoreKind::LiteLlm => self.remove_members::<LiteLlm>(run, removals, members, now).await,
                };
                match outcome {
                    Err(error) if should_retry_transaction(&mut retries, &error) => {}
                    outcome => break outcome?,
                }
            };
            let gone = removed.teams.iter().map(|(id, row, ..)| (id, row));
            let gone = gone.chain(removed.organizations.iter().map(|(id, row, _)| (id, row)));
            let users: Vec<_> = gone.filter_map(|(id, row)| Some((id.parse().ok()?, row.clone()))).collect();
            all.removed += users.len();
            all.skipped += members.len() - users.len();
            all.users.extend(users);
            all.keys_blocked.extend(removed.keys.into_iter().flat_map(|(.., tokens)| tokens));
        }
        Ok(all)
    }

    async fn remove_members<T: Tables>(
        &self,
        run: &ApplyingRun,
        removals: &TargetRemovals,
        members: &[MemberRemoval],
        now: DateTime<Utc>,
    ) -> Result<Removed, DbError> {
        let target = &removals.target;
        let locks = MemberLocks {
            team: (target.kind == "team").then_some(target.id.as_str()),
            users: members.iter().map(|member| member.change.user.to_string()).collect(),
            admins: removals.removes_admin(),
        };
        let wanted = members.iter().map(|member| {
            json!({ "object_id": member.change.user, "tenant_id": member.tenant_id, "sources": member.sources })
        });
        let sql = format!("{WANTED}{}{}", T::LEAVING, T::removal(run.keys_on_removal));

        let mut transaction = self.begin().await?;
        lease::check(&mut transaction, run.lease).await?;
        T::lock_members(&mut transaction, &locks).await?;
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(now)
            .bind(run.run_id)
            .bind(Value::Array(wanted.collect()))
            .bind(run.started_at)
            .bind(target.kind)
            .bind(&target.id)
            .bind(removals.staying_admins.iter().map(ToString::to_string).collect::<Vec<_>>())
            .fetch_one(&mut *transaction)
            .await?;
        let removed = Removed::read(&row)?;
        audit::insert(&mut transaction, now, &events(run, members, &removed), None).await?;
        transaction.inner.commit().await?;
        Ok(removed)
    }
}

/// The audit events of what was removed and blocked.
fn events(run: &ApplyingRun, members: &[MemberRemoval], removed: &Removed) -> Vec<AuditEvent> {
    let changes: BTreeMap<String, &Change> =
        members.iter().map(|member| (member.change.user.to_string(), &member.change)).collect();
    let gone = removed.teams.iter().map(|(id, row, ..)| (id, row));
    let gone = gone.chain(removed.organizations.iter().map(|(id, row, _)| (id, row)));
    let gone = gone.filter_map(|(id, row)| Some(changes.get(id)?.audit_event(run.run_id, run.started_at, row.clone())));
    let blocked = removed.keys.iter().filter_map(|(id, row, _, tokens)| {
        Some(changes.get(id)?.keys_event(run.run_id, run.started_at, row.clone(), tokens.len()))
    });
    gone.chain(blocked).collect()
}
