//! `GET /changes`: the held plan, groups that could not be compared, and runs of the reconciliation, for operators.

pub(in crate::http) mod decision;
mod plan;
pub(in crate::http) mod run;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};

use crate::db::{HeldPlanRow, RunRow};
use crate::domain::ObjectId;
use crate::http::error::WebError;
use crate::http::extract::{CurrentUser, Operator, Params};
use crate::http::formatting::pluralize;
use crate::http::layout::{Layout, html};
use crate::http::list_query::{List, ListQuery, Pager};
use crate::http::state::App;
use crate::policy::MembershipSync;

use plan::{MAX_ENTRIES, Plan};

/// The list of runs, newest first.
pub(in crate::http) struct Runs;

impl List for Runs {
    const NAMES: &'static [&'static str] = &["after", "before", "limit"];
    const UUIDS: bool = true;
}

#[derive(Template)]
#[template(path = "changes.html")]
struct ChangesPage {
    layout: Layout,
    now: DateTime<Utc>,
    query: ListQuery<Runs>,
    runs: Vec<RunRow>,
    pager: Pager,
    /// On the first page only.
    overview: Option<Overview>,
}

/// What needs attention now.
struct Overview {
    /// `sync.memberships: additive`.
    additive: bool,
    /// `sync.reconcile.interval` is 0, so that only a process of its own runs.
    off: bool,
    /// Whether the operator may start runs and decide about plans.
    administrator: bool,
    /// When a run was requested that has not begun yet.
    requested_at: Option<DateTime<Utc>>,
    held: Option<Held>,
    /// The plan of the newest run that has one.
    latest: Option<(RunRow, Plan)>,
}

/// The held plan.
struct Held {
    row: HeldPlanRow,
    plan: Plan,
}

/// Only operators see the page: it names users of all organizations.
pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Operator(current): Operator,
    Params(query): Params<ListQuery<Runs>>,
) -> Result<Html<String>, WebError> {
    let listed = app.db.reconciliation_runs(&query.request).await?;
    let pager = query.pager(&listed);
    let (layout, now) = (Layout::for_user(&app, &current, "/changes"), current.now);
    let overview = if query.is_unfiltered_first_page() { Some(Overview::read(&app, &current).await?) } else { None };
    html(&ChangesPage { layout, now, query, runs: listed.rows, pager, overview })
}

impl Overview {
    async fn read(app: &App, current: &CurrentUser) -> Result<Self, WebError> {
        let limit = Some(MAX_ENTRIES);
        let held = match app.db.current_held_plan(limit).await? {
            Some(row) => Some(Held { plan: Plan::held(app, &row).await?, row }),
            None => None,
        };
        let latest = match app.db.latest_reconciliation_plan(limit).await? {
            Some(details) => Some((details.run.clone(), Plan::of_run(app, &details).await?)),
            None => None,
        };
        Ok(Self {
            additive: app.config.policy.memberships == MembershipSync::Additive,
            off: app.reconcile_interval().is_none(),
            administrator: current.permissions.administrator,
            requested_at: app.db.requested_reconciliation().await?,
            held,
            latest,
        })
    }

    /// The incomplete groups of the newest plan, if any.
    fn incomplete(&self) -> Option<&(RunRow, Plan)> {
        self.latest.as_ref().filter(|(_, plan)| plan.incomplete > 0)
    }
}

impl Held {
    /// Who decided.
    fn decided_by(&self) -> &str {
        decided_by(&self.row)
    }
}

/// Who decided about a held plan.
fn decided_by(row: &HeldPlanRow) -> &str {
    match row.decided_by.as_deref() {
        Some("command") => "the command line",
        by => row.decided_by_name.as_deref().or(by).unwrap_or("an operator"),
    }
}

/// `POST /changes/run`: asks for a run at once.
pub(in crate::http) async fn request_run(
    State(app): State<Arc<App>>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<Response, WebError> {
    request(&app, &current).await?;
    Ok(back(&app))
}

/// Asks for a run at once; returns when. For administrators.
pub(in crate::http) async fn request(app: &App, current: &CurrentUser) -> Result<DateTime<Utc>, WebError> {
    let object_id = administrator(current)?;
    app.db.request_reconciliation(current.now).await?;
    tracing::info!(%object_id, "administrator requested a reconciliation run");
    Ok(current.now)
}

/// The object ID of an administrator. Other operators may see the page, but not change anything.
fn administrator(current: &CurrentUser) -> Result<ObjectId, WebError> {
    if current.permissions.administrator {
        Ok(current.user.identity.object_id)
    } else {
        Err(WebError::AdministratorOnly)
    }
}

fn back(app: &App) -> Response {
    Redirect::to(app.config.server.public_url.join("/changes").as_str()).into_response()
}

/// The badge of a run's status: CSS class and text.
fn badge(status: &str) -> (&'static str, String) {
    let class = match status {
        "done" => "good",
        "held" | "incomplete" => "warn",
        "failed" | "interrupted" => "bad",
        _ => "note",
    };
    (class, status.replace('_', " "))
}

/// Why a run began.
fn trigger(trigger: &str) -> String {
    match trigger {
        "interval" => "scheduled".to_owned(),
        "request" => "requested".to_owned(),
        "command" => "command line".to_owned(),
        other => other.replace('_', " "),
    }
}

/// How long a run took: `0.4 s`, `12 s`, `2 min 5 s`. `None` if it has not finished.
fn duration(run: &RunRow) -> Option<String> {
    let milliseconds = (run.finished_at? - run.started_at).num_milliseconds().max(0);
    let seconds = milliseconds / 1_000;
    Some(match seconds {
        0..10 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    })
}

/// Number of compared memberships.
fn compared(run: &RunRow) -> String {
    pluralize(run.compared, "managed team membership")
}

/// What a run did, in words.
fn result(run: &RunRow) -> String {
    let count = |number: i32, one| (number > 0).then(|| pluralize(number, one));
    let parts = [
        count(run.added, "membership").map(|added| format!("{added} added")),
        count(run.removed, "membership").map(|removed| format!("{removed} removed")),
        count(run.accounts, "account").map(|accounts| format!("{accounts} disabled or restored")),
        count(run.held, "change").map(|held| format!("{held} held")),
        count(run.skipped, "membership").map(|skipped| format!("{skipped} changed meanwhile and left alone")),
        count(run.incomplete, "group").map(|groups| format!("{groups} not compared")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match (&parts[..], run.status.as_str()) {
        ([], "running") => "in progress".to_owned(),
        ([], _) => "no changes".to_owned(),
        (parts, _) => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(milliseconds: i64) -> RunRow {
        let started_at = DateTime::UNIX_EPOCH;
        RunRow {
            run_id: String::new(),
            trigger: "interval".to_owned(),
            started_at,
            finished_at: Some(started_at + chrono::TimeDelta::milliseconds(milliseconds)),
            status: "done".to_owned(),
            compared: 5,
            added: 0,
            removed: 0,
            accounts: 0,
            skipped: 0,
            incomplete: 0,
            held: 0,
            held_plan: None,
            error: None,
        }
    }

    #[test]
    fn duration_is_short_and_result_is_in_words() {
        let durations =
            [0, 450, 9_999, 10_000, 59_999, 125_000].map(|milliseconds| duration(&run(milliseconds)).unwrap());
        assert_eq!(durations, ["0.0 s", "0.4 s", "9.9 s", "10 s", "59 s", "2 min 5 s"]);
        assert_eq!(result(&run(1)), "no changes");
        let busy = RunRow { added: 2, removed: 1, accounts: 1, held: 2, skipped: 1, incomplete: 3, ..run(1) };
        let said = "2 memberships added, 1 membership removed, 1 account disabled or restored, 2 changes held, 1 membership changed meanwhile and left alone, 3 groups not compared";
        assert_eq!(result(&busy), said);
    }
}
