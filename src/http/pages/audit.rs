//! `GET /audit`: who got or lost access to what, when, and why, for operators.

mod event;
mod export;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use strum::VariantArray as _;
use uuid::Uuid;

use crate::audit::{AuditAction, AuditTargetKind};
use crate::db::{ActionFilter, AuditFilter, AuditRow, Page};
use crate::http::error::WebError;
use crate::http::extract::{Operator, Params};
use crate::http::layout::{Layout, html};
use crate::http::list_query::{List, ListQuery, Pager};
use crate::http::query::QueryError;
use crate::http::state::App;

pub(super) use event::{Event, Link};
pub(in crate::http) use export::export;

/// The list, newest first.
pub(in crate::http) struct AuditLog;

impl List for AuditLog {
    const NAMES: &'static [&'static str] =
        &["user", "team", "organization", "action", "from", "to", "run", "after", "before", "limit"];
    const UUIDS: bool = true;

    fn check(name: &'static str, value: &str) -> Result<(), QueryError> {
        check_filter(name, value)
    }
}

/// Value of `action` for all actions by which a user lost access.
const ACCESS_LOST: &str = "access_lost";

/// Checks the filters that the page and the export have in common.
fn check_filter(name: &'static str, value: &str) -> Result<(), QueryError> {
    let (valid, allowed) = match name {
        "action" => (action(value).is_some(), "an action that the page offers, such as team_member_removed"),
        "from" | "to" => (day(value).is_some(), "a day, such as 2026-11-30"),
        "run" => (Uuid::parse_str(value).is_ok(), "the ID of a sync run"),
        _ => return Ok(()),
    };
    if valid { Ok(()) } else { Err(QueryError::Value { name, allowed }) }
}

fn action(value: &str) -> Option<ActionFilter> {
    if value == ACCESS_LOST { Some(ActionFilter::AccessLost) } else { value.parse().ok().map(ActionFilter::One) }
}

/// A day of four, two and two digits, as in forms.
fn day(value: &str) -> Option<NaiveDate> {
    let plain = value.len() == 10 && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    NaiveDate::parse_from_str(value, "%Y-%m-%d").ok().filter(|_| plain)
}

/// Start of a day, in UTC.
fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// The filter of a query. Looks up the users that it means.
async fn filter<L: List>(app: &App, query: &ListQuery<L>) -> Result<AuditFilter, WebError> {
    let owned = |name| query.filter(name).map(ToOwned::to_owned);
    let user = match query.filter("user") {
        None => None,
        Some(text) => {
            let allowed = "an ID, or words that match at most 100 users";
            Some(app.db.user_keys(text).await?.ok_or(QueryError::Value { name: "user", allowed })?)
        }
    };
    let target = match (owned("team"), owned("organization")) {
        (None, None) => None,
        (Some(id), None) => Some((AuditTargetKind::Team, id)),
        (None, Some(id)) => Some((AuditTargetKind::Organization, id)),
        (Some(_), Some(_)) => return Err(QueryError::Conflict { name: "organization", other: "team" }.into()),
    };
    Ok(AuditFilter {
        user,
        target,
        action: query.filter("action").and_then(action),
        from: query.filter("from").and_then(day).map(start_of),
        until: query.filter("to").and_then(day).and_then(|day| day.checked_add_days(Days::new(1))).map(start_of),
        run_id: query.filter("run").and_then(|id| Uuid::parse_str(id).ok()),
    })
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    layout: Layout,
    now: DateTime<Utc>,
    query: ListQuery<AuditLog>,
    events: Vec<Event>,
    views: Vec<View>,
    pager: Pager,
    /// For how many days events are kept.
    retention_days: u64,
}

/// A link to the same list with other filters.
struct View {
    name: &'static str,
    query: String,
    current: bool,
}

/// Only operators see the log: it names users of all organizations.
pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Operator(current): Operator,
    Params(query): Params<ListQuery<AuditLog>>,
) -> Result<Html<String>, WebError> {
    let listed = read(&app, &query).await?;
    let pager = query.pager(&listed);
    let (layout, now) = (Layout::for_user(&app, &current, "/audit"), current.now);
    let events = listed.rows.into_iter().map(Event::new).collect();
    let views = views(&query, now);
    let retention_days = app.config.audit.retention.as_secs() / (24 * 60 * 60);
    html(&AuditPage { layout, now, query, events, views, pager, retention_days })
}

/// Reads the list.
pub(in crate::http) async fn read(app: &App, query: &ListQuery<AuditLog>) -> Result<Page<AuditRow>, WebError> {
    let filter = filter(app, query).await?;
    Ok(app.db.audit_events(&filter, &query.request).await?)
}

/// The views that one click opens. Each keeps the other filters, so that it also answers for one team.
fn views(query: &ListQuery<AuditLog>, now: DateTime<Utc>) -> Vec<View> {
    let yesterday = (now.date_naive() - Days::new(1)).to_string();
    let is = |name: &str, value: &str| query.filter(name) == Some(value);
    let lost = is("action", ACCESS_LOST);
    let of_yesterday = is("from", &yesterday) && is("to", &yesterday);
    let unfiltered = ["action", "from", "to"].iter().all(|name| query.filter(name).is_none());
    let view = |name, changes: &[(&'static str, Option<&str>)], current| View {
        name,
        query: query.with_filters(changes),
        current,
    };
    vec![
        view("All events", &[("action", None), ("from", None), ("to", None)], unfiltered),
        view("Access lost", &[("action", Some(ACCESS_LOST))], lost),
        view("Yesterday", &[("from", Some(&yesterday)), ("to", Some(&yesterday))], of_yesterday),
    ]
}

impl AuditPage {
    /// Actions of the filter with their names.
    fn actions() -> Vec<(&'static str, &'static str)> {
        let one = AuditAction::VARIANTS.iter().map(|action| (action.as_str(), event::action_name(*action)));
        [(ACCESS_LOST, "Access lost (all of these)")].into_iter().chain(one).collect()
    }

    fn chosen(&self, action: &str) -> bool {
        self.query.filter("action") == Some(action)
    }

    fn is_filtered(&self) -> bool {
        !self.query.is_unfiltered_first_page()
    }

    /// The query that downloads all events of this filter.
    fn export_query(&self, format: &'static str) -> String {
        self.query.with_filters(&[("format", Some(format))])
    }

    fn without_run(&self) -> String {
        self.query.with_filters(&[("run", None)])
    }
}
