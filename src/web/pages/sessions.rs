//! Ending sessions from a page: one's own, and as an administrator somebody's.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::HeaderMap;
use http::header::SET_COOKIE;

use super::words::segment;
use crate::domain::ObjectId;
use crate::web::App;
use crate::web::details::PersonDetails;
use crate::web::error::WebError;
use crate::web::session;
use crate::web::visit::Visit;

/// `POST /sessions/{session}/end`: one of my own. The one that this browser has is signed out of here alone.
pub(in crate::web) async fn end_own(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let visit = Visit::of(&app, &headers).await?;
    let this = session::name(&app, &headers).await?.is_some_and(|this| this == name);
    end(&app, visit.viewer.identity.object_id, &name).await?;
    if this {
        let mut response = back(&app, "/signed-out");
        response.headers_mut().append(SET_COOKIE, app.cookies.remove_session());
        return Ok(response);
    }
    Ok(back(&app, "/#sessions"))
}

/// `POST /people/{id}/sessions/{session}/end`, for administrators.
pub(in crate::web) async fn end_of_person(
    State(app): State<Arc<App>>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let person = whose(&app, &id, &headers).await?;
    end(&app, person, &name).await?;
    Ok(back(&app, &format!("/people/{}#sessions", segment(&id))))
}

/// `POST /people/{id}/sessions/end`: all of them, for administrators.
pub(in crate::web) async fn end_all_of_person(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let person = whose(&app, &id, &headers).await?;
    let ended = app.sessions.end_all(person).await?;
    tracing::info!(person = %person, ended, "an administrator ended all sessions of a person");
    Ok(back(&app, &format!("/people/{}#sessions", segment(&id))))
}

/// The person whose sessions an administrator is about to end.
async fn whose(app: &App, id: &str, headers: &HeaderMap) -> Result<ObjectId, WebError> {
    let visit = Visit::of(app, headers).await?;
    if !visit.rights.administrator {
        return Err(WebError::NotFound);
    }
    PersonDetails::read(app, &visit, id).await?.object_id().ok_or(WebError::NotFound)
}

async fn end(app: &App, person: ObjectId, name: &str) -> Result<(), WebError> {
    let is_name = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name || !app.sessions.end_one(person, name).await? {
        return Err(WebError::NotFound);
    }
    tracing::info!(person = %person, "a session was ended on a page");
    Ok(())
}

fn back(app: &App, path: &str) -> Response {
    Redirect::to(app.config.server.public_url.join(path).as_str()).into_response()
}
