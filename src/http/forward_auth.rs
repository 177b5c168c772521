//! `/auth/verify`: a reverse proxy asks for each request whether it may pass, and as whom.
//!
//! 200 with the identity in headers, 401 for nobody, 403 for somebody who is in none of what was asked for; and where the
//! proxy hands our answer on to the browser, a redirect to the sign-in instead of the 401. Every header that tells an
//! identity is on every answer, empty if need be.

mod access_requirement;
mod fast_path;
mod proxy_kind;
mod upstream_headers;

use std::sync::Arc;

use axum::extract::{Extension, RawQuery, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use serde_json::Value;

use super::App;
use super::error::WebError;
use super::middleware::FromProxy;
use super::return_to::ReturnTo;
use super::session_cookie;
use crate::assertion::JWKS_MAX_AGE;
use crate::session::{ASSERTION, IDENTITY_HEADERS, LiveSession};

pub(super) use access_requirement::AccessRequirement;
use fast_path::Found;
pub(super) use fast_path::answer as answer_at_once;
pub(super) use proxy_kind::ProxyKind;
use upstream_headers::Upstream;

pub(super) const PATH: &str = "/auth/verify";
const ENVOY: &str = "/auth/verify/envoy";

/// With a 401, for a proxy that does not hand on a redirect: where the browser has to go. Empty where it is no page.
static SIGN_IN: HeaderName = HeaderName::from_static("x-auth-request-sign-in");

pub(super) fn router() -> Router<Arc<App>> {
    // Envoy puts the path that it was asked for behind ours. Nothing else may stand there: a slash too many in another
    // proxy's configuration must not let its `?team=…` go unheard.
    Router::new()
        .route(PATH, any(verify))
        .route(&format!("{ENVOY}/"), any(verify))
        .route(&format!("{ENVOY}/{{*path}}"), any(verify))
}

/// Whether a path, with the public URL's own before it, is one of these.
pub(super) fn is_verify(path: &str) -> bool {
    path.split_once(PATH).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('/'))
}

async fn verify(
    State(app): State<Arc<App>>,
    Extension(FromProxy(trusted)): Extension<FromProxy>,
    found: Option<Extension<Found>>,
    RawQuery(query): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    // Behind Envoy the query is the client's own, and says nothing of what the operator asks for.
    let envoy = uri.path().strip_prefix(ENVOY);
    let required =
        if envoy.is_none() { AccessRequirement::parse(query.as_deref())? } else { AccessRequirement::default() };
    let found = match found {
        Some(Extension(Found(found))) => found,
        None => session_cookie::signed_in(&app, &headers).await,
    };
    let Some(session) = found? else {
        let origin = if trusted { ProxyKind::of(&headers, envoy.map(|_| after(&uri))) } else { ProxyKind::Untold };
        return Ok(not_signed_in(&app, &origin, &headers));
    };
    let person = session.user.decode();
    tracing::Span::current().record("user_id", tracing::field::display(person.identity.object_id));
    if !required.is_met_by(&person) {
        return Err(WebError::NotInAny);
    }
    let upstream = if trusted { Upstream::of(&headers, envoy.is_some()) } else { Upstream::NotNamed };
    passed(&app, &session, &upstream).await
}

/// What of Envoy's request is the client's: path and query.
fn after(uri: &Uri) -> &str {
    let whole = uri.path_and_query().map_or("", |both| both.as_str());
    whole.strip_prefix(ENVOY).unwrap_or_default()
}

async fn passed(app: &App, session: &LiveSession, upstream: &Upstream) -> Result<Response, WebError> {
    let mut response = StatusCode::OK.into_response();
    let person = session.user.decode();
    let headers = response.headers_mut();
    *headers = person.headers();
    if let (Some(assertions), Some(assertion)) = (&app.assertions, &app.config.session.assertion) {
        if let Some(audience) = upstream.audience(assertion) {
            let signed = HeaderValue::try_from(assertions.sign(&person, audience, session.auth_time).await?);
            headers.insert(ASSERTION, signed.map_err(|error| WebError::Internal(error.to_string()))?);
        } else {
            // Without an audience, any upstream would accept it.
            tracing::debug!(?upstream, "no assertion: the audience is not known");
        }
    }
    Ok(response)
}

fn not_signed_in(app: &App, origin: &ProxyKind, headers: &HeaderMap) -> Response {
    let public_url = &app.config.server.public_url;
    let sign_in = || {
        let mut url = public_url.join("/sso/login");
        let address = origin.address().and_then(|to| ReturnTo::parse(to, public_url, &app.config.return_hosts));
        if let Some(to) = address {
            url.query_pairs_mut().append_pair("return_to", to.as_str());
        }
        HeaderValue::try_from(url.as_str()).ok()
    };
    let page = proxy_kind::is_page_load(headers);
    match origin {
        ProxyKind::Redirects(_) if page => {
            let location = sign_in().map(|url| [(LOCATION, url)]);
            (StatusCode::FOUND, location.unwrap_or([(LOCATION, HeaderValue::from_static("/"))])).into_response()
        }
        ProxyKind::Refuses(_) => {
            let mut response = WebError::NotSignedIn.into_response();
            let url = sign_in().filter(|_| page).unwrap_or(HeaderValue::from_static(""));
            response.headers_mut().insert(SIGN_IN.clone(), url);
            response
        }
        ProxyKind::Redirects(_) | ProxyKind::Untold => WebError::NotSignedIn.into_response(),
    }
}

/// Adds, empty, the headers of an identity that an answer lacks: whatever happened on the way to it.
pub(super) async fn identity_on_every_answer(request: Request, next: Next) -> Response {
    let ours = is_verify(request.uri().path());
    let mut response = next.run(request).await;
    if ours {
        let headers = response.headers_mut();
        for name in IDENTITY_HEADERS {
            headers.entry(name).or_insert(HeaderValue::from_static(""));
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// `GET /.well-known/jwks.json`: the keys that assertions are signed with.
pub(super) async fn keys(State(app): State<Arc<App>>) -> Result<([(HeaderName, String); 1], Json<Value>), WebError> {
    let assertions = app.assertions.as_ref().ok_or(WebError::NotFound)?;
    let hold = format!("public, max-age={}", JWKS_MAX_AGE.as_secs());
    Ok(([(CACHE_CONTROL, hold)], Json(assertions.jwks().await?)))
}
