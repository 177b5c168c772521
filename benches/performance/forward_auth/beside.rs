//! The service and, on another listener of the same process, a bare axum route that answers 204: what a route costs at least.

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use clap::Parser as _;
use entraway::cli::Cli;
use http::StatusCode;
use tokio::net::TcpListener;

pub(crate) const COMMAND: &str = "beside";

/// Takes the options of `entraway serve`.
pub(crate) async fn run(options: &[String]) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("{{\"bare\":\"{}\"}}", listener.local_addr()?);
    let bare = Router::new().route("/bare", get(async || StatusCode::NO_CONTENT));
    tokio::spawn(async move { axum::serve(listener, bare).await });
    let words = ["entraway", "serve"].into_iter().map(str::to_owned).chain(options.iter().cloned());
    Cli::try_parse_from(words)?.run(&std::env::vars().collect()).await
}
