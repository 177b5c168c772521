//! Runs the service and, on another listener of the same process, two axum routes for comparison. One answers 204, the
//! minimum cost of a route. The other also returns constant headers like those of an identity, the minimum cost of such
//! a response.

use std::path::Path;
use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use clap::Parser as _;
use entraway::cli::Cli;
use http::StatusCode;
use tokio::net::TcpListener;

pub(crate) const COMMAND: &str = "beside";

/// IDs of five groups.
const IDS: &str = "00000000-0000-4000-8000-000000000000,00000000-0000-4000-8000-000000000001,\
                   00000000-0000-4000-8000-000000000002,00000000-0000-4000-8000-000000000003,\
                   00000000-0000-4000-8000-000000000004";

/// Response headers like those of `/auth/verify`.
const HEADERS: [(&str, &str); 11] = [
    ("x-auth-request-user", "00000000-0000-4000-8000-000000000000"),
    ("x-auth-request-email", "person.0000@contoso-sim.example"),
    ("x-auth-request-name", "Person%200000"),
    ("x-auth-request-role", "internal_user_viewer"),
    ("x-auth-request-organizations", IDS),
    ("x-auth-request-organizations-truncated", ""),
    ("x-auth-request-teams", IDS),
    ("x-auth-request-teams-truncated", ""),
    ("x-auth-request-assertion", ""),
    ("cache-control", "no-store"),
    ("x-request-id", "00000000-0000-4000-8000-000000000000"),
];

/// Runs both. Takes the options of `entraway serve`.
pub(crate) async fn run(options: &[String]) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("{{\"bare\":\"{}\"}}", listener.local_addr()?);
    let bare = Router::new()
        .route("/bare", get(async || StatusCode::NO_CONTENT))
        .route("/headers", get(async || (StatusCode::OK, HEADERS)));
    tokio::spawn(async move { axum::serve(listener, bare).await });
    let words = ["entraway", "serve"].into_iter().map(str::to_owned).chain(options.iter().cloned());
    Ok(Cli::try_parse_from(words)?.run(Path::new("entraway"), &std::env::vars().collect()).await)
}
