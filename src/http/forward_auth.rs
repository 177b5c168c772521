//! Forward auth (`/auth/verify`): a reverse proxy asks for each request whether it is allowed, and for which user.
//!
//! The response is 200 with the identity in headers, 401 without a session, or 403 if the user does not meet the access
//! requirement. If the proxy passes our response to the browser, it is a redirect to the sign-in instead of 401. Every
//! response sets all identity headers, empty if necessary, so that no header of the client passes through.

mod access_requirement;
mod fast_path;
mod proxy_kind;
mod upstream_headers;

use std::sync::Arc;

use axum::extract::{Extension, RawQuery, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use super::App;
use super::error::WebError;
use super::middleware::FromProxy;
use super::paths::{VERIFY as PATH, is_verify};
use super::return_to::ReturnTo;
use super::session_cookie;
use crate::assertion::JWKS_MAX_AGE;
use crate::identity_headers::{ASSERTION, IDENTITY_HEADERS};
use crate::session::LiveSession;

pub(super) use access_requirement::AccessRequirement;
pub(super) use fast_path::answer as fast_path_answer;
pub(super) use proxy_kind::ProxyKind;
use upstream_headers::Upstream;

const ENVOY: &str = "/auth/verify/envoy";

/// Sign-in URL on a 401, for proxies that do not pass on a redirect. Empty if the request is not a page load.
static SIGN_IN: HeaderName = HeaderName::from_static("x-auth-request-sign-in");

pub(super) fn router() -> Router<Arc<App>> {
    // Envoy appends the requested path to ours. Other proxies may not: with an extra slash in their configuration, the
    // `?team=…` of the access requirement would be ignored.
    Router::new()
        .route(PATH, any(verify))
        .route(&format!("{ENVOY}/"), any(verify))
        .route(&format!("{ENVOY}/{{*path}}"), any(verify))
}

async fn verify(
    State(app): State<Arc<App>>,
    Extension(FromProxy(trusted)): Extension<FromProxy>,
    RawQuery(query): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    // Behind Envoy, the query is the client's own and not an access requirement.
    let envoy = uri.path().strip_prefix(ENVOY);
    let requirement =
        if envoy.is_none() { AccessRequirement::parse(query.as_deref())? } else { AccessRequirement::default() };
    let Some(session) = session_cookie::signed_in(&app, &headers).await? else {
        let proxy =
            if trusted { ProxyKind::of(&headers, envoy.map(|_| client_target(&uri))) } else { ProxyKind::Unknown };
        return Ok(not_signed_in(&app, &proxy, &headers));
    };
    tracing::Span::current().record("user_id", tracing::field::display(session.user.identity.object_id));
    if !requirement.is_met_by(&session.user) {
        return Err(WebError::NotInAny);
    }
    let upstream = if trusted { Upstream::of(&headers, envoy.is_some()) } else { Upstream::Unspecified };
    allowed(&app, &session, &upstream).await
}

/// Path and query of the client's request, behind Envoy.
fn client_target(uri: &Uri) -> &str {
    let target = uri.path_and_query().map_or("", |both| both.as_str());
    target.strip_prefix(ENVOY).unwrap_or_default()
}

async fn allowed(app: &App, session: &LiveSession, upstream: &Upstream) -> Result<Response, WebError> {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    *headers = session.headers.to_map();
    if let (Some(assertions), Some(assertion)) = (&app.assertions, &app.config.session.assertion) {
        if let Some(audience) = upstream.audience(assertion) {
            let signed = HeaderValue::try_from(assertions.sign(&session.user, audience, session.auth_time).await?);
            headers.insert(ASSERTION, signed.map_err(|error| WebError::Internal(error.to_string()))?);
        } else {
            // Without an audience, any upstream would accept it.
            tracing::debug!(?upstream, "no assertion added: unknown audience");
        }
    }
    Ok(response)
}

fn not_signed_in(app: &App, proxy: &ProxyKind, headers: &HeaderMap) -> Response {
    let public_url = &app.config.server.public_url;
    let sign_in = || {
        let mut url = public_url.join("/sso/login");
        let address = proxy.address().and_then(|to| ReturnTo::parse(to, public_url, &app.config.return_hosts));
        if let Some(to) = address {
            url.query_pairs_mut().append_pair("return_to", to.as_str());
        }
        HeaderValue::try_from(url.as_str()).ok()
    };
    let page = proxy_kind::is_page_load(headers);
    match proxy {
        ProxyKind::Redirecting(_) if page => {
            let location = sign_in().map(|url| [(LOCATION, url)]);
            (StatusCode::FOUND, location.unwrap_or([(LOCATION, HeaderValue::from_static("/"))])).into_response()
        }
        ProxyKind::StatusOnly(_) => {
            let mut response = WebError::NotSignedIn.into_response();
            let url = sign_in().filter(|_| page).unwrap_or(HeaderValue::from_static(""));
            response.headers_mut().insert(SIGN_IN.clone(), url);
            response
        }
        ProxyKind::Redirecting(_) | ProxyKind::Unknown => WebError::NotSignedIn.into_response(),
    }
}

/// Middleware that adds the identity headers that a response lacks, with empty values.
pub(super) async fn ensure_identity_headers(request: Request, next: Next) -> Response {
    let is_verify = is_verify(request.uri().path());
    let mut response = next.run(request).await;
    if is_verify {
        let headers = response.headers_mut();
        for name in IDENTITY_HEADERS {
            headers.entry(name).or_insert(HeaderValue::from_static(""));
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// `GET /.well-known/jwks.json`: the public keys of assertions.
pub(super) async fn keys(State(app): State<Arc<App>>) -> Result<impl IntoResponse, WebError> {
    let assertions = app.assertions.as_ref().ok_or(WebError::NotFound)?;
    let cache = format!("public, max-age={}", JWKS_MAX_AGE.as_secs());
    Ok(([(CACHE_CONTROL, cache)], Json(assertions.jwks().await?)))
}
