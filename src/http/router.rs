//! Routes and the middleware around them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::timeout::TimeoutLayer;

use super::error::{self, WebError};
use super::pages::changes::decision;
use super::pages::{
    audit, changes, explain, failed_sign_ins, organizations, sessions, settings, syncs, teams, users, welcome,
};
use super::sso::{callback, login, logout};
use super::state::{App, StartError};
use super::{api, assets, forward_auth, health, limits, metrics, middleware};

/// Time limit for a request. Longer than every time limit inside a handler.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Routes of the metrics listener.
pub(super) fn metrics_router(app: &Arc<App>) -> Router {
    metrics::router().with_state(app.clone())
}

/// All routes, below the base path of the public URL, with their layers.
pub(super) fn router(app: &Arc<App>) -> Result<Router, StartError> {
    let public_url = &app.config.server.public_url;
    let same_origin = CsrfLayer::new()
        .add_trusted_origin(public_url.origin())
        .map_err(|error| StartError::Origin(error.to_string()))?
        .with_rejection_response(error::cross_origin);
    let rate_limit = from_fn_with_state(app.clone(), middleware::rate_limit);
    let service = Router::new()
        .route("/", get(welcome::home))
        .route("/signed-out", get(welcome::signed_out))
        .route("/teams", get(teams::list))
        .route("/teams/{id}", get(teams::details))
        .route("/organizations", get(organizations::list))
        .route("/organizations/{id}", get(organizations::details))
        .route("/people", get(users::list))
        .route("/people/{id}", get(users::details))
        .route("/people/{id}/explain", get(explain::page))
        .route("/people/{id}/sessions/end", get(sessions::confirm_end_all).post(sessions::end_all_of_user))
        .route("/people/{id}/sessions/{session}/end", post(sessions::end_of_user))
        .route("/sessions/{session}/end", post(sessions::end_own))
        .route("/syncs", get(syncs::page))
        .route("/syncs/failed", get(failed_sign_ins::page))
        .route("/changes", get(changes::page))
        .route("/changes/run", post(changes::request_run))
        .route("/changes/{run_id}", get(changes::run::page))
        .route("/changes/plans/{hash}/approve", get(decision::confirm_approve).post(decision::approve))
        .route("/changes/plans/{hash}/reject", get(decision::confirm_reject).post(decision::reject))
        .route("/audit", get(audit::page))
        .route("/settings", get(settings::page))
        .route("/sso/login", get(login::start).route_layer(rate_limit.clone()))
        .route("/sso/key/generate", get(login::start).route_layer(rate_limit.clone())) // LiteLLM's path
        .route("/sso/callback", get(callback::finish).route_layer(rate_limit.clone()))
        .route("/sso/logout", post(logout::end))
        .route("/sso/frontchannel-logout", get(logout::front_channel).route_layer(rate_limit))
        .route("/api/me", get(api::me))
        .route("/api/teams", get(api::teams))
        .route("/api/teams/{id}", get(api::team))
        .route("/api/organizations", get(api::organizations))
        .route("/api/organizations/{id}", get(api::organization))
        .route("/api/people", get(api::users))
        .route("/api/people/{id}", get(api::user))
        .route("/api/people/{id}/explain", get(api::explain))
        .route("/api/syncs", get(api::syncs))
        .route("/api/syncs/failed", get(api::failed_sign_ins))
        .route("/api/reconciliation/runs", get(api::reconciliation_runs))
        .route("/api/reconciliation/runs/{run_id}", get(api::reconciliation_run))
        .route("/api/reconciliation/run", post(api::request_reconciliation))
        .route("/api/reconciliation/plan", get(api::held_plan))
        .route("/api/reconciliation/plans/{hash}/approve", post(api::approve_plan))
        .route("/api/reconciliation/plans/{hash}/reject", post(api::reject_plan))
        .route("/api/audit", get(api::audit))
        .route("/api/audit/export", get(audit::export))
        .route("/api/openapi.json", get(api::openapi))
        .route("/assets/{name}", get(assets::get))
        .route("/assets/{version}/{name}", get(assets::get_version))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/.well-known/jwks.json", get(forward_auth::keys))
        .layer(same_origin)
        // Without the same-origin layer: proxies forward requests of other sites' clients.
        .merge(forward_auth::router());
    let routes = match public_url.base_path() {
        "" => service,
        // The container's health check does not know the base path.
        base => Router::new()
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route(&format!("{base}/"), get(welcome::home))
            .nest(base, service),
    };
    Ok(routes
        .fallback(async || WebError::NotFound)
        .method_not_allowed_fallback(async || WebError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(limits::MAX_BODY))
        .layer(from_fn(middleware::size_limits))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn_with_state(app.clone(), middleware::errors))
        .layer(from_fn(forward_auth::ensure_identity_headers))
        .layer(from_fn_with_state(app.clone(), middleware::security_headers))
        .layer(from_fn(middleware::access_log))
        .layer(from_fn_with_state(app.clone(), metrics::count_requests))
        .layer(from_fn_with_state(app.clone(), middleware::request_id))
        .layer(from_fn_with_state(app.clone(), middleware::client_ip))
        .with_state(app.clone()))
}
