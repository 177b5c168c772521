//! Ending sessions from a page: one's own, and as an administrator another user's. Each ends with a redirect to a page
//! that says how many ended.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use http::HeaderMap;
use http::header::SET_COOKIE;

use super::formatting::segment;
use crate::domain::ObjectId;
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Frame;
use crate::http::query::{self, Query, QueryError};
use crate::http::session_cookie;
use crate::http::view_model::UserDetails;

/// `POST /sessions/{session}/end`: one of my own. The one that this browser has is signed out of here alone.
pub(in crate::http) async fn end_own(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let visit = CurrentUser::of(&app, &headers).await?;
    let this = session_cookie::name(&app, &headers).await?.is_some_and(|this| this == name);
    end(&app, visit.viewer.identity.object_id, &name).await?;
    if this {
        return Ok(signed_out(&app));
    }
    Ok(back(&app, &format!("/?{ENDED}=1#sessions")))
}

/// `POST /people/{id}/sessions/{session}/end`, for administrators.
pub(in crate::http) async fn end_of_person(
    State(app): State<Arc<App>>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let Target { person, .. } = Target::read(&app, &id, &headers).await?;
    end(&app, person, &name).await?;
    Ok(back(&app, &format!("/people/{}?{ENDED}=1#sessions", segment(&id))))
}

#[derive(Template)]
#[template(path = "end_sessions.html")]
struct EndSessionsPage {
    frame: Frame,
    details: UserDetails,
    /// How many would end.
    sessions: usize,
    /// Whether they are the administrator's own.
    own: bool,
}

impl EndSessionsPage {
    fn person_path(&self) -> String {
        format!("{}/people/{}", self.frame.base, segment(&self.details.person.user_id))
    }
}

/// `GET /people/{id}/sessions/end`: asks an administrator for confirmation.
pub(in crate::http) async fn confirm_end_all(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let Target { visit, details, own, .. } = Target::read(&app, &id, &headers).await?;
    query::none(query.as_deref())?;
    let sessions = details.sessions(&app, &visit).await?.len();
    let frame = Frame::of(&app, &visit, "/people");
    super::page(&EndSessionsPage { frame, details, sessions, own })
}

/// `POST /people/{id}/sessions/end`: all of them, for administrators.
pub(in crate::http) async fn end_all_of_person(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let Target { person, own, .. } = Target::read(&app, &id, &headers).await?;
    let ended = app.sessions.revoke_all(person).await?;
    tracing::info!(person = %person, ended, "an administrator ended all sessions of a person");
    if own {
        return Ok(signed_out(&app));
    }
    Ok(back(&app, &format!("/people/{}?{ENDED}={ended}#sessions", segment(&id))))
}

/// The user whose sessions an administrator is about to end.
struct Target {
    visit: CurrentUser,
    details: UserDetails,
    person: ObjectId,
    /// Whether that is the administrator.
    own: bool,
}

impl Target {
    async fn read(app: &App, id: &str, headers: &HeaderMap) -> Result<Self, WebError> {
        let visit = CurrentUser::of(app, headers).await?;
        if !visit.rights.administrator {
            return Err(WebError::NotFound);
        }
        let details = UserDetails::read(app, &visit, id).await?;
        let person = details.object_id().ok_or(WebError::NotFound)?;
        let own = person == visit.viewer.identity.object_id;
        Ok(Self { visit, details, person, own })
    }
}

/// The query parameter with the number of sessions that a form ended.
const ENDED: &str = "ended";

/// Reads the query of a page to which these forms lead back.
pub(super) fn ended(query: Option<&str>) -> Result<Option<u32>, QueryError> {
    let query = Query::parse_strict(query, &[ENDED])?;
    let invalid = |_| QueryError::Value { name: ENDED, allowed: "the number of ended sessions" };
    query.value(ENDED).map(str::parse).transpose().map_err(invalid)
}

async fn end(app: &App, person: ObjectId, name: &str) -> Result<(), WebError> {
    let is_name = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name || !app.sessions.revoke_one(person, name).await? {
        return Err(WebError::NotFound);
    }
    tracing::info!(person = %person, "a session was ended on a page");
    Ok(())
}

/// For a browser whose own session has just ended.
fn signed_out(app: &App) -> Response {
    let mut response = back(app, "/signed-out");
    response.headers_mut().append(SET_COOKIE, app.cookies.remove_session());
    response
}

fn back(app: &App, path: &str) -> Response {
    Redirect::to(app.config.server.public_url.join(path).as_str()).into_response()
}
