//! Fault injection: which requests a fault applies to, and how it changes the response.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::aadsts::EntraError;
use crate::batch::LeftOut;
use crate::call::Call;
use crate::cut_body::cut_body;
use crate::graph_error::GraphError;
use crate::odata::{Cursor, PageLink};
use crate::request_log::{Endpoint, LoggedRequest, TokenKind};

/// When a fault applies. The first matching rule counts.
#[derive(Clone, Debug)]
pub struct FaultRule {
    pub endpoint: Endpoint,
    /// Page number from one; `None` means any.
    pub page: Option<usize>,
    /// A part of the path, such as a group's ID; `None` means any.
    pub path: Option<String>,
    /// Kind of the bearer token; at the token endpoint, kind of the requested one. `None` means any.
    pub token: Option<TokenKind>,
    /// How many times; `None` means until the faults are cleared.
    pub times: Option<usize>,
    pub fault: Fault,
}

impl FaultRule {
    /// Applies to every request to the endpoint.
    pub fn on(endpoint: Endpoint, fault: Fault) -> Self {
        Self { endpoint, page: None, path: None, token: None, times: None, fault }
    }

    /// Limits the fault to this page of a list.
    #[must_use]
    pub fn page(self, page: usize) -> Self {
        Self { page: Some(page), ..self }
    }

    /// Limits the fault to paths that contain this text. The path has the query.
    #[must_use]
    pub fn path(self, part: &impl ToString) -> Self {
        Self { path: Some(part.to_string()), ..self }
    }

    /// Limits the fault to this kind of token.
    #[must_use]
    pub fn token(self, token: TokenKind) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Limits the fault to this many times.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    pub(crate) fn fits(&self, request: &LoggedRequest) -> bool {
        self.endpoint == request.endpoint
            && self.page.is_none_or(|wanted| wanted == request.page)
            && self.path.as_ref().is_none_or(|wanted| request.path.contains(wanted))
            && self.token.is_none_or(|wanted| Some(wanted) == request.token)
            && self.times != Some(0)
    }
}

/// A failure to inject.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An error. Without a body, it has the one that Graph or Entra sends with this status.
    Status { status: u16, retry_after: Option<u64>, body: Option<Value> },
    /// This exact response.
    Answer { status: u16, headers: Vec<(HeaderName, HeaderValue)>, body: Vec<u8> },
    /// An Entra error: JSON from the token endpoint, a redirect from the authorization endpoint.
    Entra(EntraError),
    /// `@odata.nextLink` points to this address.
    ForeignNextLink(String),
    /// `@odata.nextLink` points to the same page.
    LoopingNextLink,
    /// An empty page whose `@odata.nextLink` points to the requested one.
    EmptyPageWithNextLink,
    /// No response for this long, then 504.
    Hang(Duration),
    /// 200 with an HTML page instead of JSON.
    Html,
    /// 200 with the first half of the JSON as a complete body.
    MalformedJson,
    /// The connection closes in the middle of the body.
    CutBody,
    /// The body stalls in the middle for this long, then the connection closes.
    StallBody(Duration),
    /// The list has no `value`; a batch's response has no `responses`.
    MissingValue,
    /// The correct response after this delay.
    Delay(Duration),
    /// The batch's response does not contain this request. Outside a batch, 500.
    MissingItem,
    /// The list has these items instead.
    Items(Vec<Value>),
}

impl Fault {
    /// An error with the usual body, without `Retry-After`.
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None, body: None }
    }

    /// 429 with `Retry-After` in seconds.
    pub fn throttled(retry_after: u64) -> Self {
        Self::Status { status: 429, retry_after: Some(retry_after), body: None }
    }

    /// Delay of the response.
    pub(crate) fn wait(&self) -> Duration {
        match self {
            Self::Hang(time) | Self::Delay(time) => *time,
            _ => Duration::ZERO,
        }
    }

    /// The response that replaces the normal one, if this fault has one.
    pub(crate) fn instead(&self, endpoint: Endpoint, call: &Call, origin: &str) -> Option<Response> {
        let failed = |status: u16| {
            if endpoint.is_graph() {
                GraphError::of_status(status).to_response(call)
            } else {
                EntraError::of_status(status).to_response(call, origin)
            }
        };
        match self {
            Self::Status { status, retry_after, body } => {
                let code = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = match body {
                    Some(body) => (code, axum::Json(body)).into_response(),
                    None => failed(*status),
                };
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
                }
                Some(response)
            }
            Self::Answer { status, headers, body } => {
                let mut response = Response::new(Body::from(body.clone()));
                *response.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                response.headers_mut().extend(headers.iter().cloned());
                Some(response)
            }
            Self::Entra(error) if endpoint != Endpoint::Authorize => Some(error.to_response(call, origin)),
            Self::Hang(_) => Some(failed(504)),
            Self::MissingItem => {
                let mut response = failed(500);
                response.extensions_mut().insert(LeftOut);
                Some(response)
            }
            Self::Html => Some(
                axum::response::Html("<!doctype html><html><body><h1>Our services aren't available</h1></body></html>")
                    .into_response(),
            ),
            _ => None,
        }
    }

    /// Whether the fault changes the normal response.
    pub(crate) fn spoils(&self) -> bool {
        !matches!(self, Self::Delay(_) | Self::Entra(_))
    }

    /// Changes the normal response.
    pub(crate) async fn spoil(&self, response: Response, asked: &PageLink) -> Response {
        let (mut parts, body) = response.into_parts();
        // No response is nearly as large; a larger one would become empty.
        let bytes = to_bytes(body, 64 << 20).await.unwrap_or_default();
        let half = bytes.slice(..bytes.len() / 2);
        // The new body has another length.
        parts.headers.remove(header::CONTENT_LENGTH);
        let body = match self {
            Self::CutBody => cut_body(half, Duration::from_millis(20)),
            Self::StallBody(time) => cut_body(half, *time),
            Self::MalformedJson => Body::from(half),
            _ => {
                let changed = serde_json::from_slice(&bytes).ok().map(|body| self.change(body, asked).to_string());
                changed.map_or_else(|| Body::from(bytes), Body::from)
            }
        };
        Response::from_parts(parts, body)
    }

    fn change(&self, mut body: Value, asked: &PageLink) -> Value {
        let cursor = asked.cursor();
        let next = match self {
            Self::MissingValue => {
                body.as_object_mut().map(|list| [list.remove("value"), list.remove("responses")]);
                return body;
            }
            Self::Items(items) => {
                body["value"] = json!(items);
                return body;
            }
            Self::ForeignNextLink(link) => link.clone(),
            Self::LoopingNextLink => asked.to(cursor),
            Self::EmptyPageWithNextLink => {
                body["value"] = json!([]);
                asked.to(Cursor { page: cursor.page + 1, ..cursor })
            }
            _ => return body,
        };
        body["@odata.nextLink"] = json!(next);
        body
    }
}
