//! The access log: one line and one trace span per request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use tracing::field::display;

use super::{ClientIp, FromProxy, RequestId};
use crate::http::{paths, trace_context};
use crate::observability::spans;
use crate::util::sanitize::sanitize_for_log;

/// Whether successful forward-auth requests are logged, too.
pub(in crate::http) fn is_debug_enabled() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// Logs each request and records it in a trace. The path is logged without its query, which may hold a code or a state,
/// and without e-mail addresses. A trace context counts only from a trusted proxy.
pub(in crate::http) async fn access_log(
    RequestId(id): RequestId,
    client: ClientIp,
    request: Request,
    next: Next,
) -> Response {
    let client = client.address.map(display);
    let from_proxy = request.extensions().get::<FromProxy>().is_some_and(|from| from.0);
    let method = request.method().clone();
    let path = sanitize_for_log(request.uri().path());
    let parent = from_proxy.then(|| trace_context::parent(request.headers())).flatten();
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let traced = spans::request(&method, route, parent.as_ref());
    let trace_id = spans::id(&traced, parent.as_ref());
    let started_at = Instant::now();
    let span = traced.clone();
    async move {
        let response = next.run(request).await;
        let ms = started_at.elapsed().as_secs_f64() * 1_000.0;
        let status = response.status().as_u16();
        spans::answered(&span, status);
        // Proxies send a forward-auth request for every image of every page: only failures are logged at info.
        if paths::is_verify(&path) && !response.status().is_server_error() {
            tracing::debug!(%method, path, status, ms, client, "answered");
        } else {
            tracing::info!(%method, path, status, ms, client, "answered");
        }
        response
    }
    // Handlers record `user_id`. The level is ERROR because the filter would drop a lower one, and the request ID with it.
    .instrument(tracing::error_span!("request", request_id = %id, trace_id, user_id = tracing::field::Empty))
    .instrument(traced)
    .await
}
