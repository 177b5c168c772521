//! Why a list of groups is not known, by situation.

use std::time::Duration;

use crate::util::http_client::{Answer, HttpError};

/// A list that could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("Graph does not accept the token (401)")]
    Unauthorized { request_id: String },
    #[error("Graph does not let the token read this (403): a permission or its admin consent is missing")]
    Forbidden { request_id: String },
    #[error("Graph does not know the service principal (404): is service_principal_id the enterprise app's object id?")]
    NotFound { request_id: String },
    #[error("Graph asks for patience (429)")]
    Throttled { request_id: String, retry_after: Option<Duration> },
    #[error("Graph has trouble ({status})")]
    Unavailable { status: u16, request_id: String, retry_after: Option<Duration> },
    #[error("Graph answered {status}")]
    Unexpected { status: u16, request_id: String },
    #[error("Graph could not be reached: {0}")]
    Unreachable(String),
    #[error("Graph did not finish in time")]
    Timeout,
    #[error("Graph's answer is not what it should be")]
    Malformed,
    #[error("Graph's next page is on another host")]
    ForeignLink,
    #[error("Graph's pages do not end")]
    PageLoop,
}

impl GraphError {
    /// A stable word for logs, records and tests.
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
        }
    }

    /// Whether the token, and not Graph, is the matter: another token may be let in.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Forbidden { .. })
    }

    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Unavailable { .. } | Self::Unreachable(_) | Self::Timeout => true,
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Unexpected { .. }
            | Self::Malformed
            | Self::ForeignLink
            | Self::PageLoop => false,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// `client_request_id` names the request where Graph's answer has no `request-id` of its own.
    pub(super) fn from_answer(answer: &Answer, client_request_id: &str) -> Self {
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        // It goes into the log and is told to people, so it has to look like an id.
        let id = |text: &&str| text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let request_id = header("request-id").filter(id).unwrap_or(client_request_id).to_owned();
        // Graph writes seconds here; a date, which HTTP would allow, is left to the backoff.
        let retry_after = header("retry-after").and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
        match answer.status.as_u16() {
            401 => Self::Unauthorized { request_id },
            403 => Self::Forbidden { request_id },
            404 => Self::NotFound { request_id },
            429 => Self::Throttled { request_id, retry_after },
            status @ (500..=599) => Self::Unavailable { status, request_id, retry_after },
            status => Self::Unexpected { status, request_id },
        }
    }

    /// Graph's id of the failed request, which Microsoft's support asks for.
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

impl From<HttpError> for GraphError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Timeout => Self::Timeout,
            HttpError::Connection(why) => Self::Unreachable(why),
            HttpError::TooLong => Self::Malformed,
        }
    }
}
