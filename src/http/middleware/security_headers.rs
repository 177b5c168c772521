//! Security headers of every response.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::state::App;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Browser features that our pages never use.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

/// One year, for this host only: subdomains and sibling hosts may belong to others.
const HSTS: &str = "max-age=31536000";

/// Adds security headers. Pages run no script, load nothing from other hosts and cannot be framed. The sign-out form
/// redirects to Entra and perhaps to a federated identity provider, and browsers apply `form-action` to these redirects.
pub(in crate::http) async fn security_headers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let authority = app.config.entra.authority_url.origin().ascii_serialization();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https: {authority}; frame-ancestors 'none'; base-uri 'none'"
    );
    let is_redirect = response.status().is_redirection();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    restrict_to_same_origin(headers);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // With `no-referrer`, browsers would send `Origin: null` with our own forms.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("permissions-policy", HeaderValue::from_static(PERMISSIONS));
    // Not on redirects: an application that opens the sign-in in a popup would lose its reference to the popup.
    if !is_redirect {
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    }
    let public_url = &app.config.server.public_url;
    if public_url.is_secure() && public_url.has_dedicated_host() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Adds the headers that keep a page of another origin from using a response as a script, an image or a style (Fetch
/// standard, "Cross-Origin-Resource-Policy header" and "X-Content-Type-Options header").
pub(in crate::http) fn restrict_to_same_origin(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}
