//! Request IDs: in the log, on error pages, and in every response.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::http::state::App;

pub(in crate::http) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The ID by which users and operators refer to a request, as a request extension and an extractor.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct RequestId(pub(in crate::http) Arc<str>);

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Adds a [`RequestId`] to every request, and the same ID to its response.
pub(in crate::http) async fn request_id(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let id: Arc<str> = request_id_for(&app, peer, request.headers()).into();
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID.clone(), value);
    }
    response
}

/// The ID that a trusted proxy sent, or a new one.
pub(in crate::http) fn request_id_for(app: &App, peer: Option<SocketAddr>, headers: &HeaderMap) -> String {
    let from_proxy = peer.is_some_and(|peer| app.is_trusted_proxy(peer.ip().to_canonical()));
    let sent = sent_request_id(headers).filter(|_| from_proxy);
    sent.unwrap_or_else(|| Uuid::new_v4().to_string())
}

/// The value of `X-Request-Id` if it was sent once and is plain. With two values, one may be the client's.
pub(in crate::http) fn sent_request_id(headers: &HeaderMap) -> Option<String> {
    let mut ids = headers.get_all(&X_REQUEST_ID).iter();
    let id = ids.next().filter(|_| ids.next().is_none())?.to_str().ok()?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    (plain && (8..=64).contains(&id.len())).then(|| id.to_owned())
}
