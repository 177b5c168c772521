//! Measures the release build with a private Postgres with default durability. The simulated Entra ID runs in a
//! separate process. Writes `docs/reference/performance.md`. Run it with `script/bench`.

mod begin;
mod browser;
mod container;
mod forward_auth;
mod growth;
mod large;
mod memory;
mod page;
mod pages;
mod reconciliation;
mod service;
mod sign_in;
mod simulator;
mod storm;
mod wrk;

use std::process::ExitCode;

use anyhow::ensure;
use pg_sandbox::{Durability, PrivateCluster};
use sqlx::PgPool;

use page::Part;

/// The parts: name on the command line and heading on the page.
const PARTS: [(&str, &str); 10] = [
    ("forward-auth", "Forward auth from memory"),
    ("cold", "Forward auth from the database"),
    ("sign-in", "One sign-in"),
    ("storm", "A storm of sign-ins"),
    ("growth", "Growth"),
    ("reconciliation", "Reconciliation"),
    ("memory", "Memory"),
    ("start", "Start"),
    ("pages", "Pages"),
    ("container", "Container"),
];

/// Written by hand and preserved.
const BY_HAND: &str = "Goals and limits";

const HELP: &str = "\
Runs the benchmarks and writes docs/reference/performance.md.

Usage: script/bench [PART…]

Without PART, measures all parts; otherwise only the given ones, and preserves the others on the page:

  forward-auth   /auth/verify with a cached session; compared with a bare route, Apache and mod_auth_openidc; behind nginx
  cold           /auth/verify with sessions that are not cached, compared with pgbench
  sign-in        single sign-ins with 1 to 1,000 groups
  storm          concurrent sign-ins of 2,000 users
  growth         sign-ins with a large database
  reconciliation a run over 1,000 groups and 100,000 memberships
  memory         idle, per session, after 100,000 sign-ins
  start          time until /readyz reports ready
  pages          lists of 100,000 teams and 1,000,000 users
  container      size and function of the image; needs root
";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Cargo adds the option `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [simulator::COMMAND, scene] => simulator::run(scene).await.map(|()| ExitCode::SUCCESS),
        [forward_auth::beside::COMMAND, ..] => forward_auth::beside::run(&words[1..]).await,
        ["-h" | "--help", ..] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        _ => measure(&words).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn measure(wanted: &[String]) -> anyhow::Result<()> {
    for word in wanted {
        ensure!(PARTS.iter().any(|(name, _)| name == word), "unknown part {word}:\n\n{HELP}");
    }
    let cluster = PrivateCluster::start(Durability::Real).await?;
    let pool = PgPool::connect(&cluster.url("postgres")).await?;
    let postgres: String = sqlx::query_scalar("select current_setting('server_version')").fetch_one(&pool).await?;
    let headings: Vec<&str> = PARTS.iter().map(|(_, heading)| *heading).chain([BY_HAND]).collect();
    for (name, heading) in PARTS {
        if !wanted.is_empty() && !wanted.iter().any(|word| word == name) {
            continue;
        }
        eprintln!("{name} …");
        let text = match name {
            "forward-auth" => forward_auth::warm(&cluster).await?,
            "cold" => forward_auth::cold(&cluster).await?,
            "sign-in" => sign_in::run(&cluster).await?,
            "storm" => storm::run(&cluster).await?,
            "growth" => growth::run(&cluster).await?,
            "reconciliation" => reconciliation::run(&cluster).await?,
            "memory" => memory::run(&cluster).await?,
            "start" => begin::run(&cluster).await?,
            "pages" => pages::run(&cluster).await?,
            _ => container::run().await?,
        };
        // Written after each part, because a later one may fail.
        page::write(Part { heading, text }, &headings, &postgres)?;
    }
    Ok(())
}
