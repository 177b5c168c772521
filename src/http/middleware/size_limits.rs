//! Limits the size of requests.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use crate::http::error::WebError;
use crate::http::limits;

/// Middleware that rejects requests that are too large.
pub(in crate::http) async fn size_limits(request: Request, next: Next) -> Result<Response, WebError> {
    match limits::too_large(&request) {
        Some(error) => Err(error),
        None => Ok(next.run(request).await),
    }
}
