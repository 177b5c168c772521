//! The answer that proxies get nearly always: somebody who may pass, and that is all. It is given before any layer, since it
//! is given for each picture of each page; whatever else there is to say goes the whole way. It has the route's headers, but
//! for those that tell a browser what a page of ours may do: there is no page. What keeps other sites from reading an answer
//! (`Cross-ProxyKind-Resource-Policy`, `nosniff`) is there: a browser may ask here as well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response};

use super::{AccessRequirement, App, session_cookie};
use crate::db::StoreError;
use crate::http::{limits, middleware, request_metrics};
use crate::observability::spans;
use crate::session::{CompactUser, LiveSession};

/// Who was found on the way to an answer that could not be given at once: nobody is to look once more.
#[derive(Clone)]
pub(super) struct Found(pub(super) Result<Option<LiveSession>, Arc<StoreError>>);

/// The route's answer, or `None` where this is not the place to give one: another path, nobody, somebody who may
/// not pass, a body, an assertion to sign, a log or a trace that wants to hear of it.
pub(in crate::http) async fn answer<B: HttpBody>(app: &App, request: &mut Request<B>) -> Option<Response<Body>> {
    if request.uri().path() != app.verify_path
        || app.assertions.is_some()
        || !request.body().is_end_stream()
        || middleware::logs_all()
        || spans::collected()
        || limits::too_large(request).is_some()
    {
        return None;
    }
    let required = request.uri().query().map(|query| AccessRequirement::parse(Some(query))).transpose().ok()?;
    let passes = |person: &CompactUser<'_>| required.as_ref().is_none_or(|required| required.is_met_by(person));
    let since = Instant::now();
    let session = match session_cookie::signed_in(app, request.headers()).await {
        Ok(Some(session)) if passes(&session.user.decode()) => session,
        other => {
            request.extensions_mut().insert(Found(other));
            request.extensions_mut().insert(middleware::Since(since));
            return None;
        }
    };
    request_metrics::answered_at_once(&app.metrics);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    *headers = session.user.decode().headers();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    middleware::keep_to_own_origin(headers);
    headers.insert(
        middleware::X_REQUEST_ID.clone(),
        HeaderValue::from_str(&middleware::id_of(app, peer, request.headers())).ok()?,
    );
    Some(response)
}
