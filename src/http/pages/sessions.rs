//! Ends sessions from a page: the user's own, and for administrators those of other users. The response redirects to a
//! page that shows how many ended.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use http::HeaderMap;
use http::header::SET_COOKIE;

use crate::audit::AuditActor;
use crate::db::{SessionFilter, SessionOwner};
use crate::domain::ObjectId;
use crate::http::error::WebError;
use crate::http::extract::{Administrator, CurrentUser, Params};
use crate::http::formatting::segment;
use crate::http::layout::{Layout, html};
use crate::http::query::{Parameters, Query, QueryError};
use crate::http::session_cookie;
use crate::http::state::App;
use crate::http::view_model::UserDetails;
use crate::observability::metrics::SessionEnd;

/// `POST /sessions/{session}/end`: ends one of the user's own sessions. If it is the current one, the browser is signed
/// out here, not at Entra.
pub(in crate::http) async fn end_own(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    current: CurrentUser,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let is_current = session_cookie::name(&app, &headers).await?.is_some_and(|current| current == name);
    let object_id = current.user.identity.object_id;
    end(&app, object_id, &name, AuditActor::User(object_id)).await?;
    if is_current {
        return Ok(signed_out(&app));
    }
    Ok(back(&app, &format!("/?{ENDED}=1#sessions")))
}

/// `POST /people/{id}/sessions/{session}/end`: ends one session of a user, for administrators.
pub(in crate::http) async fn end_of_user(
    State(app): State<Arc<App>>,
    Path((id, name)): Path<(String, String)>,
    Administrator(current): Administrator,
) -> Result<Response, WebError> {
    let (_, object_id) = user(&app, &current, &id).await?;
    end(&app, object_id, &name, AuditActor::Operator(current.user.identity.object_id)).await?;
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
    Administrator(current): Administrator,
    Params(()): Params<()>,
) -> Result<Html<String>, WebError> {
    let (details, object_id) = user(&app, &current, &id).await?;
    let own = object_id == current.user.identity.object_id;
    let sessions = details.sessions(&app, &current).await?.len();
    let layout = Layout::for_user(&app, &current, "/people");
    html(&EndSessionsPage { layout, details, sessions, own })
}

/// `POST /people/{id}/sessions/end`: ends all sessions of a user, for administrators.
pub(in crate::http) async fn end_all_of_user(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Administrator(current): Administrator,
) -> Result<Response, WebError> {
    let (_, object_id) = user(&app, &current, &id).await?;
    let which = SessionFilter::Of(SessionOwner::One(object_id));
    let actor = AuditActor::Operator(current.user.identity.object_id);
    let ended = app.sessions.revoke(which, SessionEnd::All, actor, None).await?;
    tracing::info!(%object_id, sessions = ended, "administrator ended all sessions of a user");
    if object_id == current.user.identity.object_id {
        return Ok(signed_out(&app));
    }
    Ok(back(&app, &format!("/people/{}?{ENDED}={ended}#sessions", segment(&id))))
}

/// The user whose sessions an administrator ends.
async fn user(app: &App, current: &CurrentUser, id: &str) -> Result<(UserDetails, ObjectId), WebError> {
    let details = UserDetails::read(app, current, id).await?;
    let object_id = details.object_id().ok_or(WebError::NotFound)?;
    Ok((details, object_id))
}

/// Query parameter with the number of sessions that a form ended.
const ENDED: &str = "ended";

/// The query of a page to which these forms redirect.
pub(in crate::http) struct Ended(pub(super) Option<u32>);

impl Parameters for Ended {
    const NAMES: &'static [&'static str] = &[ENDED];

    fn read(query: &Query) -> Result<Self, QueryError> {
        let invalid = |_| QueryError::Value { name: ENDED, allowed: "the number of ended sessions" };
        Ok(Self(query.value(ENDED).map(str::parse).transpose().map_err(invalid)?))
    }
}

async fn end(app: &App, object_id: ObjectId, name: &str, actor: AuditActor) -> Result<(), WebError> {
    let is_name = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let which = SessionFilter::Named(object_id, name);
    if !is_name || app.sessions.revoke(which, SessionEnd::One, actor, None).await? == 0 {
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
