//! Limits requests per client address and path.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::ClientIp;
use crate::http::error::WebError;
use crate::http::state::App;

/// Middleware that rejects requests beyond the limit of their client address.
pub(in crate::http) async fn rate_limit(
    State(app): State<Arc<App>>,
    client: ClientIp,
    request: Request,
    next: Next,
) -> Result<Response, WebError> {
    if let Some(address) = client.address
        && let Err(seconds) = app.limits.count_request(address, request.uri().path())
    {
        let untrusted_forwarded_for = client.untrusted_forwarded_for;
        return Err(WebError::TooManyRequests { seconds, untrusted_forwarded_for });
    }
    Ok(next.run(request).await)
}
