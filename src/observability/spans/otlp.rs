//! What a span has to do with OpenTelemetry: whose child it is, and what its trace is called.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::Parent;

/// Makes the span a child of another program's.
pub(super) fn continues(span: &Span, parent: Option<&Parent>) {
    let Some(parent) = parent.filter(|_| !span.is_disabled()) else { return };
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    // A state that cannot be read is left out: the trace goes on without it.
    let state = parent.state.as_deref().and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    let (trace, span_id) = (TraceId::from(parent.trace_id), SpanId::from(parent.span_id));
    let parent = SpanContext::new(trace, span_id, flags, true, state);
    // Fails where nobody collects spans.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// The trace that a span belongs to, where it is sent somewhere.
pub(super) fn id(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_sampled().then(|| context.trace_id().to_string())
}
