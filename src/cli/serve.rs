//! `entraway serve`: configuration → app → listener → graceful stop.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backon::Retryable as _;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::field::display;

use super::{LogArgs, News, PATIENCE_SECONDS, patience};
use crate::check::UNNAMED_PROXY;
use crate::config::{self, Config, Env, Level, Server};
use crate::graph;
use crate::http::server;
use crate::http::{App, StartError};
use crate::util::clock::Clock;
use crate::util::sanitize::with_remedy;

pub(super) async fn run(file: Option<&Path>, log: &LogArgs, env: &Env) -> anyhow::Result<ExitCode> {
    let traces = log.start(env)?;
    let outcome = serve(file, env).await;
    if let Some(traces) = traces {
        traces.shut_down().await;
    }
    outcome
}

async fn serve(file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let loaded = config::load(file, env)?;
    for note in &loaded.notes {
        match note.level {
            Level::Debug => tracing::debug!("{note}"),
            Level::Warning => tracing::warn!("{note}"),
        }
    }
    if !loaded.config.server.tells_clients_apart() {
        tracing::warn!("server.trusted_proxies: {}; {}", UNNAMED_PROXY.0, UNNAMED_PROXY.1);
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
        tracing::warn!("{warning}");
    }
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let metrics = metrics_listener(metrics_listen).await?;
    let metrics_at = metrics.as_ref().and_then(|listener| listener.local_addr().ok()).map(display);
    tracing::info!(listen = %listener.local_addr()?, metrics = metrics_at, public_url, "ready for sign-ins");
    let all_is_over = CancellationToken::new();
    let watched =
        metrics.map(|listener| tokio::spawn(server::serve_metrics(app.clone(), listener, all_is_over.clone())));
    let outcome = server::serve(app, listener, stop).await;
    all_is_over.cancel();
    if let Some(watched) = watched {
        // Somebody who is reading gets the last numbers.
        let _ = timeout(Duration::from_secs(1), watched).await;
    }
    outcome?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Nobody who did not ask for metrics is kept from signing in because another program has their default port.
async fn metrics_listener(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if address == Server::METRICS_LISTEN => {
            tracing::warn!("nobody can read the metrics: cannot listen on {address}: {error} (server.metrics_listen)");
            Ok(None)
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot listen on {address} for the metrics (server.metrics_listen)"))
        }
    }
}

fn remedy(error: &StartError) -> Option<&'static str> {
    match error {
        StartError::Store(error) => error.remedy(),
        _ => None,
    }
}

async fn start(config: Config) -> anyhow::Result<Arc<App>> {
    let clock = Clock::system();
    let mut news = News::default();
    let build = || App::build(config.clone(), clock.clone(), graph::TOTAL_BUDGET);
    let app = build
        .retry(patience())
        .when(|error| matches!(error, StartError::Store(error) if error.is_unavailable()))
        .notify(|error, _| {
            let text = with_remedy(error, remedy(error));
            if news.is_new(&text) {
                tracing::warn!("{text}; trying again for {PATIENCE_SECONDS} seconds");
            }
        })
        .await?;
    Ok(app)
}
