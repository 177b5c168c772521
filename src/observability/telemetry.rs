//! Log lines: human on a terminal, JSON elsewhere; always to standard error. And traces, where they are asked for.

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
pub(crate) use otlp::Sender;
#[cfg(not(feature = "otlp"))]
pub(crate) use without::Sender;

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Each of them makes a program that knows OpenTelemetry send traces.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// How log lines are written; `Auto` is human on a terminal, else JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Auto,
    Human,
    Json,
}

/// Starts logging and, where OpenTelemetry's variables in the environment ask for it, sending traces. Fails where they ask
/// for what cannot be done.
pub(crate) fn start(format: LogFormat, filter: &str, env: &Env) -> anyhow::Result<Option<Sender>> {
    let set = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value != "otlp");
    let Some(asked) = ENDPOINTS.into_iter().find(|name| !off && set(name).is_some()) else {
        init(format, filter, None)?;
        return Ok(None);
    };
    #[cfg(feature = "otlp")]
    {
        let sender = Sender::new(asked, set)?;
        init(format, filter, Some(sender.layer()))?;
        Ok(Some(sender))
    }
    #[cfg(not(feature = "otlp"))]
    {
        init(format, filter, None)?;
        tracing::warn!("{asked} is set, but no traces are sent: this program was built without the feature otlp");
        Ok(None)
    }
}

/// Starts logging for the whole process, and hands spans over. Fails where the filter cannot be read, or logging was
/// started before.
pub(crate) fn init(format: LogFormat, filter: &str, spans: Option<BoxedLayer>) -> anyhow::Result<()> {
    let filter = read(filter)?;
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
        // What is logged and what is traced are two questions.
        Some(spans) => tracing_subscriber::registry().with(lines.with_filter(filter).and_then(spans)).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}

/// `EnvFilter` alone would take a misspelt level for the name of a module, and nothing would be logged at all. The spans
/// of traces are none of the log's: a line names the span that it is in, which is to be the request with its id.
fn read(filter: &str) -> anyhow::Result<EnvFilter> {
    let refused = || {
        format!("--log-level {filter:?} is no filter: write error, warn, info or debug, or such as info,entraway=debug")
    };
    let sound = |part: &str| {
        !part.trim().is_empty() && (part.contains(['=', '[']) || part.trim().parse::<LevelFilter>().is_ok())
    };
    anyhow::ensure!(filter.split(',').all(sound), refused());
    let no_spans: Directive = format!("{}=off", spans::TARGET).parse()?;
    Ok(EnvFilter::try_new(filter).with_context(refused)?.add_directive(no_spans))
}
