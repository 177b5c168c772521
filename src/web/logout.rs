//! `POST /sso/logout`: end this session here, then Entra's.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::HeaderMap;
use http::header::SET_COOKIE;

use super::App;
use super::error::WebError;
use super::session;

/// From our own pages only: a layer refuses what another site sends.
pub(super) async fn end(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, WebError> {
    session::end(&app, &headers).await?;
    let back = app.config.server.public_url.join("/signed-out");
    // The session here is over, whatever Entra says: without Entra's page there is still ours.
    let to = app.entra.sign_out_url(&back).await.ok().flatten().unwrap_or(back);
    let mut response = Redirect::to(to.as_str()).into_response();
    response.headers_mut().append(SET_COOKIE, app.cookies.remove(app.cookies.session_name()));
    Ok(response)
}
