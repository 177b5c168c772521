//! Why Graph's data could not be read.

use std::time::Duration;

use crate::plan::Unknown;
use crate::util::http_client::{HttpError, Response};

/// Why a list could not be read completely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("Graph rejected the token (401)")]
    Unauthorized { request_id: String },
    #[error("Graph denied access (403): a permission or its admin consent is missing")]
    Forbidden { request_id: String },
    #[error(
        "Graph found no such service principal (404): entra.service_principal_id must be the enterprise app's object ID"
    )]
    NotFound { request_id: String },
    #[error("Graph throttled the request (429)")]
    Throttled { request_id: String, retry_after: Option<Duration> },
    #[error("Graph is unavailable ({status})")]
    Unavailable { status: u16, request_id: String, retry_after: Option<Duration> },
    #[error("Graph answered {status}")]
    Unexpected { status: u16, request_id: String },
    #[error("Graph could not be reached: {0}")]
    Unreachable(String),
    #[error("Graph did not return the list in time")]
    Timeout,
    #[error("Graph's response is invalid")]
    Malformed,
    #[error("Graph's nextLink points to another host or version")]
    ForeignLink,
    #[error("Graph's pages repeat or exceed the limit")]
    PageLoop,
    #[error("Graph's batch response lacks the answer to this request")]
    MissingItem,
    #[error("the group's membership is hidden (visibility HiddenMembership), so Graph may leave out members")]
    HiddenMembership,
    #[error(
        "Graph returned limited information: accountEnabled is null. Grant the application permission User.Read.All"
    )]
    LimitedInformation,
    #[error("Graph contradicts itself: the group exists, but not its member list, or a group in it was deleted")]
    Inconsistent,
}

impl GraphError {
    /// Stable code for logs, sync records and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized { .. } => "graph_unauthorized",
            Self::Forbidden { .. } => "graph_forbidden",
            Self::NotFound { .. } => "graph_not_found",
            Self::Throttled { .. } => "graph_throttled",
            Self::Unavailable { .. } => "graph_unavailable",
            Self::Unexpected { .. } => "graph_unexpected",
            Self::Unreachable(_) => "graph_unreachable",
            Self::Timeout => "graph_timeout",
            Self::Malformed => "graph_malformed",
            Self::ForeignLink => "graph_foreign_link",
            Self::PageLoop => "graph_page_loop",
            Self::MissingItem => "graph_missing_item",
            Self::HiddenMembership => "graph_hidden_membership",
            Self::LimitedInformation => "graph_limited_information",
            Self::Inconsistent => "graph_inconsistent",
        }
    }

    /// Whether Graph denied this token. Another token may have access.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Forbidden { .. })
    }

    /// Whether a retry may succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::Unavailable { .. }
            | Self::Unreachable(_)
            | Self::Timeout
            | Self::MissingItem => true,
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Unexpected { .. }
            | Self::Malformed
            | Self::ForeignLink
            | Self::PageLoop
            | Self::HiddenMembership
            | Self::LimitedInformation
            | Self::Inconsistent => false,
        }
    }

    /// The delay of the `Retry-After` header.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The error for a response without success status. `client_request_id` identifies the request if the response has
    /// no `request-id`.
    pub(super) fn from_response(response: &Response, client_request_id: &str) -> Self {
        let header = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
        Self::from_status(response.status.as_u16(), header, client_request_id)
    }

    /// Like [`Self::from_response`], for a status with headers from any source.
    pub(super) fn from_status<'h>(
        status: u16,
        header: impl Fn(&str) -> Option<&'h str>,
        client_request_id: &str,
    ) -> Self {
        // The ID is logged and shown to users, so only plain IDs are accepted.
        let is_id = |text: &&str| text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let request_id = header("request-id").filter(is_id).unwrap_or(client_request_id).to_owned();
        // Graph sends seconds. A date, which HTTP also allows, is ignored.
        let retry_after = header("retry-after").and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
        match status {
            401 => Self::Unauthorized { request_id },
            403 => Self::Forbidden { request_id },
            404 => Self::NotFound { request_id },
            429 => Self::Throttled { request_id, retry_after },
            status @ (500..=599) => Self::Unavailable { status, request_id, retry_after },
            status => Self::Unexpected { status, request_id },
        }
    }

    /// Graph's ID of the failed request, which Microsoft support asks for.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Unauthorized { request_id }
            | Self::Forbidden { request_id }
            | Self::NotFound { request_id }
            | Self::Throttled { request_id, .. }
            | Self::Unavailable { request_id, .. }
            | Self::Unexpected { request_id, .. } => Some(request_id),
            _ => None,
        }
    }
}

impl From<&GraphError> for Unknown {
    fn from(error: &GraphError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string() }
    }
}

impl From<HttpError> for GraphError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Timeout => Self::Timeout,
            HttpError::Connection(reason) => Self::Unreachable(reason),
            HttpError::Unresolved | HttpError::PrivateAddress => Self::Unreachable(error.to_string()),
            HttpError::BodyTooLarge => Self::Malformed,
        }
    }
}
