//! JSON API: the data of the pages, with the same permissions. `/api/openapi.json` describes it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Value, json};

use super::App;
use super::current_user::CurrentUser;
use super::error::WebError;
use super::list_query::{self, ListQuery, MEMBERS, SORTED};
use super::pages::explain::Explained;
use super::pages::{failed_sign_ins, syncs};
use super::query;
use super::session_cookie;
use super::view_model::{OrganizationDetails, TeamDetails, UserDetails};
use crate::db::{Me, Page, SyncRow};

/// `GET /api/me`: the user, their organizations and teams, the session and the last sync; 401 without a session.
pub(super) async fn me(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Me>, WebError> {
    let me = session_cookie::find(&app, &headers).await?.ok_or(WebError::NotSignedIn)?;
    query::none(query.as_deref())?;
    Ok(Json(me))
}

/// `GET /api/openapi.json`. Public: the source is, too.
pub(super) async fn openapi(RawQuery(query): RawQuery) -> Result<impl IntoResponse, WebError> {
    query::none(query.as_deref())?;
    Ok(([(CONTENT_TYPE, "application/json")], include_str!("../../assets/openapi.json")))
}

/// `GET /api/teams`
pub(super) async fn teams(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), SORTED)?;
    let listed = app.db.teams(&current.permissions.scope, &query.page_request(query.sort)?).await?;
    Ok(Json(page("teams", &listed)))
}

/// `GET /api/teams/{id}`, with a page of its members.
pub(super) async fn team(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), MEMBERS)?;
    let details = TeamDetails::read(&app, &current, &id, &query).await?;
    let mut body = page("members", &details.members);
    body["team"] = json!(details.team);
    // It holds the error of the database, which is for operators.
    body["made"] = json!(details.creation.filter(|_| current.permissions.operator));
    Ok(Json(body))
}

/// `GET /api/organizations`
pub(super) async fn organizations(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), SORTED)?;
    let listed = app.db.organizations(&current.permissions.scope, &query.page_request(query.sort)?).await?;
    Ok(Json(page("organizations", &listed)))
}

/// `GET /api/organizations/{id}`, with its newest teams and a page of its members.
pub(super) async fn organization(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), MEMBERS)?;
    let details = OrganizationDetails::read(&app, &current, &id, &query).await?;
    let mut body = page("members", &details.members);
    body["organization"] = json!(details.organization);
    body["teams"] = json!(details.teams.rows);
    Ok(Json(body))
}

/// `GET /api/people`
pub(super) async fn users(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = ListQuery::read(query.as_deref(), SORTED)?;
    let listed = app.db.users(&current.permissions.scope, &query.page_request(query.sort)?).await?;
    Ok(Json(page("people", &listed)))
}

/// `GET /api/people/{id}`
pub(super) async fn user(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<UserDetails>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    query::none(query.as_deref())?;
    Ok(Json(UserDetails::read(&app, &current, &id).await?))
}

/// `GET /api/people/{id}/explain`
pub(super) async fn explain(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Explained>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    Ok(Json(Explained::read(&app, &current, &id, query.as_deref()).await?))
}

/// `GET /api/syncs`
pub(super) async fn syncs(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let query = syncs::read(query.as_deref())?;
    let listed = app.db.syncs(&syncs::filter(&current, &query), &query.sync_page_request()?).await?;
    let rows: Vec<SyncRow> = listed.rows.into_iter().map(|row| syncs::redact_row(&current, row)).collect();
    Ok(Json(page("syncs", &Page { rows, previous: listed.previous, next: listed.next })).into_response())
}

/// `GET /api/syncs/failed`
pub(super) async fn failed_sign_ins(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let (_, listed) = failed_sign_ins::read(&app, &current, query.as_deref()).await?;
    Ok(Json(page("failed", &listed)))
}

/// A page of a list as JSON, with the cursors for `before` and `after`.
fn page<T: Serialize>(name: &str, listed: &Page<T>) -> Value {
    let mut body = json!({
        "previous": listed.previous.as_ref().map(list_query::encode_cursor), "next": listed.next.as_ref().map(list_query::encode_cursor),
    });
    body[name] = json!(listed.rows);
    body
}
