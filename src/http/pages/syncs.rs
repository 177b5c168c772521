//! `GET /syncs`: sync records, and a chart of the last day.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use crate::db::{DbError, Hour, Page, SyncFilter, SyncRow};
use crate::http::error::WebError;
use crate::http::extract::{CurrentUser, Params};
use crate::http::layout::{Layout, html};
use crate::http::list_query::{List, ListQuery, Pager};
use crate::http::query::QueryError;
use crate::http::state::App;
use crate::http::view_model::{self, SyncView};
use crate::util::clock::Moment;

/// The list, newest first.
pub(in crate::http) struct Syncs;

impl List for Syncs {
    const NAMES: &'static [&'static str] = &["person", "group", "trouble", "after", "before", "limit"];
    const UUIDS: bool = true;

    fn check(name: &'static str, value: &str) -> Result<(), QueryError> {
        match (name, value) {
            ("trouble", "1") => Ok(()),
            ("trouble", _) => Err(QueryError::Value { name, allowed: "1, or nothing" }),
            _ => Ok(()),
        }
    }
}

#[derive(Template)]
#[template(path = "syncs.html")]
struct SyncsPage {
    layout: Layout,
    now: DateTime<Utc>,
    query: ListQuery<Syncs>,
    syncs: Vec<SyncView>,
    pager: Pager,
    /// For operators, on the first page of the unfiltered list.
    chart: Option<Chart>,
    sees_all: bool,
    /// For operators: number of sign-ins in the last 24 hours that failed before the user was known.
    failed_sign_ins: Option<i64>,
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    current: CurrentUser,
    Params(query): Params<ListQuery<Syncs>>,
) -> Result<Html<String>, WebError> {
    let listed = read(&app, &current, &query).await?;
    let pager = query.pager(&listed);
    let syncs = SyncView::all(&app, listed.rows).await?;
    let (now, sees_all) = (current.now, current.permissions.operator);
    let chart = if sees_all && query.is_unfiltered_first_page() {
        Some(Chart::new(now, &hours(&app, now).await?))
    } else {
        None
    };
    let failed_sign_ins =
        if sees_all { Some(app.db.failed_sign_ins_since(now - TimeDelta::hours(24)).await?) } else { None };
    let layout = Layout::for_user(&app, &current, "/syncs");
    html(&SyncsPage { layout, now, query, syncs, pager, chart, sees_all, failed_sign_ins })
}

impl SyncsPage {
    fn is_filtered(&self) -> bool {
        ["person", "group", "trouble"].iter().any(|filter| self.query.filter(filter).is_some())
    }
}

/// Reads the list. Users who are not operators get their own records, whatever the query says.
pub(in crate::http) async fn read(
    app: &App,
    current: &CurrentUser,
    query: &ListQuery<Syncs>,
) -> Result<Page<SyncRow>, DbError> {
    let filter = |name| query.filter(name).map(ToOwned::to_owned);
    let (object_id, user_id) = if current.permissions.operator {
        (filter("person"), None)
    } else {
        (Some(current.user.identity.object_id.to_string()), Some(current.user.user_id.clone()))
    };
    let troubled = query.filter("trouble").is_some();
    let filter = SyncFilter { object_id, user_id, group: filter("group"), troubled };
    view_model::read_syncs(app, current, &filter, &query.request).await
}

/// Sign-ins by the hour, in the last day.
pub(in crate::http) struct Chart {
    bars: Vec<Bar>,
    total: i64,
    troubled: i64,
}

struct Bar {
    hour: DateTime<Utc>,
    total: i64,
    troubled: i64,
    /// Offset from the left, in units of the drawing.
    x: i64,
    good_height: i64,
    troubled_height: i64,
}

const HOURS: i32 = 24;
/// How long a result is shared.
const HOURS_TTL: Duration = Duration::from_mins(1);
const BAR_WIDTH: i64 = 30;
const HEIGHT: i64 = 110;

/// Reads sign-ins by the hour, at most once a minute.
async fn hours(app: &App, now: DateTime<Utc>) -> Result<Arc<[Hour]>, Arc<DbError>> {
    let requested_at = app.clock.moment();
    let fresh = |at: Moment, _: &_| at.age(requested_at) < HOURS_TTL;
    let read = async || match app.db.hours(chart_begins(now)).await {
        Ok(hours) => Ok(Arc::from(hours)),
        Err(error) => Err(Arc::new(error)),
    };
    app.hours.get(fresh, Duration::ZERO, read).await
}

/// The start of the chart: a whole hour.
pub(in crate::http) fn chart_begins(now: DateTime<Utc>) -> DateTime<Utc> {
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    hour - TimeDelta::hours(i64::from(HOURS) - 1)
}

impl Chart {
    fn new(now: DateTime<Utc>, hours: &[Hour]) -> Self {
        let begin = chart_begins(now);
        let max = hours.iter().map(|hour| hour.all).max().unwrap_or_default().max(1);
        let bar = |n: i32| {
            let hour = begin + TimeDelta::hours(i64::from(n));
            let found = hours.iter().find(|found| found.hour == hour);
            let (total, troubled) = found.map_or((0, 0), |found| (found.all, found.troubled));
            // A single sign-in stays visible.
            let height = |count: i64| if count == 0 { 0 } else { (count * HEIGHT / max).max(2) };
            let troubled_height = height(troubled);
            let good_height = height(total - troubled);
            Bar { hour, total, troubled, x: i64::from(n) * BAR_WIDTH, good_height, troubled_height }
        };
        let bars: Vec<Bar> = (0..HOURS).map(bar).collect();
        let total = bars.iter().map(|bar| bar.total).sum();
        let troubled = bars.iter().map(|bar| bar.troubled).sum();
        Self { bars, total, troubled }
    }

    fn busiest(&self) -> Option<&Bar> {
        self.bars.iter().max_by_key(|bar| bar.total).filter(|bar| bar.total > 0)
    }
}
