//! JSON API: the data of the pages, with the same permissions. `/api/openapi.json` describes it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::WebError;
use super::extract::{CurrentSession, CurrentUser, Operator, Params};
use super::list_query::{ListQuery, Members, Sorted, encode_cursor};
use super::pages::audit::{self, AuditLog};
use super::pages::changes::{self, Runs, decision};
use super::pages::explain::{ExplainQuery, Explained};
use super::pages::failed_sign_ins::{self, FailedSignIns};
use super::pages::syncs::{self, Syncs};
use super::state::App;
use super::view_model::{OrganizationDetails, TeamDetails, UserDetails};
use crate::db::{Decision, Me, Page, RunWithPlan};

/// `GET /api/me`: the user, their organizations and teams, the session and the last sync; 401 without a session.
pub(super) async fn me(CurrentSession(me): CurrentSession, Params(()): Params<()>) -> Json<Me> {
    Json(me)
}

/// `GET /api/openapi.json`. Public: the source is, too.
pub(super) async fn openapi(Params(()): Params<()>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], include_str!("../../assets/openapi.json"))
}

/// `GET /api/teams`
pub(super) async fn teams(
    State(app): State<Arc<App>>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Sorted>>,
) -> Result<Json<Value>, WebError> {
    Ok(page("teams", &app.db.teams(&current.permissions.scope, &query.request).await?))
}

/// `GET /api/teams/{id}`, with a page of its members.
pub(super) async fn team(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Members>>,
) -> Result<Json<Value>, WebError> {
    let details = TeamDetails::read(&app, &current, &id, &query.request).await?;
    let Json(mut body) = page("members", &details.members);
    body["team"] = json!(details.team);
    // It holds the error of the database, which is for operators.
    body["made"] = json!(details.creation.filter(|_| current.permissions.operator));
    Ok(Json(body))
}

/// `GET /api/organizations`
pub(super) async fn organizations(
    State(app): State<Arc<App>>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Sorted>>,
) -> Result<Json<Value>, WebError> {
    Ok(page("organizations", &app.db.organizations(&current.permissions.scope, &query.request).await?))
}

/// `GET /api/organizations/{id}`, with its newest teams and a page of its members.
pub(super) async fn organization(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Members>>,
) -> Result<Json<Value>, WebError> {
    let details = OrganizationDetails::read(&app, &current, &id, &query.request).await?;
    let Json(mut body) = page("members", &details.members);
    body["organization"] = json!(details.organization);
    body["teams"] = json!(details.teams.rows);
    Ok(Json(body))
}

/// `GET /api/people`
pub(super) async fn users(
    State(app): State<Arc<App>>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Sorted>>,
) -> Result<Json<Value>, WebError> {
    Ok(page("people", &app.db.users(&current.permissions.scope, &query.request).await?))
}

/// `GET /api/people/{id}`
pub(super) async fn user(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    current: CurrentUser,
    Params(()): Params<()>,
) -> Result<Json<UserDetails>, WebError> {
    Ok(Json(UserDetails::read(&app, &current, &id).await?))
}

/// `GET /api/people/{id}/explain`
pub(super) async fn explain(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    current: CurrentUser,
    Params(query): Params<ExplainQuery>,
) -> Result<Json<Explained>, WebError> {
    Ok(Json(Explained::read(&app, &current, &id, &query).await?))
}

/// `GET /api/syncs`
pub(super) async fn syncs(
    State(app): State<Arc<App>>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Syncs>>,
) -> Result<Json<Value>, WebError> {
    Ok(page("syncs", &syncs::read(&app, &current, &query).await?))
}

/// `GET /api/syncs/failed`
pub(super) async fn failed_sign_ins(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(query): Params<ListQuery<FailedSignIns>>,
) -> Result<Json<Value>, WebError> {
    Ok(page("failed", &failed_sign_ins::read(&app, &query).await?))
}

/// `GET /api/audit`
pub(super) async fn audit(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(query): Params<ListQuery<AuditLog>>,
) -> Result<Json<Value>, WebError> {
    Ok(page("events", &audit::read(&app, &query).await?))
}

/// `GET /api/reconciliation/runs`
pub(super) async fn reconciliation_runs(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(query): Params<ListQuery<Runs>>,
) -> Result<Json<Value>, WebError> {
    Ok(page("runs", &app.db.reconciliation_runs(&query.request).await?))
}

/// `GET /api/reconciliation/runs/{run_id}`, with its whole plan.
pub(super) async fn reconciliation_run(
    State(app): State<Arc<App>>,
    Path(run_id): Path<String>,
    _: Operator,
    Params(()): Params<()>,
) -> Result<Json<RunWithPlan>, WebError> {
    Ok(Json(changes::run::read(&app, &run_id, None).await?))
}

/// `POST /api/reconciliation/run`: asks for a run at once.
pub(super) async fn request_reconciliation(
    State(app): State<Arc<App>>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<(StatusCode, Json<Value>), WebError> {
    let requested_at = changes::request(&app, &current).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "requested_at": requested_at }))))
}

/// `GET /api/reconciliation/plan`: the plan that waits for a decision, or whose decision still counts.
pub(super) async fn held_plan(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(()): Params<()>,
) -> Result<Json<Value>, WebError> {
    Ok(Json(json!({ "plan": app.db.current_held_plan(None).await? })))
}

/// `POST /api/reconciliation/plans/{hash}/approve`
pub(super) async fn approve_plan(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<Json<Value>, WebError> {
    decide(&app, &current, &hash, Decision::Approve).await
}

/// `POST /api/reconciliation/plans/{hash}/reject`
pub(super) async fn reject_plan(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<Json<Value>, WebError> {
    decide(&app, &current, &hash, Decision::Reject).await
}

async fn decide(app: &App, current: &CurrentUser, hash: &str, decision: Decision) -> Result<Json<Value>, WebError> {
    let plan = decision::decide(app, current, hash, decision).await?;
    let status = match decision {
        Decision::Approve => "approved",
        Decision::Reject => "rejected",
    };
    Ok(Json(json!({ "plan_hash": plan.as_str(), "status": status })))
}

/// A page of a list, with the cursors for `before` and `after`.
fn page<T: Serialize>(name: &str, listed: &Page<T>) -> Json<Value> {
    let cursor = |cursor: &Option<_>| cursor.as_ref().map(encode_cursor);
    Json(json!({ "previous": cursor(&listed.previous), "next": cursor(&listed.next), name: listed.rows }))
}
