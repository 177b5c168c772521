//! Trace spans: one for each request, and one for each of its steps that may take time.
//!
//! All spans are created here, with constant texts: no span has an ID, a name, an address, a path or a query. They have an
//! effect only if `telemetry` exports them, which needs the feature `otlp`.

#[cfg(feature = "otlp")]
mod otlp;

use http::Method;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// Target of all spans that are created here, and of nothing else.
pub const TARGET: &str = module_path!();

/// All attributes of spans.
pub const ATTRIBUTES: [&str; 5] =
    ["http.request.method", "http.route", "http.response.status_code", "db.system.name", "error.type"];

/// HTTP methods of OpenTelemetry's semantic conventions; others are `_OTHER`.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// The caller's span, from the request's W3C Trace Context headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub trace_id: u128,
    pub span_id: u64,
    /// Whether the caller samples the trace.
    pub sampled: bool,
    /// `tracestate`, forwarded unchanged.
    pub state: Option<String>,
}

/// A step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    EntraDiscovery,
    EntraCode,
    EntraAppToken,
    AssignedGroups,
    MemberOf,
    GraphRequest,
    GraphBatch,
    Plan,
    ConsumeLoginState,
    Read,
    Apply,
    OpenSession,
    FindSession,
}

impl Step {
    /// All steps, in order of declaration, with span name and description.
    pub const ALL: [(Self, &'static str, &'static str); 13] = [
        (Self::EntraDiscovery, "entra.discovery", "reads Entra's discovery document and signing keys"),
        (Self::EntraCode, "entra.code", "redeems the authorization code at Entra"),
        (Self::EntraAppToken, "entra.app_token", "gets an app-only token from Entra"),
        (Self::AssignedGroups, "graph.assigned_groups", "reads the groups assigned to the app, all pages and attempts"),
        (Self::MemberOf, "graph.member_of", "reads the user's groups, all pages and attempts"),
        (Self::GraphRequest, "graph.request", "one request to Graph: one page, one attempt"),
        (Self::GraphBatch, "graph.batch", "one batch of up to 20 requests to Graph"),
        (Self::Plan, "plan", "decides what to write"),
        (Self::ConsumeLoginState, "postgres.use_attempt", "consumes the login state"),
        (Self::Read, "postgres.read", "reads the current state"),
        (Self::Apply, "postgres.apply", "writes the plan in one transaction, including waits for locks"),
        (Self::OpenSession, "postgres.open_session", "opens the session and stores the sync record"),
        (Self::FindSession, "postgres.find_session", "loads a session that is not cached"),
    ];

    /// Name of the step's spans.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// `client` if the step calls another service.
    fn kind(self) -> &'static str {
        match self {
            Self::Plan | Self::AssignedGroups | Self::MemberOf => "internal",
            _ => "client",
        }
    }

    fn database(self) -> Option<&'static str> {
        self.name().starts_with("postgres.").then_some("postgresql")
    }

    /// Creates a span of this step, as a child of the current one.
    #[must_use]
    pub fn span(self) -> Span {
        tracing::trace_span!(
            "step",
            otel.name = self.name(),
            otel.kind = self.kind(),
            otel.status_code = Empty,
            db.system.name = self.database(),
            "error.type" = Empty,
        )
    }

    /// Runs the step in its own span. On failure, the span has only the error's code.
    pub async fn run<T, E>(
        self,
        future: impl Future<Output = Result<T, E>>,
        code: impl FnOnce(&E) -> &'static str,
    ) -> Result<T, E> {
        let span = self.span();
        // Boxed, because each step would double the size of the surrounding future.
        let outcome = Box::pin(future.instrument(span.clone())).await;
        if let Err(error) = &outcome {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", code(error));
        }
        outcome
    }
}

/// Whether spans are exported.
#[must_use]
pub fn collected() -> bool {
    tracing::span_enabled!(target: TARGET, tracing::Level::TRACE)
}

/// Creates the span of a request. `route` is the matched template, never the path.
#[must_use]
pub fn request(method: &Method, route: Option<&str>, parent: Option<&Parent>) -> Span {
    let known = METHODS.contains(&method.as_str());
    let (method, name) = if known { (method.as_str(), method.as_str()) } else { ("_OTHER", "HTTP") };
    let span = tracing::trace_span!(
        "request",
        otel.name = %format_args!("{name}{}{}", if route.is_some() { " " } else { "" }, route.unwrap_or_default()),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        "error.type" = Empty,
    );
    #[cfg(feature = "otlp")]
    otlp::set_parent(&span, parent);
    #[cfg(not(feature = "otlp"))]
    let _ = parent;
    span
}

/// Records the response status. As in the semantic conventions, 4xx is not an error of the server.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", tracing::field::display(status));
    }
}

/// Trace ID of a request in hexadecimal: of its own span, or of its parent.
#[must_use]
pub fn id(span: &Span, parent: Option<&Parent>) -> Option<String> {
    #[cfg(feature = "otlp")]
    if let Some(id) = otlp::id(span) {
        return Some(id);
    }
    #[cfg(not(feature = "otlp"))]
    let _ = span;
    parent.map(|parent| format!("{:032x}", parent.trace_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_list_follows_declaration_with_unique_names() {
        for (index, (step, name, _)) in Step::ALL.iter().enumerate() {
            assert_eq!(*step as usize, index, "{step:?} is out of order");
            assert_eq!(Step::ALL.iter().filter(|(_, other, _)| other == name).count(), 1, "{name}");
        }
    }
}
