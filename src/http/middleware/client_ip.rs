//! The client's IP address, behind trusted proxies or without one.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::http::state::App;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The client of a request, as a request extension and an extractor.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::http) struct ClientIp {
    /// The peer's address, or the one that a trusted proxy names. If the proxy names none, all its clients share the
    /// proxy's address.
    pub(in crate::http) address: Option<IpAddr>,
    /// Whether an untrusted peer sent `X-Forwarded-For`. The header was ignored.
    pub(in crate::http) untrusted_forwarded_for: bool,
}

impl<S: Sync> FromRequestParts<S> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}

/// Whether the peer is one of `server.trusted_proxies`, as a request extension.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct FromProxy(pub(in crate::http) bool);

/// Adds [`ClientIp`] and [`FromProxy`] to every request.
pub(in crate::http) async fn client_ip(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let trusted = |address: IpAddr| app.is_trusted_proxy(address);
    let from_proxy = peer.is_some_and(trusted);
    let forwarded = from_proxy.then(|| forwarded_for(request.headers(), trusted)).flatten();
    let untrusted_forwarded_for = !from_proxy && request.headers().contains_key(X_FORWARDED_FOR);
    request.extensions_mut().insert(FromProxy(from_proxy));
    request.extensions_mut().insert(ClientIp { address: forwarded.or(peer), untrusted_forwarded_for });
    next.run(request).await
}

/// The last address in `X-Forwarded-For` that is not a trusted proxy. The client may have forged the addresses before it.
pub(in crate::http) fn forwarded_for(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    // As bytes: the client's part of a line may not be UTF-8, and must not hide the part that the proxy added.
    let lines = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let addresses: Vec<&[u8]> = lines.flat_map(|line| line.split(|byte| *byte == b',')).collect();
    for bytes in addresses.into_iter().rev() {
        let text = std::str::from_utf8(bytes).ok()?.trim();
        // Some proxies add the client's port.
        let address = text.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| text.parse::<IpAddr>());
        let address = address.ok()?.to_canonical();
        if !trusted(address) {
            return Some(address);
        }
    }
    None
}
