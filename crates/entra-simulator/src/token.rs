//! The token endpoint: issues tokens for authorization codes and client credentials.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::Duration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use crate::aadsts::EntraError;
use crate::call::{Call, Params};
use crate::client_assertion;
use crate::code::{AccessToken, Authority, Grant, Holder};
use crate::directory::Directory;
use crate::id_token::{IdToken, opaque};
use crate::scopes;
use crate::state::SimulatorState;

/// Entra varies it between 60 and 90 minutes.
const DELEGATED_SECONDS: i64 = 4712;
const APP_ONLY_SECONDS: i64 = 3599;
const CODE_MINUTES: i64 = 10;

pub(crate) fn router() -> Router<Arc<SimulatorState>> {
    Router::new().route("/{tenant}/oauth2/v2.0/token", post(token))
}

async fn token(
    State(state): State<Arc<SimulatorState>>,
    Path(segment): Path<String>,
    headers: HeaderMap,
    call: Call,
    body: Bytes,
) -> Response {
    let answer = state.authority(&segment).ok_or_else(|| EntraError::unknown_tenant(&segment)).and_then(|authority| {
        let form = if is_form(&headers) { Params::parse(&body) } else { Params::default() };
        issue(&state, authority, &segment, &headers, &form, &call)
    });
    let mut response = match answer {
        Ok(body) => Json(body).into_response(),
        Err(error) => error.to_response(&call, &state.origin),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/x-www-form-urlencoded")
}

fn missing(name: &str) -> EntraError {
    let text = format!("The request body must contain the following parameter: '{name}'.");
    EntraError::new("invalid_request", 900_144, text)
}

fn issue(
    state: &SimulatorState,
    authority: Authority,
    segment: &str,
    headers: &HeaderMap,
    form: &Params,
    call: &Call,
) -> Result<Value, EntraError> {
    let grant_type = form.get("grant_type").ok_or_else(|| missing("grant_type"))?;
    let directory = state.lock().directory.clone();
    let endpoints = [segment, &directory.tenant_id.to_string()]
        .map(|tenant| format!("{}/{tenant}/oauth2/v2.0/token", state.origin));
    // Another tenant's endpoint has only one address.
    let endpoints = if authority == Authority::Tenant(directory.tenant_id) { &endpoints[..] } else { &endpoints[..1] };
    authenticate(&directory, segment, endpoints, headers, form, call)?;
    match grant_type {
        "authorization_code" => {
            let grant = consume_code(state, authority, form, call)?;
            let gone = "The user account does not exist in the directory.";
            let person = directory
                .find_person(&grant.person.to_string())
                .ok_or_else(|| EntraError::new("invalid_grant", 50034, gone))?;
            if person.disabled {
                return Err(EntraError::new("invalid_grant", 50057, "The user account is disabled."));
            }
            let (keys, change) = {
                let inner = state.lock();
                (inner.keys.clone(), inner.change_id_token.clone())
            };
            let mut id_token = IdToken::issue(&directory, person, &grant, &state.origin, &keys.current().kid, call);
            if let Some(change) = change {
                change(&mut id_token);
            }
            let access = AccessToken {
                holder: Holder::User(person.id),
                tenant: directory.tenant_of(person),
                expires: call.at + Duration::seconds(DELEGATED_SECONDS),
            };
            let mut body = json!({
                "token_type": "Bearer",
                "scope": scopes::granted(&grant.scopes, &directory, &state.origin),
                "expires_in": DELEGATED_SECONDS,
                "ext_expires_in": DELEGATED_SECONDS,
                "access_token": state.lock().issued.add_token(access, call.at),
                "id_token": id_token.compact(&keys),
            });
            if grant.asked_for("offline_access") {
                body["refresh_token"] = json!(format!("1.SIM.{}", opaque(32)));
            }
            Ok(body)
        }
        "client_credentials" => {
            let Authority::Tenant(tenant) = authority else {
                let text = "No tenant-identifying information found in either the request or implied by any provided \
                            credentials.";
                return Err(EntraError::new("invalid_request", 50059, text));
            };
            scopes::check_app_only(form.get("scope"), &state.origin)?;
            let expires = call.at + Duration::seconds(APP_ONLY_SECONDS);
            let access = AccessToken { holder: Holder::App, tenant, expires };
            Ok(json!({
                "token_type": "Bearer",
                "expires_in": APP_ONLY_SECONDS,
                "ext_expires_in": APP_ONLY_SECONDS,
                "access_token": state.lock().issued.add_token(access, call.at),
            }))
        }
        other => {
            let text = format!("The app requested an unsupported grant type '{other}'.");
            Err(EntraError::new("unsupported_grant_type", 70003, text))
        }
    }
}

/// Authenticates the client: by a secret in the body or HTTP Basic, or by an assertion.
fn authenticate(
    directory: &Directory,
    segment: &str,
    endpoints: &[String],
    headers: &HeaderMap,
    form: &Params,
    call: &Call,
) -> Result<(), EntraError> {
    let basic = basic_credentials(headers);
    let (id, secret) = match &basic {
        Some((id, secret)) => (Some(id.as_str()), Some(secret.as_str())),
        None => (form.get("client_id"), form.get("client_secret")),
    };
    let id = id.ok_or_else(|| missing("client_id"))?;
    if !id.eq_ignore_ascii_case(&directory.client_id) {
        let text = format!("Application with identifier '{id}' was not found in the directory '{segment}'.");
        return Err(EntraError::new("unauthorized_client", 700_016, text));
    }
    if let Some(outcome) = client_assertion::check(directory, form, endpoints, call.at) {
        return outcome;
    }
    let secret = secret.ok_or_else(|| {
        EntraError::new(
            "invalid_client",
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )
    })?;
    if secret == directory.client_secret || directory.second_client_secret.as_deref() == Some(secret) {
        return Ok(());
    }
    if directory.ended_client_secrets.iter().any(|ended| ended == secret) {
        let text = format!("The provided client secret keys for app '{id}' are expired.");
        return Err(EntraError::new("invalid_client", 7_000_222, text));
    }
    let text = format!(
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not \
         the client secret ID, for a secret added to app '{id}'."
    );
    Err(EntraError::new("invalid_client", 7_000_215, text))
}

/// Client ID and secret of HTTP Basic; OAuth form-encodes each of them.
fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let bytes = STANDARD.decode(text.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let joined = String::from_utf8(bytes).ok()?;
    let (id, secret) = joined.split_once(':')?;
    let decode = |text: &str| {
        // Decoded as a form with one name: an encoded text contains no `=`.
        form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
    };
    Some((decode(id), decode(secret)))
}

/// Consumes the code. A code that fails a check stays valid.
fn consume_code(state: &SimulatorState, authority: Authority, form: &Params, call: &Call) -> Result<Grant, EntraError> {
    let code = form.get("code").ok_or_else(|| missing("code"))?;
    let redirect_uri = form.get("redirect_uri").ok_or_else(|| missing("redirect_uri"))?;
    let mut inner = state.lock();
    let grant = inner.issued.code(code).ok_or_else(|| {
        EntraError::new("invalid_grant", 9_002_313, "Invalid request. Request is malformed or invalid.")
    })?;
    if grant.authority != authority {
        return Err(EntraError::new(
            "invalid_grant",
            700_005,
            "Provided Authorization Code is intended to use against other tenant, thus rejected. OAuth2 Authorization \
             Code must be redeemed against same tenant it was acquired for (/common or /{tenant-ID} as appropriate).",
        ));
    }
    if grant.consumed {
        return Err(EntraError::new(
            "invalid_grant",
            54005,
            "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing \
             refresh token.",
        ));
    }
    if grant.issued + Duration::minutes(CODE_MINUTES) <= call.at {
        return Err(EntraError::of_status(400));
    }
    if grant.redirect_uri != redirect_uri {
        let text = format!(
            "The reply address '{redirect_uri}' does not match the reply address '{}' provided when requesting \
             Authorization code.",
            grant.redirect_uri
        );
        return Err(EntraError::new("invalid_client", 500_112, text));
    }
    let verifier = form.get("code_verifier").unwrap_or_default();
    if URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != grant.challenge {
        return Err(EntraError::new(
            "invalid_grant",
            501_481,
            "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
        ));
    }
    grant.consumed = true;
    Ok(grant.clone())
}
