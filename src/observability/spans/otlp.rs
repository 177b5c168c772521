//! A span's parent and trace ID in OpenTelemetry.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::Parent;

/// Makes the span a child of the caller's span.
pub(super) fn set_parent(span: &Span, parent: Option<&Parent>) {
    let Some(parent) = parent.filter(|_| !span.is_disabled()) else { return };
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    // An invalid `tracestate` is dropped; the trace continues.
    let state = parent.state.as_deref().and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    let (trace, span_id) = (TraceId::from(parent.trace_id), SpanId::from(parent.span_id));
    let parent = SpanContext::new(trace, span_id, flags, true, state);
    // Fails if spans are not exported.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// Trace ID of a span that is exported.
pub(super) fn id(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_sampled().then(|| context.trace_id().to_string())
}
