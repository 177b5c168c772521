//! Writes and logs the errors of handlers: a page for browsers, `application/problem+json` (RFC 9457) for clients that
//! accept JSON.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use super::RequestId;
use crate::http::error::{ErrorMessage, PendingError, WebError};
use crate::http::layout::Layout;
use crate::http::state::App;
use crate::http::{metrics, paths};
use crate::util::sanitize::sanitize_for_log;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    layout: Layout,
    message: &'a ErrorMessage,
    request_id: &'a str,
    /// The query of the sign-in link.
    query: String,
}

/// Middleware that writes and logs errors.
pub(in crate::http) async fn errors(
    State(app): State<Arc<App>>,
    RequestId(id): RequestId,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri().clone();
    let wants_json = wants_json(uri.path(), request.headers());
    let through_proxy = paths::is_verify(uri.path());
    // After signing in, the user returns to the page that they opened.
    let is_page = request.method() == Method::GET && !through_proxy;
    let mut response = next.run(request).await;
    let pending = match response.extensions_mut().remove::<PendingError>() {
        Some(pending) => pending,
        None if (response.status().is_client_error() || response.status().is_server_error())
            && !response.headers().contains_key(CONTENT_TYPE) =>
        {
            PendingError::new(WebError::Refused(response.status()))
        }
        None => return response,
    };
    let (error, message) = (&*pending.error, pending.error.message());
    metrics::record_error(&app.metrics, error);
    log(&app, error, &message, uri.path());
    let (kind, body) = if wants_json {
        ("application/problem+json", problem(&message, &id))
    } else {
        let layout = if through_proxy { Layout::with_absolute_urls(&app) } else { Layout::new(&app) };
        let current_path = uri.path_and_query().filter(|_| is_page && matches!(error, WebError::NotSignedIn));
        let return_to = pending.return_to.as_deref().or(current_path.map(PathAndQuery::as_str));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(return_to.map(|path| ("return_to", path)));
        let page = ErrorPage { layout, message: &message, request_id: &id, query: query.finish() };
        ("text/html; charset=utf-8", page.render().unwrap_or_else(|_| message.detail.to_string()))
    };
    *response.status_mut() = message.status;
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(seconds) = message.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Logs an error once. The path is a field because the request's access-log line may be below the configured level.
fn log(app: &App, error: &WebError, message: &ErrorMessage, path: &str) {
    let (code, path) = (message.code, sanitize_for_log(path));
    // An outage is logged once a minute. The access log has every failed request.
    let repeated = matches!(error, WebError::DatabaseUnavailable(text) if !app.database_log.is_new(text));
    // Users and crawlers cause these in normal operation.
    let expected = matches!(error, WebError::NotFound | WebError::Canceled | WebError::ConsentDeclined);
    // Normal before every sign-in.
    let unauthorized = message.status == StatusCode::UNAUTHORIZED;
    if repeated || unauthorized {
        tracing::debug!(code, path, %error, "request failed");
    } else if message.status.is_server_error() {
        tracing::error!(code, path, %error, "request failed");
    } else if expected {
        tracing::info!(code, path, %error, "request failed");
    } else {
        tracing::warn!(code, path, %error, "request failed");
    }
}

fn problem(message: &ErrorMessage, request_id: &str) -> String {
    let mut problem = json!({
        "type": format!("urn:entraway:problem:{}", message.code), "code": message.code, "title": message.title,
        "status": message.status.as_u16(), "detail": message.detail, "remedy": message.help, "request_id": request_id,
    });
    if let Some(parameter) = &message.parameter {
        problem["parameter"] = json!(parameter);
    }
    problem.to_string()
}

fn wants_json(path: &str, headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let json = accept.contains("application/json") || accept.contains("application/problem+json");
    path.contains("/api/") || (json && !accept.contains("text/html"))
}
