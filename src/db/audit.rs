//! Audit events.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::DbError;
use super::connection::DbConnection;
use crate::audit::AuditEvent;
use crate::util::random;

/// Inserts events, in one statement. Without events it does nothing.
pub(super) async fn insert(
    connection: &mut DbConnection,
    at: DateTime<Utc>,
    events: &[AuditEvent],
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
             after jsonb, evidence jsonb, result text)",
    )
    .bind(Value::Array(rows))
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

fn row(at: DateTime<Utc>, event: &AuditEvent) -> Value {
    let (actor, kind, result): (&str, &str, &str) = (event.actor.into(), event.target.kind.into(), event.result.into());
    json!({
        "event_id": random::uuid_at(at), "run_id": event.run_id, "actor": actor, "actor_id": event.actor.object_id(),
        "action": event.action, "user_id": event.user_id, "object_id": event.object_id,
        "target_kind": kind, "target_id": event.target.id, "target_name": event.target.name,
        "cause": event.cause, "group_id": event.group, "before": event.before, "after": event.after,
        "evidence": event.evidence, "result": result,
    })
}
