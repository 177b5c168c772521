//! Models of teams that follow their organization's.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::types::Json;

use crate::db::DbError;
use crate::db::connection::DbConnection;
use crate::domain::GroupId;
use crate::plan::{Applied, Plan, Planner};

/// Writes new models of teams and remembers that the sync wrote them, in one statement, under the teams' locks.
///
/// The proxy's `/team/update` does not take those locks, so a team is updated only if it still has the models that the
/// plan expects.
///
/// Takes the row locks of all teams that the transaction writes, in the order of their IDs: see [`super::user`].
pub(super) async fn write(
    connection: &mut DbConnection,
    planner: &Planner<'_>,
    plan: &Plan,
    applied: &mut Applied,
) -> Result<(), DbError> {
    let changes: BTreeMap<&GroupId, Value> =
        plan.team_models.iter().map(|(id, change)| (id, json!([change.from, change.to]))).collect();
    let written: Vec<String> = plan.team_models.keys().chain(&plan.add_to_teams).map(ToString::to_string).collect();
    let Json(updated) = sqlx::query_scalar(
        r#"with locked as materialized (
            select team_id from public."LiteLLM_TeamTable" where team_id = any($2)
            order by team_id collate "C"
            for no key update
        ), updated as (
            update public."LiteLLM_TeamTable" t
            set models = array(select jsonb_array_elements_text(change.value -> 1)),
                updated_at = $3::timestamptz at time zone 'UTC'
            from locked join jsonb_each($1) change on change.key = locked.team_id
            where t.team_id = locked.team_id and to_jsonb(coalesce(t.models, '{}')) = change.value -> 0
            returning t.team_id, t.team_alias, t.models
        ), remembered as (
            update entraway.made_teams made set expanded_models = updated.models
            from updated where made.team_id = updated.team_id
        )
        select coalesce(json_object_agg(team_id, team_alias), '{}') from updated"#,
    )
    .bind(Json(changes))
    .bind(written)
    .bind(planner.now)
    .fetch_one(connection)
    .await?;
    applied.team_models_updated = updated;
    Ok(())
}
