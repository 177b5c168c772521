//! `entraway serve`: configuration → app → listeners → graceful shutdown.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backon::Retryable as _;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::field::display;

use super::{ConfigArgs, LastMessage, LogArgs, RETRY_SECONDS, retry_policy};
use crate::check::{NO_TRUSTED_PROXY, NO_TRUSTED_PROXY_HELP};
use crate::config::{Config, Env, NoteLevel, Server};
use crate::graph;
use crate::http::server;
use crate::http::{App, StartError};
use crate::util::clock::Clock;
use crate::util::sanitize::error_chain;

pub(super) async fn run(config: &ConfigArgs, log: &LogArgs, env: &Env) -> anyhow::Result<ExitCode> {
    let traces = log.start(env)?;
    let outcome = serve(config, env).await;
    if let Some(traces) = traces {
        traces.shut_down().await;
    }
    outcome
}

async fn serve(config: &ConfigArgs, env: &Env) -> anyhow::Result<ExitCode> {
    let loaded = config.load(env)?;
    for note in &loaded.notes {
        match note.level {
            NoteLevel::Debug => tracing::debug!(key = note.path, reason = note.message, "setting is not used"),
            NoteLevel::Warning => tracing::warn!(key = note.path, reason = note.message, "setting may be wrong"),
        }
    }
    if !loaded.config.server.knows_client_addresses() {
        tracing::warn!(reason = NO_TRUSTED_PROXY, help = NO_TRUSTED_PROXY_HELP, "server.trusted_proxies is empty");
    }
    let stop = server::stop_on_signals();
    let listen = loaded.config.server.listen;
    let metrics_listen = loaded.config.server.metrics_listen;
    let public_url = loaded.config.server.public_url.as_url().to_string();
    let app = tokio::select! {
        app = start(loaded.config) => app?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    for warning in app.warnings().await {
        tracing::warn!(reason = warning, "client credential needs attention");
    }
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let metrics = metrics_listener(metrics_listen).await?;
    let metrics_at = metrics.as_ref().and_then(|listener| listener.local_addr().ok()).map(display);
    tracing::info!(listen = %listener.local_addr()?, metrics = metrics_at, public_url, "ready for sign-ins");
    let stop_metrics = CancellationToken::new();
    let metrics =
        metrics.map(|listener| tokio::spawn(server::serve_metrics(app.clone(), listener, stop_metrics.clone())));
    let outcome = server::serve(app, listener, stop).await;
    stop_metrics.cancel();
    if let Some(metrics) = metrics {
        // A scrape in progress gets the final values.
        let _ = timeout(Duration::from_secs(1), metrics).await;
    }
    outcome?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Binds the metrics listener. If another program uses the default port, the service starts without metrics.
async fn metrics_listener(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if address == Server::METRICS_LISTEN => {
            let help = "Set server.metrics_listen to a free address, or to null";
            tracing::warn!(%address, %error, help, "metrics are not available: cannot listen on the default address");
            Ok(None)
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot listen on {address} for the metrics (server.metrics_listen)"))
        }
    }
}

fn help(error: &StartError) -> Option<&'static str> {
    match error {
        StartError::Db(error) => error.help(),
        _ => None,
    }
}

async fn start(config: Config) -> anyhow::Result<Arc<App>> {
    let clock = Clock::system();
    let mut last_message = LastMessage::default();
    let build = || App::build(config.clone(), clock.clone(), graph::TOTAL_BUDGET);
    let app = build
        .retry(retry_policy())
        .when(|error| matches!(error, StartError::Db(error) if error.is_unavailable()))
        .notify(|error, _| {
            let text = error_chain(error);
            if last_message.is_new(&text) {
                tracing::warn!(error = text, help = help(error), "start failed; retrying for {RETRY_SECONDS} seconds");
            }
        })
        .await?;
    Ok(app)
}
