//! Log lines: human on a terminal, JSON elsewhere; always to standard error.

use std::io::{IsTerminal as _, stderr};

use anyhow::Context as _;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How log lines are written; `Auto` is human on a terminal, else JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Auto,
    Human,
    Json,
}

/// Starts logging for the whole process. Fails where the filter cannot be read, or logging was started before.
pub(crate) fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = read(filter)?;
    let terminal = stderr().is_terminal();
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !terminal);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    let started = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        builder.with_ansi(terminal).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}

/// `EnvFilter` alone would take a misspelt level for the name of a module, and nothing would be logged at all.
fn read(filter: &str) -> anyhow::Result<EnvFilter> {
    let refused = || {
        format!("--log-level {filter:?} is no filter: write error, warn, info or debug, or such as info,entraway=debug")
    };
    let sound = |part: &str| {
        !part.trim().is_empty() && (part.contains(['=', '[']) || part.trim().parse::<LevelFilter>().is_ok())
    };
    anyhow::ensure!(filter.split(',').all(sound), refused());
    EnvFilter::try_new(filter).with_context(refused)
}
