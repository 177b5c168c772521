//! Graph's errors.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::call::Call;

/// A Graph error.
#[derive(Clone, Debug)]
pub(crate) struct GraphError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl GraphError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
    }

    pub(crate) fn denied() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
        )
    }

    pub(crate) fn not_found(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Request_ResourceNotFound",
            format!("Resource '{id}' does not exist or one of its queried reference-property objects are not present."),
        )
    }

    pub(crate) fn invalid_id(id: &str) -> Self {
        Self::bad_request("Request_BadRequest", format!("Invalid object identifier '{id}'."))
    }

    /// Graph's error for an HTTP status.
    pub(crate) fn of_status(status: u16) -> Self {
        let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match status {
            400 => Self::bad_request("Request_BadRequest", "Invalid request."),
            401 => Self::unauthorized("Lifetime validation failed, the token is expired."),
            403 => Self::denied(),
            404 => Self::not_found("00000000-0000-0000-0000-000000000000"),
            405 => {
                Self::new(code, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
            }
            429 => Self::new(code, "TooManyRequests", "Please retry again later."),
            503 => Self::new(
                code,
                "serviceNotAvailable",
                "The service is not available. Try the request again after a delay.",
            ),
            504 => Self::new(code, "UnknownError", ""),
            _ => Self::new(code, "InternalServerError", "An unexpected error occurred."),
        }
    }

    pub(crate) fn to_response(&self, call: &Call) -> Response {
        let date = call.at.format("%Y-%m-%dT%H:%M:%S").to_string();
        let mut inner = json!({ "date": date, "request-id": call.request_id });
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            // Throttling has a different body.
            inner["code"] = Value::from("429");
            inner["message"] = Value::from("Please retry after");
            inner["status"] = Value::from("429");
        } else {
            inner["client-request-id"] = Value::from(call.client_request_id.as_str());
        }
        let body = json!({ "error": { "code": self.code, "message": self.message, "innerError": inner } });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(
                    "Bearer realm=\"\", \
                     authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
                     client_id=\"00000003-0000-0000-c000-000000000000\"",
                ),
            );
        }
        response
    }
}
