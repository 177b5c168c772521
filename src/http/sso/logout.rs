//! Sign-out: `POST /sso/logout` ends the session here and at Entra. `GET /sso/frontchannel-logout` ends it here when it
//! ended at Entra.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};

use crate::db::SessionFilter;
use crate::http::error::WebError;
use crate::http::extract::SsoParams;
use crate::http::query::{Parameters, Query, QueryError};
use crate::http::session_cookie;
use crate::http::state::App;
use crate::observability::metrics::SessionEnd;

/// `POST /sso/logout`. The same-origin layer rejects requests of other sites.
pub(in crate::http) async fn end(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, WebError> {
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

/// `sid` is the session at Entra that has ended. `iss` is known only so that a duplicate is rejected; it is not used.
pub(in crate::http) struct FrontChannelQuery {
    sid: Option<String>,
}

impl Parameters for FrontChannelQuery {
    const NAMES: &'static [&'static str] = &["sid", "iss"];

    fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self { sid: query.owned("sid") })
    }
}

/// `GET /sso/frontchannel-logout?sid=…`, which Entra loads in a hidden frame (OpenID Connect Front-Channel Logout 1.0).
///
/// The request has no cookie and can be forged, so it ends only the sessions with this `sid` and does not reveal
/// whether there were any.
pub(in crate::http) async fn front_channel(
    State(app): State<Arc<App>>,
    SsoParams(query): SsoParams<FrontChannelQuery>,
) -> Result<StatusCode, WebError> {
    let sid = query.sid.filter(|sid| (1..=MAX_SID).contains(&sid.len()) && !sid.contains('\0'));
    let sid = sid.ok_or(WebError::Sid)?;
    let ended = app.sessions.end(SessionFilter::EntraSession(&sid), SessionEnd::Entra).await?;
    if ended > 0 {
        tracing::info!(sessions = ended, "sessions ended by front-channel logout");
    }
    Ok(StatusCode::OK)
}
