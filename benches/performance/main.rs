//! Measures the program as the image has it, with a private Postgres of its default durability and the simulated Entra and Graph in
//! processes of their own, and writes `docs/performance.md`. Run it by `script/bench`.

mod begin;
mod browser;
mod container;
mod forward_auth;
mod growth;
mod large;
mod memory;
mod page;
mod pages;
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

/// The parts, each with its name on the command line and its heading in the page.
const PARTS: [(&str, &str); 9] = [
    ("forward-auth", "Forward auth, a session that is remembered"),
    ("cold", "Forward auth, a session that is not"),
    ("sign-in", "One sign-in"),
    ("storm", "A storm of sign-ins"),
    ("growth", "Growth"),
    ("memory", "Memory"),
    ("start", "Start"),
    ("pages", "Pages"),
    ("container", "Container"),
];

/// What these figures come from is told by people, and kept.
const BY_HAND: &str = "What the limits are, and why";

const HELP: &str = "\
Measures, and writes docs/performance.md.

Usage: script/bench [PART…]

Without a part, all of them; else those, and the others' text stays as it is:

  forward-auth   /auth/verify from memory, beside a bare route, Apache with mod_auth_openidc, and behind nginx
  cold           /auth/verify from the database, beside pgbench
  sign-in        one sign-in, with 1 to 1,000 groups
  storm          2,000 people at once
  growth         sign-ins over a large database
  memory         idle, for each session, after 100,000 sign-ins
  start          until /readyz
  pages          lists over 100,000 teams and 1,000,000 people
  container      how large the image is, and whether it works; needs root
";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Cargo adds an option of its own.
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
        ensure!(PARTS.iter().any(|(name, _)| name == word), "{word} is no part:\n\n{HELP}");
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
            "memory" => memory::run(&cluster).await?,
            "start" => begin::run(&cluster).await?,
            "pages" => pages::run(&cluster).await?,
            _ => container::run().await?,
        };
        // Each at once: what comes later may fail.
        page::write(Part { heading, text }, &headings, &postgres)?;
    }
    Ok(())
}
