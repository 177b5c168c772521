//! Discovery documents and JWKS.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::aadsts::EntraError;
use crate::call::Call;
use crate::code::Authority;
use crate::state::SimulatorState;

/// Tenant of personal Microsoft accounts.
const PERSONAL_ACCOUNTS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

pub(crate) fn router() -> Router<Arc<SimulatorState>> {
    Router::new()
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(configuration))
        .route("/{tenant}/discovery/v2.0/keys", get(keys))
}

/// Issuer of a tenant, or the issuer template of `organizations` and `common`.
fn issuer(authority: Authority, origin: &str) -> String {
    match authority {
        Authority::Tenant(tenant) => format!("{origin}/{tenant}/v2.0"),
        Authority::Organizations | Authority::Common => format!("{origin}/{{tenantid}}/v2.0"),
    }
}

async fn configuration(State(state): State<Arc<SimulatorState>>, Path(segment): Path<String>, call: Call) -> Response {
    let Some(authority) = state.authority(&segment) else {
        return EntraError::unknown_tenant(&segment).to_response(&call, &state.origin);
    };
    let origin = &state.origin;
    let base = match authority {
        Authority::Tenant(tenant) => format!("{origin}/{tenant}"),
        Authority::Organizations => format!("{origin}/organizations"),
        Authority::Common => format!("{origin}/common"),
    };
    let region = matches!(authority, Authority::Tenant(_)).then_some("EU");
    let host = origin.trim_start_matches("http://");
    // As in Entra, the document does not announce PKCE.
    Json(json!({
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer(authority, origin),
        "request_uri_parameter_supported": false,
        "userinfo_endpoint": format!("{origin}/oidc/userinfo"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
        "http_logout_supported": true,
        "frontchannel_logout_supported": true,
        "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
        "claims_supported": [
            "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host",
            "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash",
            "c_hash", "email"
        ],
        "kerberos_endpoint": format!("{base}/kerberos"),
        "tenant_region_scope": region,
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": host,
        "rbac_url": "https://pas.windows.net",
    }))
    .into_response()
}

async fn keys(State(state): State<Arc<SimulatorState>>, Path(segment): Path<String>, call: Call) -> Response {
    let Some(authority) = state.authority(&segment) else {
        return EntraError::unknown_tenant(&segment).to_response(&call, &state.origin);
    };
    let personal = (authority == Authority::Common).then(|| format!("{}/{PERSONAL_ACCOUNTS}/v2.0", state.origin));
    let set = state.lock().keys.key_set(&issuer(authority, &state.origin), personal.as_deref());
    Json(set).into_response()
}
