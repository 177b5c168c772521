//! The JSON routes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;

use super::App;
use super::error::WebError;
use super::session;
use crate::store::Me;

/// `GET /api/me`: who I am, my organizations and teams, my session, my last sync; 401 without a session.
pub(super) async fn me(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Me>, WebError> {
    let me = session::find(&app, &headers).await?;
    me.map(Json).ok_or(WebError::NotSignedIn)
}
