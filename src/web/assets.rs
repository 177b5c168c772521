//! The few files that pages load, compiled in.

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::error::WebError;

pub(super) async fn get(Path(name): Path<String>) -> Result<Response, WebError> {
    let (kind, body) = match name.as_str() {
        "entraway.css" => ("text/css; charset=utf-8", include_str!("../../assets/entraway.css")),
        "microsoft.svg" => ("image/svg+xml", include_str!("../../assets/microsoft.svg")),
        "entraway.svg" => ("image/svg+xml", include_str!("../../assets/entraway.svg")),
        _ => return Err(WebError::NotFound),
    };
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=3600")], body).into_response())
}
