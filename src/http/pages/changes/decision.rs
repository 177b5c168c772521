//! Approves or rejects a held plan, after a confirmation. For administrators.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, Response};

use super::plan::{MAX_ENTRIES, Plan};
use super::{Held, administrator, back};
use crate::audit::AuditActor;
use crate::db::{Decided, Decision};
use crate::http::error::WebError;
use crate::http::extract::{CurrentUser, Operator, Params};
use crate::http::layout::{Layout, html};
use crate::http::state::App;
use crate::reconciliation::PlanHash;

#[derive(Template)]
#[template(path = "changes_decide.html")]
struct DecidePage {
    layout: Layout,
    held: Held,
    approve: bool,
}

/// `GET /changes/plans/{hash}/approve`: asks for confirmation.
pub(in crate::http) async fn confirm_approve(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<Html<String>, WebError> {
    confirm(&app, &current, &hash, true).await
}

/// `GET /changes/plans/{hash}/reject`: asks for confirmation.
pub(in crate::http) async fn confirm_reject(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<Html<String>, WebError> {
    confirm(&app, &current, &hash, false).await
}

async fn confirm(app: &App, current: &CurrentUser, hash: &str, approve: bool) -> Result<Html<String>, WebError> {
    administrator(current)?;
    let hash = parse(hash)?;
    let row = app.db.held_plan(hash.as_str(), Some(MAX_ENTRIES)).await?.ok_or(WebError::PlanNotFound)?;
    if matches!(row.status.as_str(), "applied" | "lapsed") {
        return Err(WebError::PlanNotHeld { status: row.status });
    }
    let held = Held { plan: Plan::held(app, &row).await?, row };
    html(&DecidePage { layout: Layout::for_user(app, current, "/changes"), held, approve })
}

/// `POST /changes/plans/{hash}/approve`
pub(in crate::http) async fn approve(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<Response, WebError> {
    decide(&app, &current, &hash, Decision::Approve).await?;
    Ok(back(&app))
}

/// `POST /changes/plans/{hash}/reject`
pub(in crate::http) async fn reject(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<Response, WebError> {
    decide(&app, &current, &hash, Decision::Reject).await?;
    Ok(back(&app))
}

/// Approves or rejects the plan with exactly this hash.
pub(in crate::http) async fn decide(
    app: &App,
    current: &CurrentUser,
    hash: &str,
    decision: Decision,
) -> Result<PlanHash, WebError> {
    let object_id = administrator(current)?;
    let hash = parse(hash)?;
    match app.db.decide_plan(hash.as_str(), decision, AuditActor::Operator(object_id), current.now).await? {
        Decided::Done(plan) => {
            tracing::info!(%object_id, %plan, ?decision, "administrator decided about a held plan");
            Ok(plan)
        }
        Decided::NotFound => Err(WebError::PlanNotFound),
        Decided::NotHeld { status } => Err(WebError::PlanNotHeld { status }),
    }
}

/// Only a whole hash: the approval is for exactly one plan.
fn parse(hash: &str) -> Result<PlanHash, WebError> {
    hash.parse().map_err(|_| WebError::PlanNotFound)
}
