//! Writes audit events. The service never changes one; the expiry job deletes old ones.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{Postgres, QueryBuilder};

use super::connection::DbConnection;
use super::{Db, DbError};
use crate::audit::{AuditActor, AuditEvent};
use crate::domain::Identity;
use crate::sync_run::{Denial, SyncRun};
use crate::util::random;

/// A denial of the same user for the same reason within this time is not recorded again, so that one account cannot fill
/// the table. Sync records have each of them.
const REPEATED_DENIALS: TimeDelta = TimeDelta::hours(1);

/// The same for a removal that a guard prevents at each sign-in.
const REPEATED_KEPT: TimeDelta = TimeDelta::days(1);

/// Who revokes sessions, when, and why.
#[derive(Clone, Copy, Debug)]
pub struct Revocation {
    pub at: DateTime<Utc>,
    pub actor: AuditActor,
    /// Why a sign-in was denied; `None` if an operator or the user decided.
    pub cause: Option<&'static str>,
}

/// Inserts events, in one statement. Without events it does nothing. Events that were recorded with the same target and
/// result since `unless_since` are left out.
pub(super) async fn insert(
    connection: &mut DbConnection,
    at: DateTime<Utc>,
    events: &[AuditEvent],
    unless_since: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = events.iter().map(|event| row(at, event)).collect();
    sqlx::query(
        "insert into entraway.audit_events (event_id, at, run_id, actor, actor_id, action, user_id, object_id, target_kind,
                                            target_id, target_name, cause, group_id, before, after, evidence, result)
         select event_id, $2, run_id, actor, actor_id, action, user_id, object_id, target_kind,
                target_id, target_name, cause, group_id, before, after, evidence, result
         from jsonb_to_recordset($1) as e(event_id uuid, run_id uuid, actor text, actor_id text, action text, user_id text,
             object_id text, target_kind text, target_id text, target_name text, cause text, group_id text, before jsonb,
             after jsonb, evidence jsonb, result text)
         where $3::timestamptz is null or not exists (
             select from entraway.audit_events known
             where known.object_id = e.object_id and known.at > $3 and known.action = e.action
               and known.target_id = e.target_id and known.result = e.result)",
    )
    .bind(Value::Array(rows))
    .bind(at)
    .bind(unless_since)
    .execute(connection)
    .await?;
    Ok(())
}

fn row(at: DateTime<Utc>, event: &AuditEvent) -> Value {
    // In a LiteLLM database the key of a row may be an e-mail address, which no event contains.
    let user_id = event.user_id.as_ref().filter(|id| !id.as_str().contains('@'));
    let (actor, kind, result): (&str, &str, &str) = (event.actor.into(), event.target.kind.into(), event.result.into());
    json!({
        "event_id": random::uuid_at(at), "run_id": event.run_id, "actor": actor, "actor_id": event.actor.object_id(),
        "action": event.action, "user_id": user_id, "object_id": event.object_id,
        "target_kind": kind, "target_id": event.target.id, "target_name": event.target.name,
        "cause": event.cause, "group_id": event.group, "before": event.before, "after": event.after,
        "evidence": event.evidence, "result": result,
    })
}

/// Adds a common table expression that inserts an event for each user of the sessions in `ended`. The query starts with
/// the [relations](super::relations).
pub(super) fn push_revoked(query: &mut QueryBuilder<Postgres>, revocation: &Revocation) {
    let Revocation { at, actor, cause } = *revocation;
    let name: &'static str = actor.into();
    query.push(
        "audited as (
            insert into entraway.audit_events (event_id, at, actor, actor_id, action, user_id, object_id, target_kind, cause,
                                               before, evidence, result)
            select entraway.uuid_at(w.at), w.at, w.actor, w.actor_id, 'sessions_revoked',
                   (select i.user_id from identities i where i.object_id = e.user_id and i.tenant_id = e.tenant_id
                      and strpos(i.user_id, chr(64)) = 0 limit 1),
                   e.user_id, 'session', w.cause, jsonb_build_object('sessions', e.sessions),
                   jsonb_build_object('tenant_id', e.tenant_id), 'applied'
            from (select user_id, tenant_id, count(*) as sessions from ended group by user_id, tenant_id) e
                 cross join (values (",
    );
    query.push_bind(at).push("::timestamptz, ").push_bind(name).push("::text, ");
    query.push_bind(actor.object_id().map(|id| id.to_string())).push("::text, ").push_bind(cause);
    query.push("::text)) w (at, actor, actor_id, cause)), ");
}

impl Db {
    /// Records removals that a guard prevented, at most once a day for each membership.
    pub async fn record_kept(&self, at: DateTime<Utc>, events: &[AuditEvent]) -> Result<(), DbError> {
        if events.is_empty() {
            return Ok(());
        }
        insert(&mut *self.connection_to_write().await?, at, events, Some(at - REPEATED_KEPT)).await
    }

    /// Records that policy denied a sign-in, and that it ended this many sessions of the user. One statement.
    pub async fn record_denied_sign_in(
        &self,
        identity: Identity,
        run: &SyncRun,
        ended_sessions: usize,
    ) -> Result<(), DbError> {
        let sql = self.over_relations(
            "insert into entraway.audit_events (event_id, at, run_id, actor, action, user_id, object_id, target_kind, cause,
                                                before, evidence, result)
             select entraway.uuid_at($1), $1, $7, 'sign_in', e.action,
                    (select user_id from identities
                     where object_id = $2 and tenant_id = $3 and strpos(user_id, chr(64)) = 0 limit 1), $2, e.target_kind, $4,
                    e.before, jsonb_build_object('tenant_id', $3), 'applied'
             from (values ('sign_in_denied', 'account', null::jsonb),
                          ('sessions_revoked', 'session', jsonb_build_object('sessions', $5::bigint)))
                  e (action, target_kind, before)
             where case e.action when 'sessions_revoked' then $5 > 0 else not exists (
                 select from entraway.audit_events d
                 where d.object_id = $2 and d.at > $6 and d.at <= $1 and d.action = 'sign_in_denied' and d.cause = $4
                   and d.evidence ->> 'tenant_id' = $3::text) end",
        );
        sqlx::query(sql)
            .bind(run.started_at)
            .bind(identity.object_id.to_string())
            .bind(identity.tenant_id.as_uuid())
            .bind(run.denial.map(Denial::as_str))
            .bind(i64::try_from(ended_sessions).unwrap_or(i64::MAX))
            .bind(run.started_at - REPEATED_DENIALS)
            .bind(run.run_id)
            .execute(&mut *self.connection_to_write().await?)
            .await?;
        Ok(())
    }
}
