//! Sign-out: `POST /sso/logout` ends the session here and at Entra. `GET /sso/frontchannel-logout` ends it here when it
//! ended at Entra.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};

use super::App;
use super::error::WebError;
use super::query::Query;
use super::session_cookie;
use crate::db::SessionFilter;
use crate::observability::metrics::SessionEnd;

/// `POST /sso/logout`. The same-origin layer rejects requests of other sites.
pub(super) async fn end(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, WebError> {
    session_cookie::end(&app, &headers, SessionEnd::SignedOut).await?;
    let back = app.config.server.public_url.join("/signed-out");
    // The session here has ended. If Entra is not available, show our own page.
    let to = app.entra.sign_out_url(&back).await.ok().flatten().unwrap_or(back);
    let mut response = Redirect::to(to.as_str()).into_response();
    response.headers_mut().append(SET_COOKIE, app.cookies.delete_session());
    Ok(response)
}

/// Maximum length of a `sid`. Entra's are GUIDs.
const MAX_SID: usize = 128;

/// `GET /sso/frontchannel-logout?sid=…`, which Entra loads in a hidden frame (OpenID Connect Front-Channel Logout 1.0).
///
/// The request has no cookie and can be forged, so it ends only the sessions with this `sid` and does not reveal
/// whether there were any.
pub(super) async fn front_channel(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, WebError> {
    let query = Query::parse(query.as_deref(), &["sid", "iss"])?;
    let sid = query.get("sid").filter(|sid| (1..=MAX_SID).contains(&sid.len()) && !sid.contains('\0'));
    let which = SessionFilter::EntraSession(sid.ok_or(WebError::Sid)?);
    let ended = app.sessions.end(which, SessionEnd::Entra).await?;
    if ended > 0 {
        tracing::info!(sessions = ended, "sessions ended by front-channel logout");
    }
    Ok(StatusCode::OK)
}
