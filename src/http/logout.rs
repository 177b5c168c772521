//! Signing out: `POST /sso/logout` ends this session here, then Entra's; and Entra says when its own ended elsewhere.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};

use super::App;
use super::error::WebError;
use super::query::Query;
use super::session_cookie;
use crate::observability::metrics::SessionEnd;

/// From our own pages only: a layer refuses what another site sends.
pub(super) async fn end(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, WebError> {
    session_cookie::end(&app, &headers, SessionEnd::SignedOut).await?;
    let back = app.config.server.public_url.join("/signed-out");
    // The session here is over, whatever Entra says: without Entra's page there is still ours.
    let to = app.entra.sign_out_url(&back).await.ok().flatten().unwrap_or(back);
    let mut response = Redirect::to(to.as_str()).into_response();
    response.headers_mut().append(SET_COOKIE, app.cookies.remove_session());
    Ok(response)
}

/// Longer than any `sid`: Entra's are GUIDs.
const LONGEST_SID: usize = 128;

/// `GET /sso/frontchannel-logout?sid=…`, which Entra has the browser load in a hidden frame (OpenID Connect Front-Channel
/// Logout 1.0). Anybody can send it, so it ends the sessions with just that `sid`, and tells nothing of whether there were
/// any. No cookie comes with it, from a frame.
pub(super) async fn front_channel(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, WebError> {
    let query = Query::parse(query.as_deref(), &["sid", "iss"])?;
    let sid = query.get("sid").filter(|sid| (1..=LONGEST_SID).contains(&sid.len()) && !sid.contains('\0'));
    let ended = app.sessions.revoke_by_sid(sid.ok_or(WebError::Sid)?).await?;
    if ended > 0 {
        tracing::info!(ended, "Entra ended its session, and so ours");
    }
    Ok(StatusCode::OK)
}
