//! Metrics of requests, sign-ins and syncs; and `GET /metrics`, on a separate listener.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::error::{self, WebError};
use super::paths;
use super::state::App;
use crate::observability::metrics::{
    CONTENT_TYPE as TEXT, Connection, ForwardAuth, GraphList, GroupKind, Kept, Label as _, Limit, Metrics, Part, Route,
    Row, SignIn, StatusClass, StoreRefusal, Unknown,
};
use crate::oidc::Credentials;
use crate::plan::{GroupList, KeptReason, Note};
use crate::sync_run::SyncRun;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(async || StatusCode::NOT_FOUND)
        .method_not_allowed_fallback(async || StatusCode::NOT_FOUND)
}

/// `GET /metrics`. Updates the gauges first.
async fn metrics(State(app): State<Arc<App>>) -> Result<Response, StatusCode> {
    let metrics = &app.metrics;
    let pool = app.db.pool();
    metrics.postgres_connections.set(Connection::InUse, pool.in_use);
    metrics.postgres_connections.set(Connection::Idle, pool.idle);
    metrics.postgres_most.set((), pool.max_connections);
    metrics.sessions_listening.set((), app.sessions.is_listening());
    metrics.sessions_remembered.set((), app.sessions.cached_count());
    let credentials = app.entra.credentials().await;
    metrics.credential_usable.set((), credentials.is_ok());
    match credentials {
        Ok(Credentials::Certificate { expires_at, .. }) => metrics.credential_ends.set((), expires_at.timestamp()),
        Ok(_) => metrics.credential_ends.set((), 0),
        // Unreadable: keep the last known expiry time.
        Err(_) => {}
    }
    let text = metrics.text().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, TEXT)], text).into_response())
}

/// Classifies a request by its path, with the base path.
fn route(path: &str, base: &str) -> Route {
    if paths::is_verify(path) {
        return Route::Verify;
    }
    match path.strip_prefix(base).unwrap_or(path) {
        "/sso/login" | "/sso/key/generate" => Route::Login,
        "/sso/callback" => Route::Callback,
        "/sso/logout" | "/sso/frontchannel-logout" => Route::Logout,
        "/healthz" | "/readyz" => Route::Health,
        "/.well-known/jwks.json" => Route::Keys,
        path if path.starts_with("/api/") => Route::Api,
        path if path.starts_with("/assets/") => Route::Assets,
        _ => Route::Pages,
    }
}

/// Middleware that counts requests by route and status class.
pub(super) async fn count_requests(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = route(request.uri().path(), app.config.server.public_url.base_path());
    let response = next.run(request).await;
    record_response(&app.metrics, route, response.status());
    response
}

fn record_response(metrics: &Metrics, route: Route, status: StatusCode) {
    metrics.requests.add((route, StatusClass::of(status.as_u16())));
    if route == Route::Verify {
        metrics.forward_auth.add(ForwardAuth::of(status.as_u16()));
    }
}

/// Counts a forward-auth request that the fast path answered.
pub(super) fn record_fast_path(metrics: &Metrics) {
    record_response(metrics, Route::Verify, StatusCode::OK);
}

/// Records the outcome of a sign-in.
pub(super) fn record_sign_in(metrics: &Metrics, response: &Response, time: Duration) {
    let redirect = response.extensions().get::<SignIn>().copied();
    let outcome = match error::code(response) {
        None => redirect.unwrap_or(SignIn::SignedIn),
        Some(code) => SignIn::named(code.into()).unwrap_or(SignIn::Other),
    };
    metrics.sign_ins.add(outcome);
    if outcome == SignIn::SignedIn {
        metrics.sign_in_seconds.observe((), time);
    }
}

/// Records what a sync read and wrote, for denied users, too.
pub(super) fn record_sync(metrics: &Metrics, run: &SyncRun) {
    metrics.sign_in_part_seconds.observe(Part::Entra, run.entra_time);
    if let Some(directory) = &run.directory {
        metrics.sign_in_part_seconds.observe(Part::Graph, run.graph_time);
        let lists =
            [(GraphList::Assigned, directory.assigned.as_ref()), (GraphList::MemberOf, Some(&directory.member_of))];
        for (list, reading) in lists {
            if let Some(GroupList::Unknown(unknown)) = reading {
                let why = Unknown::named(&unknown.code).unwrap_or(Unknown::Other);
                metrics.lists_unknown.add((list, why));
            }
        }
    }
    // A denied sign-in is planned only to remove memberships.
    if run.denial.is_none() {
        metrics.sign_in_part_seconds.observe(Part::Plan, run.plan_time);
        metrics.sign_in_part_seconds.observe(Part::Postgres, run.store_time);
    }
    let applied = &run.applied;
    for (row, count) in [
        (Row::Organization, applied.organizations_created.len()),
        (Row::Team, applied.teams_created.len()),
        (Row::OrganizationMember, applied.organizations_joined.len()),
        (Row::TeamMember, applied.teams_joined.len()),
        (Row::User, usize::from(applied.user_created)),
        (Row::PersonChange, usize::from(applied.user_updated)),
    ] {
        metrics.rows_written.add_many(row, count);
    }
    metrics.memberships_removed.add_many(GroupKind::Team, applied.removed_from_teams.len());
    metrics.memberships_removed.add_many(GroupKind::Organization, applied.removed_from_organizations.len());
    metrics.keys_blocked.add_many((), applied.keys_blocked.values().map(BTreeSet::len).sum());
    for note in &run.notes {
        if let Note::RemovalKept { reason, .. } = note {
            metrics.removals_kept.add(match reason {
                KeptReason::LastAdmin => Kept::LastAdmin,
                KeptReason::ListedAdmin => Kept::ListedAdmin,
                KeptReason::MissingPrivileges => Kept::MissingPrivileges,
                KeptReason::OtherInstallation => Kept::OtherInstallation,
            });
        }
    }
    for kind in applied.failures.iter().filter_map(|failure| GroupKind::named(failure.kind)) {
        metrics.groups_refused.add(kind);
    }
    metrics.sync_retries.add_many((), applied.retries as usize);
}

/// Counts a request that was rejected by a limit or for lack of the database.
pub(super) fn record_error(metrics: &Metrics, error: &WebError) {
    match error {
        WebError::TooManySignIns => metrics.limits_refused.add(Limit::SignIns),
        WebError::TooManyRequests { .. } => metrics.limits_refused.add(Limit::PerAddress),
        WebError::TooManySignInsOfUser { .. } => metrics.limits_refused.add(Limit::PerUser),
        WebError::TargetTooLong => metrics.limits_refused.add(Limit::Target),
        WebError::HeadersTooLong => metrics.limits_refused.add(Limit::Headers),
        WebError::CookiesTooLong => metrics.limits_refused.add(Limit::Cookies),
        WebError::BodyTooLong => metrics.limits_refused.add(Limit::Body),
        WebError::DatabaseUnavailable(_) => metrics.postgres_refusals.add(StoreRefusal::Unavailable),
        WebError::Busy => metrics.postgres_refusals.add(StoreRefusal::Busy),
        _ => {}
    }
}
