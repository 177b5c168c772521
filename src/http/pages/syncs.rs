//! `GET /syncs`: every sign-in's record, in words, and a chart of the last day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Html;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use http::HeaderMap;
use serde_json::Value;

use super::formatting;
use crate::db::{Hour, RoleChanged, StoreError, SyncFilter, SyncRow};
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Frame;
use crate::http::list_query::{ListQuery, Pager};
use crate::http::query::QueryError;
use crate::util::clock::Moment;

/// The list's own filters.
const FILTERS: [&str; 3] = ["person", "group", "trouble"];

/// Reads the query of the list.
pub(in crate::http) fn read(query: Option<&str>) -> Result<ListQuery, QueryError> {
    let query = ListQuery::read(query, &FILTERS)?;
    match query.filter("trouble") {
        None | Some("1") => Ok(query),
        Some(_) => Err(QueryError::Value { name: "trouble", allowed: "1, or nothing" }),
    }
}

#[derive(Template)]
#[template(path = "syncs.html")]
struct SyncsPage {
    frame: Frame,
    now: DateTime<Utc>,
    query: ListQuery,
    syncs: Vec<SyncView>,
    pager: Pager,
    /// On the first page of the whole list, for who sees all.
    chart: Option<Chart>,
    everything: bool,
    /// For operators: sign-ins of the last 24 hours that failed before the user was known.
    failed_sign_ins: Option<i64>,
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let visit = CurrentUser::of(&app, &headers).await?;
    let query = read(query.as_deref())?;
    let listed = app.store.syncs(&filter(&visit, &query), &query.listing_of_syncs()?).await?;
    let pager = query.pager(&listed);
    let syncs = SyncView::all(&app, &visit, listed.rows).await?;
    let chart = if visit.rights.operator && query.is_plain() {
        Some(Chart::new(visit.now, &hours(&app, visit.now).await?))
    } else {
        None
    };
    let failed_sign_ins = if visit.rights.operator {
        Some(app.store.failed_sign_ins_since(visit.now - TimeDelta::hours(24)).await?)
    } else {
        None
    };
    let frame = Frame::of(&app, &visit, "/syncs");
    let (now, everything) = (visit.now, visit.rights.operator);
    super::page(&SyncsPage { frame, now, query, syncs, pager, chart, everything, failed_sign_ins })
}

impl SyncsPage {
    fn filtered(&self) -> bool {
        FILTERS.iter().any(|filter| self.query.filter(filter).is_some())
    }
}

/// Who may not see everybody's records asks for their own, whatever the query says.
pub(in crate::http) fn filter(visit: &CurrentUser, query: &ListQuery) -> SyncFilter {
    let viewer = &visit.viewer;
    let (person, row) = if visit.rights.operator {
        (query.filter("person").map(ToOwned::to_owned), None)
    } else {
        (Some(viewer.identity.object_id.to_string()), Some(viewer.user_id.clone()))
    };
    let group = query.filter("group").map(ToOwned::to_owned);
    SyncFilter { object_id: person, user_id: row, group, troubled: query.filter("trouble").is_some() }
}

/// A record in words.
pub(in crate::http) struct SyncView {
    pub(in crate::http) row: SyncRow,
    pub(in crate::http) read: Vec<String>,
    pub(in crate::http) written: Vec<Part>,
    /// What was left alone, and why.
    pub(in crate::http) left: Vec<String>,
    pub(in crate::http) failed: Vec<String>,
}

/// A part of what was written: what was done, and with which groups.
pub(in crate::http) struct Part {
    pub(in crate::http) said: String,
    pub(in crate::http) names: Vec<String>,
}

impl SyncView {
    /// Puts records into words, as far as the visitor may know.
    pub(in crate::http) async fn all(
        app: &App,
        visit: &CurrentUser,
        rows: Vec<SyncRow>,
    ) -> Result<Vec<Self>, WebError> {
        let rows: Vec<SyncRow> = rows.into_iter().map(|row| shown(visit, row)).collect();
        let ids: BTreeSet<String> = rows.iter().flat_map(groups).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let names = if ids.is_empty() { BTreeMap::new() } else { app.store.group_names(&ids).await? };
        Ok(rows.into_iter().map(|row| Self::new(row, &names)).collect())
    }

    fn new(row: SyncRow, names: &BTreeMap<String, String>) -> Self {
        let read = vec![
            list_read(
                ["assigned group", "assigned groups"],
                &row.assigned_groups,
                row.assigned_groups_read,
                row.assigned_groups_why.as_deref(),
            ),
            list_read(
                ["group of the person", "groups of the person"],
                &row.member_of,
                row.member_of_read,
                row.member_of_why.as_deref(),
            ),
        ];
        let failed = row.failures.iter().map(failure).collect();
        let left = row.notes.0.as_array().into_iter().flatten().map(|said| note(said, names)).collect();
        Self { read, written: written(&row, names), left, failed, row }
    }

    /// Everything that was written, on one line.
    pub(in crate::http) fn written_line(&self) -> String {
        let parts: Vec<String> = self.written.iter().map(ToString::to_string).collect();
        if parts.is_empty() { "nothing had to be changed".to_owned() } else { parts.join("; ") }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.said)?;
        if self.names.is_empty() { Ok(()) } else { write!(f, " {}", self.names.join(", ")) }
    }
}

/// What of a record somebody may see. About their own they learn what happened to themselves: of other people's groups, of
/// rows with the same address and of what the database said, only that there was something.
pub(in crate::http) fn shown(visit: &CurrentUser, mut row: SyncRow) -> SyncRow {
    if visit.rights.operator {
        return row;
    }
    row.organizations_created.retain(|id| row.organizations_joined.contains(id));
    row.teams_created.retain(|id| row.teams_joined.contains(id));
    row.team_models_updated.retain(|id| row.teams_joined.contains(id));
    for failure in &mut row.failures {
        (failure.id, failure.alias, failure.why) = (None, None, None);
    }
    if let Some(notes) = row.notes.0.as_array_mut() {
        notes.retain(|said| !matches!(said["note"].as_str(), Some("same_email" | "same_sso_user_id")));
    }
    row
}

fn groups(row: &SyncRow) -> impl Iterator<Item = String> {
    let lists = [
        &row.organizations_created,
        &row.teams_created,
        &row.organizations_joined,
        &row.teams_joined,
        &row.team_models_updated,
    ];
    let noted = row.notes.0.as_array().into_iter().flatten().filter_map(|note| note["team"].as_str());
    let changed = row.role_changes.iter().map(|change| &change.scope).filter(|scope| *scope != "global");
    lists.into_iter().flatten().chain(changed).cloned().chain(noted.map(str::to_owned))
}

fn list_read([one, what]: [&str; 2], state: &str, read: Option<i32>, why: Option<&str>) -> String {
    match state {
        "known" if read == Some(1) => format!("1 {one}"),
        "known" => format!("{} {what}", read.unwrap_or_default()),
        "unknown" => format!("{what} unknown: {}", why.unwrap_or("Microsoft did not tell")),
        "not_configured" => format!("{what}: none, since no service_principal_id is configured"),
        _ => format!("{what}: not read"),
    }
}

fn written(row: &SyncRow, names: &BTreeMap<String, String>) -> Vec<Part> {
    let name = |id: &String| names.get(id).unwrap_or(id).clone();
    let mut parts = Vec::new();
    let mut say = |said: String, ids: &[&String]| {
        parts.push(Part { said, names: ids.iter().map(|id| name(id)).collect() });
    };
    if row.user_created {
        say("made the account".to_owned(), &[]);
    }
    let joined: Vec<&String> = row.teams_joined.iter().collect();
    if !joined.is_empty() {
        say("joined".to_owned(), &joined);
    }
    let only: Vec<&String> = row.organizations_joined.iter().filter(|id| !row.teams_joined.contains(id)).collect();
    if !only.is_empty() {
        say("joined the organization".to_owned(), &only);
    }
    for (made, one) in [(&row.organizations_created, "organization"), (&row.teams_created, "team")] {
        if !made.is_empty() {
            say(format!("created {}", formatting::count(made.len(), one)), &[]);
        }
    }
    // A new account's first role is no change to tell: the page names the role.
    let changed = row.role_changes.iter().filter(|change| !(row.user_created && change.scope == "global"));
    for RoleChanged { scope, before, after } in changed {
        let scope = if scope == "global" { String::new() } else { format!(" in {}", name(scope)) };
        let before = before.as_deref().filter(|before| !before.is_empty()).unwrap_or("none");
        say(format!("role{scope}: {before} → {after}"), &[]);
    }
    let updated: Vec<&String> = row.team_models_updated.iter().collect();
    if !updated.is_empty() {
        say("updated the models of".to_owned(), &updated);
    }
    if row.user_updated {
        say("brought details and roles up to date".to_owned(), &[]);
    }
    parts
}

fn failure(failed: &crate::db::Failed) -> String {
    match (&failed.alias, &failed.why) {
        (Some(alias), Some(why)) => format!("the {} {alias} could not be created: {why}", failed.kind),
        _ => format!("{} {} could not be created; your administrator sees why", article(&failed.kind), failed.kind),
    }
}

fn article(kind: &str) -> &'static str {
    if kind == "organization" { "an" } else { "a" }
}

/// A note of the plan: something that was left alone on purpose.
fn note(said: &Value, names: &BTreeMap<String, String>) -> String {
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    let others = || {
        let ids: Vec<&str> = said["user_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if ids.is_empty() { String::new() } else { format!(": {}", ids.join(", ")) }
    };
    match said["note"].as_str().unwrap_or_default() {
        "team_stays_standalone" => {
            let id = text("team");
            format!("{} stays standalone: what exists is left as it is", names.get(&id).unwrap_or(&id))
        }
        "role_set_by_hand_stays" => "the role was set by hand, and stays while Entra gives none".to_owned(),
        "operator_role_withheld" => format!(
            "the role {} was withheld: the account is older than the first sign-in here, and an operator has to confirm \
             it with entraway users adopt",
            text("role")
        ),
        "same_email" => format!("other rows have the same address, and are left alone{}", others()),
        "same_sso_user_id" => format!("other rows name this person's object id, and are left alone{}", others()),
        "assigned_groups_unknown" => format!("nothing was made or joined: assigned groups unknown ({})", text("code")),
        "member_of_unknown" => format!("nothing was joined: the person's groups are unknown ({})", text("code")),
        other => other.replace('_', " "),
    }
}

/// Sign-ins by the hour, of the last day.
pub(in crate::http) struct Chart {
    bars: Vec<Bar>,
    all: i64,
    troubled: i64,
}

struct Bar {
    hour: DateTime<Utc>,
    all: i64,
    troubled: i64,
    /// In units of the drawing, from the left.
    x: i64,
    good_height: i64,
    troubled_height: i64,
}

const HOURS: i32 = 24;
/// How long one count serves all who look at the page.
const HOURS_TTL: Duration = Duration::from_mins(1);
const BAR_WIDTH: i64 = 30;
const HEIGHT: i64 = 110;

/// Sign-ins by the hour; counted once a minute at most.
async fn hours(app: &App, now: DateTime<Utc>) -> Result<Arc<[Hour]>, Arc<StoreError>> {
    let asked = app.clock.moment();
    let fresh = |at: Moment, _: &_| at.age(asked) < HOURS_TTL;
    let read = async || match app.store.hours(chart_begins(now)).await {
        Ok(hours) => Ok(Arc::from(hours)),
        Err(error) => Err(Arc::new(error)),
    };
    app.hours.get(fresh, Duration::ZERO, read).await
}

/// Where the chart begins: with a whole hour.
pub(in crate::http) fn chart_begins(now: DateTime<Utc>) -> DateTime<Utc> {
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    hour - TimeDelta::hours(i64::from(HOURS) - 1)
}

impl Chart {
    fn new(now: DateTime<Utc>, hours: &[Hour]) -> Self {
        let begin = chart_begins(now);
        let most = hours.iter().map(|hour| hour.all).max().unwrap_or_default().max(1);
        let bar = |n: i32| {
            let hour = begin + TimeDelta::hours(i64::from(n));
            let found = hours.iter().find(|found| found.hour == hour);
            let (all, troubled) = found.map_or((0, 0), |found| (found.all, found.troubled));
            // Whatever happened at all can be seen.
            let height = |count: i64| if count == 0 { 0 } else { (count * HEIGHT / most).max(2) };
            let troubled_height = height(troubled);
            let good_height = height(all - troubled);
            Bar { hour, all, troubled, x: i64::from(n) * BAR_WIDTH, good_height, troubled_height }
        };
        let bars: Vec<Bar> = (0..HOURS).map(bar).collect();
        let (all, troubled) = bars.iter().fold((0, 0), |(all, troubled), bar| (all + bar.all, troubled + bar.troubled));
        Self { bars, all, troubled }
    }

    fn busiest(&self) -> Option<&Bar> {
        self.bars.iter().max_by_key(|bar| bar.all).filter(|bar| bar.all > 0)
    }
}
