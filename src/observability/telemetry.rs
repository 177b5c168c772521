//! Sets up logging to standard error, human-readable on a terminal and JSON elsewhere, and trace export if configured.

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
mod without;

use std::io::{IsTerminal as _, stderr};

use anyhow::Context as _;
use clap::ValueEnum;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::Env;
use crate::observability::spans;

#[cfg(feature = "otlp")]
pub(crate) use otlp::TraceExporter;
#[cfg(not(feature = "otlp"))]
pub(crate) use without::TraceExporter;

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Environment variables of OpenTelemetry that enable trace export.
const ENDPOINT_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Format of log lines. `Auto` is human-readable on a terminal, else JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Auto,
    Human,
    Json,
}

/// Starts logging and, if OpenTelemetry's environment variables say so, trace export.
///
/// # Errors
/// Fails if a variable has an unsupported value.
pub(crate) fn start(format: LogFormat, filter: &str, env: &Env) -> anyhow::Result<Option<TraceExporter>> {
    let set = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value != "otlp");
    let Some(variable) = ENDPOINT_VARIABLES.into_iter().find(|name| !disabled && set(name).is_some()) else {
        init(format, filter, None)?;
        return Ok(None);
    };
    #[cfg(feature = "otlp")]
    {
        let exporter = TraceExporter::new(variable, set)?;
        init(format, filter, Some(exporter.layer()))?;
        Ok(Some(exporter))
    }
    #[cfg(not(feature = "otlp"))]
    {
        init(format, filter, None)?;
        tracing::warn!(variable, "traces are not exported: built without the feature otlp");
        Ok(None)
    }
}

/// Starts logging for the whole process; `spans` is the layer that exports spans.
///
/// # Errors
/// Fails if the filter is invalid or logging was started before.
pub(crate) fn init(format: LogFormat, filter: &str, spans: Option<BoxedLayer>) -> anyhow::Result<()> {
    let filter = parse_filter(filter)?;
    let terminal = stderr().is_terminal();
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !terminal);
    let lines = fmt::layer().with_writer(stderr).with_target(false);
    let lines: BoxedLayer = if json {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        lines.with_ansi(terminal).boxed()
    };
    let started = match spans {
        None => tracing_subscriber::registry().with(lines).with(filter).try_init(),
        // The filter applies to log lines and not to exported spans.
        Some(spans) => tracing_subscriber::registry().with(lines.with_filter(filter).and_then(spans)).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("failed to start logging: {error}"))
}

/// Parses a log filter. Stricter than `EnvFilter`, which takes a misspelled level for a module name and then logs nothing.
///
/// Turns off the spans of traces, so that a log line names the request's own span, which has the request ID.
fn parse_filter(filter: &str) -> anyhow::Result<EnvFilter> {
    let message = || {
        format!(
            "--log-level: invalid filter {filter:?}. Use error, warn, info or debug, or directives such as \
             info,entraway=debug"
        )
    };
    let is_valid = |part: &str| {
        !part.trim().is_empty() && (part.contains(['=', '[']) || part.trim().parse::<LevelFilter>().is_ok())
    };
    anyhow::ensure!(filter.split(',').all(is_valid), message());
    let no_spans: Directive = format!("{}=off", spans::TARGET).parse()?;
    Ok(EnvFilter::try_new(filter).with_context(message)?.add_directive(no_spans))
}
