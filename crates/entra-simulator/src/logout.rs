//! Sign-out. The simulator has no sessions, so it only shows Entra's page or redirects back.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use url::Url;

use crate::aadsts::EntraError;
use crate::call::{Call, Params};
use crate::page;
use crate::state::SimulatorState;

pub(crate) fn router() -> Router<Arc<SimulatorState>> {
    Router::new().route("/{tenant}/oauth2/v2.0/logout", get(sign_out).post(sign_out))
}

async fn sign_out(
    State(state): State<Arc<SimulatorState>>,
    Path(tenant): Path<String>,
    params: Params,
    call: Call,
) -> Response {
    let directory = state.lock().directory.clone();
    if directory.authority(&tenant).is_none() {
        return page::error(&EntraError::unknown_tenant(&tenant), &call);
    }
    // Redirects only to a registered redirect URI: Entra has no other list for this.
    let back = params.get("post_logout_redirect_uri").filter(|uri| directory.may_redirect_to(uri));
    match back.and_then(|uri| Url::parse(uri).ok()) {
        Some(mut uri) => {
            if let Some(state) = params.get("state") {
                uri.query_pairs_mut().append_pair("state", state);
            }
            (StatusCode::FOUND, [("location", uri.to_string())]).into_response()
        }
        None => page::message("You signed out of your account", "It's a good idea to close all browser windows."),
    }
}
