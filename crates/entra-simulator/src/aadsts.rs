//! Entra's errors: AADSTS codes and texts, as in responses of the token endpoint, redirects and pages.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::call::Call;

/// An Entra error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraError {
    /// HTTP status of the token endpoint's response or the page. A redirect does not use it.
    pub status: u16,
    /// OAuth error code, such as `invalid_grant`.
    pub error: String,
    /// Number after `AADSTS`.
    pub code: u32,
    /// Text after the number in `error_description`.
    pub text: String,
    pub suberror: Option<String>,
    /// Claims challenge: JSON as text.
    pub claims: Option<String>,
}

impl EntraError {
    /// Creates a token endpoint error with status 401 for `invalid_client`, otherwise 400.
    pub fn new(error: &str, code: u32, text: impl Into<String>) -> Self {
        Self {
            status: if error == "invalid_client" { 401 } else { 400 },
            error: error.to_owned(),
            code,
            text: text.into(),
            suberror: None,
            claims: None,
        }
    }

    /// `interaction_required` with a claims challenge, as Conditional Access requests a second factor.
    pub fn mfa_required() -> Self {
        Self {
            suberror: Some("basic_action".to_owned()),
            claims: Some(
                r#"{"access_token":{"polids":{"essential":true,"Values":["fd6d3be2-4a3b-5cce-942c-6e7f67e6484f"]}}}"#
                    .to_owned(),
            ),
            ..Self::new(
                "interaction_required",
                50076,
                "Due to a configuration change made by your administrator, or because you moved to a new location, \
                 you must use multi-factor authentication to access '00000003-0000-0000-c000-000000000000'.",
            )
        }
    }

    /// The token endpoint's error for an HTTP status.
    pub(crate) fn of_status(status: u16) -> Self {
        let (error, code, text) = match status {
            400 => (
                "invalid_grant",
                70008,
                "The provided authorization code or refresh token has expired due to inactivity. Send a new \
                 interactive authorization request for this user and resource.",
            ),
            401 | 403 => ("invalid_client", 7_000_222, "The provided client secret keys are expired."),
            429 => ("temporarily_unavailable", 90055, "Tenant has exceeded its limits. Please try again later."),
            _ => ("temporarily_unavailable", 90033, "A transient error has occurred. Please try again."),
        };
        Self { status, ..Self::new(error, code, text) }
    }

    /// The tenant does not exist.
    pub(crate) fn unknown_tenant(tenant: &str) -> Self {
        Self::new(
            "invalid_tenant",
            90002,
            format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into \
                 the correct cloud. Check with your subscription administrator, this may happen if there are no \
                 active subscriptions for the tenant."
            ),
        )
    }

    /// `error_description`.
    pub(crate) fn description(&self, call: &Call) -> String {
        // Some of Entra's errors have blanks instead of line ends.
        let end = if matches!(self.code, 7_000_215 | 90002) { " " } else { "\r\n" };
        format!(
            "AADSTS{}: {}{end}Trace ID: {}{end}Correlation ID: {}{end}Timestamp: {}",
            self.code,
            self.text,
            call.request_id,
            call.client_request_id,
            call.timestamp()
        )
    }

    /// Response of an endpoint that returns JSON.
    pub(crate) fn to_response(&self, call: &Call, origin: &str) -> Response {
        let mut body = json!({
            "error": self.error,
            "error_description": self.description(call),
            "error_codes": [self.code],
            "timestamp": call.timestamp(),
            "trace_id": call.request_id,
            "correlation_id": call.client_request_id,
            "error_uri": format!("{origin}/error?code={}", self.code),
        });
        for (name, value) in [("suberror", &self.suberror), ("claims", &self.claims)] {
            if let Some(value) = value {
                body[name] = Value::from(value.as_str());
            }
        }
        (StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST), Json(body)).into_response()
    }
}
