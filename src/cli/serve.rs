//! `entraway serve`: configuration → app → listener → graceful stop.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use backon::Retryable as _;
use tokio::net::TcpListener;

use super::{LogArgs, patience};
use crate::check::UNNAMED_PROXY;
use crate::clock::Clock;
use crate::config::{self, Config, Env, Level};
use crate::graph;
use crate::server;
use crate::store::StoreError;
use crate::text::chain;
use crate::web::{App, StartError};

pub(super) async fn run(file: Option<&Path>, log: &LogArgs, env: &Env) -> anyhow::Result<ExitCode> {
    log.init()?;
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
    let public_url = loaded.config.server.public_url.as_url().to_string();
    let app = tokio::select! {
        app = start(loaded.config) => app?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    for warning in app.warnings().await {
        tracing::warn!("{warning}");
    }
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    tracing::info!(listen = %listener.local_addr()?, public_url, "ready for sign-ins");
    server::serve(app, listener, stop).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn start(config: Config) -> anyhow::Result<Arc<App>> {
    let clock = Clock::system();
    let build = || App::build(config.clone(), clock.clone(), graph::TOTAL_BUDGET);
    let app = build
        .retry(patience())
        .when(|error| matches!(error, StartError::Store(StoreError::Unavailable(_))))
        .notify(|error, _| tracing::warn!("{}; trying again", chain(error)))
        .await?;
    Ok(app)
}
