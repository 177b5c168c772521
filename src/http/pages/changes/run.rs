//! `GET /changes/{run_id}`: one run of the reconciliation with its plan.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Html;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::plan::{MAX_ENTRIES, Plan};
use crate::db::{HeldPlanRow, RunRow, RunWithPlan};
use crate::http::error::WebError;
use crate::http::extract::{Operator, Params};
use crate::http::layout::{Layout, html};
use crate::http::state::App;

#[derive(Template)]
#[template(path = "changes_run.html")]
struct RunPage {
    layout: Layout,
    now: DateTime<Utc>,
    run: RunRow,
    /// `None` if the run made no plan.
    plan: Option<Plan>,
    /// What became of the plan that the run held.
    held: Option<HeldPlanRow>,
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Path(run_id): Path<String>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<Html<String>, WebError> {
    let details = read(&app, &run_id, Some(MAX_ENTRIES)).await?;
    let plan = if details.plan.is_some() { Some(Plan::of_run(&app, &details).await?) } else { None };
    let held = match &details.run.held_plan {
        Some(hash) => app.db.held_plan(hash, Some(0)).await?,
        None => None,
    };
    let layout = Layout::for_user(&app, &current, "/changes");
    html(&RunPage { layout, now: current.now, run: details.run, plan, held })
}

/// Reads a run. `limit` is the maximum number of entries of each list of its plan.
pub(in crate::http) async fn read(app: &App, run_id: &str, limit: Option<u32>) -> Result<RunWithPlan, WebError> {
    let run_id = Uuid::parse_str(run_id).map_err(|_| WebError::NotFound)?;
    app.db.reconciliation_run(run_id, limit).await?.ok_or(WebError::NotFound)
}
