//! Fast path: answers forward auth from memory, before routing and all layers. Proxies send a request for every image
//! of every page, and nearly all of them are from signed-in users.
//!
//! Everything else takes the regular route. The response has the same headers as on the route, except those that only
//! matter for pages. `Cross-Origin-Resource-Policy` and `nosniff` are included, since browsers may request this path,
//! too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response};

use super::{AccessRequirement, App, session_cookie};
use crate::db::{DbError, ForwardedUser};
use crate::http::{limits, metrics, middleware};
use crate::observability::spans;
use crate::session::LiveSession;

/// The result of the session lookup, for the regular route. It is not repeated there.
#[derive(Clone)]
pub(super) struct FoundSession(pub(super) Result<Option<LiveSession>, Arc<DbError>>);

/// Answers an allowed request. `None` if the regular route has to: another path, no session, an access requirement that
/// is not met, a body, an assertion to sign, a log or trace that records all requests.
pub(in crate::http) async fn answer<B: HttpBody>(app: &App, request: &mut Request<B>) -> Option<Response<Body>> {
    if request.uri().path() != app.verify_path
        || app.assertions.is_some()
        || !request.body().is_end_stream()
        || middleware::is_debug_enabled()
        || spans::collected()
        || limits::too_large(request).is_some()
    {
        return None;
    }
    let requirement = request.uri().query().map(|query| AccessRequirement::parse(Some(query))).transpose().ok()?;
    let allowed = |user: &ForwardedUser| requirement.as_ref().is_none_or(|requirement| requirement.is_met_by(user));
    let started_at = Instant::now();
    let session = match session_cookie::signed_in(app, request.headers()).await {
        Ok(Some(session)) if allowed(&session.user) => session,
        other => {
            request.extensions_mut().insert(FoundSession(other));
            request.extensions_mut().insert(middleware::StartedAt(started_at));
            return None;
        }
    };
    metrics::record_fast_path(&app.metrics);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    *headers = session.headers.to_map();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    middleware::restrict_to_same_origin(headers);
    headers.insert(
        middleware::X_REQUEST_ID.clone(),
        HeaderValue::from_str(&middleware::request_id_for(app, peer, request.headers())).ok()?,
    );
    Some(response)
}
