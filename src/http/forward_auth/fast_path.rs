//! Fast path: answers forward auth from memory, before routing and all layers. Proxies send a request for every image
//! of every page, and nearly all of them are from signed-in users.
//!
//! Everything else takes the regular route, including the first request of a session that is not in memory yet. The response has the same headers as on the route, except those that only
//! matter for pages. `Cross-Origin-Resource-Policy` and `nosniff` are included, since browsers may request this path,
//! too.

use std::net::SocketAddr;

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response};

use super::{AccessRequirement, App, session_cookie};
use crate::http::{limits, metrics, middleware};
use crate::observability::metrics::Lookup;
use crate::observability::spans;

/// Answers an allowed request. `None` if the regular route has to: another path, no cached session, an access
/// requirement that is not met, a body, an assertion to sign, a log or trace that records all requests.
pub(in crate::http) fn answer<B: HttpBody>(app: &App, request: &Request<B>) -> Option<Response<Body>> {
    if request.uri().path() != app.verify_path
        || app.assertions.is_some()
        || !request.body().is_end_stream()
        || middleware::is_debug_enabled()
        || spans::collected()
        || limits::too_large(request).is_some()
    {
        return None;
    }
    let requirement = AccessRequirement::parse(request.uri().query()).ok()?;
    let session = session_cookie::cached(app, request.headers())?;
    if !requirement.is_met_by(&session.user) {
        return None;
    }
    app.metrics.session_lookups.add(Lookup::Memory);
    metrics::record_fast_path(&app.metrics);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let request_id = middleware::request_id_for(app, peer, request.headers());
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    *headers = session.headers.to_map();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    middleware::restrict_to_same_origin(headers);
    headers.insert(middleware::X_REQUEST_ID.clone(), HeaderValue::from_str(&request_id).ok()?);
    Some(response)
}
