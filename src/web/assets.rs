//! The few files that pages load, compiled in; and the operator's logo.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::App;
use super::error::WebError;
use crate::config::LogoKind;

/// Scripts in a logo do not run, even where somebody opens it by itself: every answer's policy allows none.
pub(super) async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, WebError> {
    if let ("logo", Some(logo)) = (name.as_str(), &app.config.pages.logo) {
        let kind = match logo.kind {
            LogoKind::Svg => "image/svg+xml",
            LogoKind::Png => "image/png",
        };
        let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=3600")];
        return Ok((headers, logo.bytes.to_vec()).into_response());
    }
    let (kind, body) = match name.as_str() {
        "entraway.css" => ("text/css; charset=utf-8", include_str!("../../assets/entraway.css")),
        "microsoft.svg" => ("image/svg+xml", include_str!("../../assets/microsoft.svg")),
        "entraway.svg" => ("image/svg+xml", include_str!("../../assets/entraway.svg")),
        _ => return Err(WebError::NotFound),
    };
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=3600")], body).into_response())
}
