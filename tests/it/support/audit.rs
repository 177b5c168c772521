//! Audit events of a test's database.

use serde_json::{Value, json};

use super::World;

impl World {
    /// The events of these actions, oldest first, without their IDs and times.
    pub(crate) async fn audit_events(&self, actions: &[&str]) -> Vec<Value> {
        let sql = "select jsonb_strip_nulls(to_jsonb(e) - 'event_id' - 'at') from entraway.audit_events e
                   where action = any($1) order by at, event_id";
        sqlx::query_scalar(sql).bind(actions).fetch_all(&self.pool).await.unwrap()
    }

    /// Inserts events, which need `at`, `action` and `target_kind` only.
    pub(crate) async fn insert_audit_events(&self, events: Vec<Value>) {
        let defaults = json!({ "actor": "sign_in", "result": "applied" });
        let sql = "insert into entraway.audit_events
                   select (jsonb_populate_record(null::entraway.audit_events, jsonb_build_object('event_id', gen_random_uuid()) || $2 || e)).*
                   from jsonb_array_elements($1) e";
        sqlx::query(sql).bind(Value::Array(events)).bind(defaults).execute(&self.pool).await.unwrap();
    }
}
