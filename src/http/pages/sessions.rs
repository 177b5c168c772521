//! Ends sessions from a page: the user's own, and for administrators those of other users. The response redirects to a
//! page that shows how many ended.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use http::HeaderMap;
use http::header::SET_COOKIE;

use super::formatting::segment;
use crate::db::{SessionFilter, SessionOwner};
use crate::domain::ObjectId;
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Layout;
use crate::http::query::{self, Query, QueryError};
use crate::http::session_cookie;
use crate::http::view_model::UserDetails;
use crate::observability::metrics::SessionEnd;

/// `POST /sessions/{session}/end`: ends one of the user's own sessions. If it is the current one, the browser is signed
/// out here, not at Entra.
pub(in crate::http) async fn end_own(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let is_current = session_cookie::name(&app, &headers).await?.is_some_and(|current| current == name);
    end(&app, current.user.identity.object_id, &name).await?;
    if is_current {
        return Ok(signed_out(&app));
    }
    Ok(back(&app, &format!("/?{ENDED}=1#sessions")))
}

/// `POST /people/{id}/sessions/{session}/end`: ends one session of a user, for administrators.
pub(in crate::http) async fn end_of_user(
    State(app): State<Arc<App>>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let Target { object_id, .. } = Target::read(&app, &id, &headers).await?;
    end(&app, object_id, &name).await?;
    Ok(back(&app, &format!("/people/{}?{ENDED}=1#sessions", segment(&id))))
}

#[derive(Template)]
#[template(path = "end_sessions.html")]
struct EndSessionsPage {
    layout: Layout,
    details: UserDetails,
    /// Number of sessions that would end.
    sessions: usize,
    /// Whether they are the administrator's own.
    own: bool,
}

impl EndSessionsPage {
    fn user_path(&self) -> String {
        format!("{}/people/{}", self.layout.base, segment(&self.details.user.user_id))
    }
}

/// `GET /people/{id}/sessions/end`: asks for confirmation.
pub(in crate::http) async fn confirm_end_all(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let Target { current, details, own, .. } = Target::read(&app, &id, &headers).await?;
    query::none(query.as_deref())?;
    let sessions = details.sessions(&app, &current).await?.len();
    let layout = Layout::for_user(&app, &current, "/people");
    super::page(&EndSessionsPage { layout, details, sessions, own })
}

/// `POST /people/{id}/sessions/end`: ends all sessions of a user, for administrators.
pub(in crate::http) async fn end_all_of_user(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let Target { object_id, own, .. } = Target::read(&app, &id, &headers).await?;
    let which = SessionFilter::Of(SessionOwner::One(object_id));
    let ended = app.sessions.end(which, SessionEnd::All).await?;
    tracing::info!(%object_id, sessions = ended, "administrator ended all sessions of a user");
    if own {
        return Ok(signed_out(&app));
    }
    Ok(back(&app, &format!("/people/{}?{ENDED}={ended}#sessions", segment(&id))))
}

/// The user whose sessions an administrator ends.
struct Target {
    current: CurrentUser,
    details: UserDetails,
    object_id: ObjectId,
    /// Whether the administrator is this user.
    own: bool,
}

impl Target {
    async fn read(app: &App, id: &str, headers: &HeaderMap) -> Result<Self, WebError> {
        let current = CurrentUser::of(app, headers).await?;
        if !current.permissions.administrator {
            return Err(WebError::NotFound);
        }
        let details = UserDetails::read(app, &current, id).await?;
        let object_id = details.object_id().ok_or(WebError::NotFound)?;
        let own = object_id == current.user.identity.object_id;
        Ok(Self { current, details, object_id, own })
    }
}

/// Query parameter with the number of sessions that a form ended.
const ENDED: &str = "ended";

/// Reads the query of a page to which these forms redirect.
pub(super) fn ended(query: Option<&str>) -> Result<Option<u32>, QueryError> {
    let query = Query::parse_strict(query, &[ENDED])?;
    let invalid = |_| QueryError::Value { name: ENDED, allowed: "the number of ended sessions" };
    query.value(ENDED).map(str::parse).transpose().map_err(invalid)
}

async fn end(app: &App, object_id: ObjectId, name: &str) -> Result<(), WebError> {
    let is_name = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name || app.sessions.end(SessionFilter::Named(object_id, name), SessionEnd::One).await? == 0 {
        return Err(WebError::NotFound);
    }
    tracing::info!(%object_id, "session ended from a page");
    Ok(())
}

/// The redirect for a browser whose own session has ended.
fn signed_out(app: &App) -> Response {
    let mut response = back(app, "/signed-out");
    response.headers_mut().append(SET_COOKIE, app.cookies.delete_session());
    response
}

fn back(app: &App, path: &str) -> Response {
    Redirect::to(app.config.server.public_url.join(path).as_str()).into_response()
}
