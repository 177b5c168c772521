//! Traces: a span for each request, and one for each of its steps that may take time. All spans are made here, of words
//! that stand here: no span holds an id, a name, an address, a path or a query. Nothing happens unless `telemetry` sends
//! them somewhere, which is the feature `otlp`.

#[cfg(feature = "otlp")]
mod otlp;

use http::Method;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// The target of all spans that are made here, and of nothing else.
pub const TARGET: &str = module_path!();

/// All attributes that a span can have.
pub const ATTRIBUTES: [&str; 5] =
    ["http.request.method", "http.route", "http.response.status_code", "db.system.name", "error.type"];

/// The methods that the semantic conventions know.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// The span of another program in which a request was made (W3C trace context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub trace_id: u128,
    pub span_id: u64,
    /// Whether that program keeps the trace.
    pub sampled: bool,
    /// What others along the way want to be told again, as they wrote it.
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
    Plan,
    UseAttempt,
    Read,
    Apply,
    OpenSession,
    FindSession,
}

impl Step {
    /// All there are, with their names and what they tell.
    pub const ALL: [(Self, &'static str, &'static str); 12] = [
        (Self::EntraDiscovery, "entra.discovery", "Entra's endpoints and keys are read"),
        (Self::EntraCode, "entra.code", "the code is redeemed at Entra"),
        (Self::EntraAppToken, "entra.app_token", "Entra gives a token for the app itself"),
        (Self::AssignedGroups, "graph.assigned_groups", "the groups assigned to the app are read, all pages and tries"),
        (Self::MemberOf, "graph.member_of", "the person's groups are read, all pages and tries"),
        (Self::GraphRequest, "graph.request", "one request to Graph: one page, one try"),
        (Self::Plan, "plan", "what has to be written is decided"),
        (Self::UseAttempt, "postgres.use_attempt", "the attempt to sign in is used up"),
        (Self::Read, "postgres.read", "what the store holds is read"),
        (Self::Apply, "postgres.apply", "what is missing is written, in one transaction with its locks"),
        (Self::OpenSession, "postgres.open_session", "the session is opened, with the sync record"),
        (Self::FindSession, "postgres.find_session", "a session is read that is not in memory"),
    ];

    /// The name of its spans.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Whether somebody else is asked, and not done by ourselves.
    fn kind(self) -> &'static str {
        match self {
            Self::Plan | Self::AssignedGroups | Self::MemberOf => "internal",
            _ => "client",
        }
    }

    fn database(self) -> Option<&'static str> {
        self.name().starts_with("postgres.").then_some("postgresql")
    }

    /// A span of this step, in whichever there is.
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

    /// Does the step in a span of its own; where it fails, the span has that code, and no word more.
    pub async fn run<T, E>(
        self,
        work: impl Future<Output = Result<T, E>>,
        code: impl FnOnce(&E) -> &'static str,
    ) -> Result<T, E> {
        let span = self.span();
        // Boxed, or each step would double the size of what it stands in.
        let outcome = Box::pin(work.instrument(span.clone())).await;
        if let Err(error) = &outcome {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", code(error));
        }
        outcome
    }
}

/// Whether anybody collects spans.
#[must_use]
pub fn collected() -> bool {
    tracing::span_enabled!(target: TARGET, tracing::Level::TRACE)
}

/// The span of a request. `route` is the template that it met, never its path.
#[must_use]
pub fn request(method: &Method, route: Option<&str>, parent: Option<&Parent>) -> Span {
    let known = METHODS.contains(&method.as_str());
    let (method, verb) = if known { (method.as_str(), method.as_str()) } else { ("_OTHER", "HTTP") };
    let span = tracing::trace_span!(
        "request",
        otel.name = %format_args!("{verb}{}{}", if route.is_some() { " " } else { "" }, route.unwrap_or_default()),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        "error.type" = Empty,
    );
    #[cfg(feature = "otlp")]
    otlp::continues(&span, parent);
    #[cfg(not(feature = "otlp"))]
    let _ = parent;
    span
}

/// Notes what a request was answered with. That the client is wrong is no failure of ours.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", tracing::field::display(status));
    }
}

/// The id of the trace that a request belongs to, as everybody writes it: of its own span, or of its parent.
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
    fn the_list_of_steps_is_in_their_order_and_names_each_once() {
        for (at, (step, name, _)) in Step::ALL.iter().enumerate() {
            assert_eq!(*step as usize, at, "{step:?} stands in another place");
            assert_eq!(Step::ALL.iter().filter(|(_, other, _)| other == name).count(), 1, "{name}");
        }
    }
}
