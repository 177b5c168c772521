//! What happens to every request, whatever its route: an id, a log line, the headers that keep a page to itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{App, forward_auth, request_metrics, trace_context};
use crate::observability::spans;
use crate::util::sanitize::sanitize_for_log;

pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// By what a person and an operator talk about the same request.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) Arc<str>);

/// Who sent the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress {
    /// The peer's, or that which a trusted proxy names. A proxy that names nobody stands for all who come through it.
    pub(super) address: Option<IpAddr>,
    /// Whether a peer named somebody that is not trusted to do so.
    pub(super) passed_over: bool,
}

/// Whether the peer is one of `server.trusted_proxies`.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromProxy(pub(super) bool);

/// Gives every request an id, and every answer the same one. `X-Request-Id`, `X-Forwarded-For` and a trace count only
/// from `server.trusted_proxies`.
pub(super) async fn identify(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let socket = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let peer = socket.map(|socket| socket.ip().to_canonical());
    let trusted = |address: IpAddr| app.trusts(address);
    let from_proxy = peer.is_some_and(trusted);
    let id: Arc<str> = id_of(&app, socket, request.headers()).into();
    request.extensions_mut().insert(FromProxy(from_proxy));
    if let Some(parent) = from_proxy.then(|| trace_context::given(request.headers())).flatten() {
        request.extensions_mut().insert(parent);
    }
    let named = from_proxy.then(|| forwarded_for(request.headers(), trusted)).flatten();
    let passed_over = !from_proxy && request.headers().contains_key(X_FORWARDED_FOR);
    request.extensions_mut().insert(ClientAddress { address: named.or(peer), passed_over });
    request.extensions_mut().insert(RequestId(id.clone()));
    let route = request_metrics::route(request.uri().path(), app.config.server.public_url.base_path());
    let mut response = next.run(request).await;
    request_metrics::answered(&app.metrics, route, response.status());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID.clone(), value);
    }
    response
}

/// The id of a request: that which a trusted proxy gave it, or one of our own.
pub(super) fn id_of(app: &App, peer: Option<SocketAddr>, headers: &HeaderMap) -> String {
    let given = given_id(headers).filter(|_| peer.is_some_and(|peer| app.trusts(peer.ip().to_canonical())));
    given.unwrap_or_else(|| Uuid::new_v4().to_string())
}

/// The id in the headers, if it came once: of two, one may be the client's.
pub(super) fn given_id(headers: &HeaderMap) -> Option<String> {
    let mut ids = headers.get_all(&X_REQUEST_ID).iter();
    let id = ids.next().filter(|_| ids.next().is_none())?.to_str().ok()?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    (plain && (8..=64).contains(&id.len())).then(|| id.to_owned())
}

/// The last address in the list that is no proxy of ours: what stands before it, the client may have made up.
pub(super) fn forwarded_for(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    // As bytes: the client's part of a line need be no text, and must not hide the proxy's behind it.
    let lines = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let addresses: Vec<&[u8]> = lines.flat_map(|line| line.split(|byte| *byte == b',')).collect();
    for bytes in addresses.into_iter().rev() {
        let text = std::str::from_utf8(bytes).ok()?.trim();
        // Some proxies write the client's port as well.
        let address = text.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| text.parse::<IpAddr>());
        let address = address.ok()?.to_canonical();
        if !trusted(address) {
            return Some(address);
        }
    }
    None
}

/// When the answering of a request began, where that was before all layers.
#[derive(Clone, Copy)]
pub(super) struct Since(pub(super) Instant);

/// Whether there is a line for each request, also for those of proxies that go well.
pub(super) fn logs_all() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// One line a request, and a span in a trace. The path without its query: that may hold a code or a state. And without
/// what may be an address.
pub(super) async fn log(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let client = request.extensions().get::<ClientAddress>().and_then(|client| client.address);
    let method = request.method().clone();
    let path = sanitize_for_log(request.uri().path());
    let parent = request.extensions().get::<spans::Parent>();
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let traced = spans::request(&method, route, parent);
    let trace_id = spans::id(&traced, parent);
    let begin = request.extensions().get::<Since>().map_or_else(Instant::now, |since| since.0);
    let span = traced.clone();
    async move {
        let response = next.run(request).await;
        let ms = begin.elapsed().as_secs_f64() * 1_000.0;
        let status = response.status();
        spans::answered(&span, status.as_u16());
        // Proxies ask for each picture of each page: only what goes wrong is worth a line.
        if forward_auth::is_verify(&path) && !status.is_server_error() {
            tracing::debug!(%method, path, status = status.as_u16(), ms, client = client.map(tracing::field::display), "answered");
        } else {
            tracing::info!(%method, path, status = status.as_u16(), ms, client = client.map(tracing::field::display), "answered");
        }
        response
    }
    // Who it is, is found out on the way.
    // The span of an error: at a lower level the filter would drop it, and with it the ID in the lines of the request.
    .instrument(tracing::error_span!("request", request_id = %id, trace_id, user_id = tracing::field::Empty))
    .instrument(traced)
    .await
}

/// What a browser keeps to itself and away from our pages, should they ever run a script.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

/// A year, for this host alone: what is below it or beside it is not ours to speak for.
const HTTPS_ONLY: &str = "max-age=31536000";

/// Pages run no script, load nothing from elsewhere, and stand in nobody's frame. The sign-out's form ends at Entra, and
/// from there perhaps at another identity provider's: browsers hold `form-action` against all of these redirects.
pub(super) async fn security_headers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let authority = app.config.entra.authority_url.origin().ascii_serialization();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https: {authority}; frame-ancestors 'none'; base-uri 'none'"
    );
    let redirects = response.status().is_redirection();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    keep_to_own_origin(headers);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Not `no-referrer`: browsers would then send `Origin: null` with our own forms.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("permissions-policy", HeaderValue::from_static(PERMISSIONS));
    // A redirect shows nothing. With this header on the way, an application that has people sign in in a window of its own
    // would lose that window, although it ends at a page of the application.
    if !redirects {
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    }
    let public_url = &app.config.server.public_url;
    if public_url.is_secure() && public_url.has_dedicated_host() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HTTPS_ONLY));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Adds the headers that keep a page of another origin from using an answer as a script, an image or a style (Fetch
/// standard, "Cross-Origin-Resource-Policy header" and "X-Content-Type-Options header").
pub(super) fn keep_to_own_origin(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}
