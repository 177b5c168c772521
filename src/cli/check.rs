//! `entraway check`: prints a line for each check, with how to fix a problem.

use std::process::ExitCode;

use super::ConfigArgs;
use super::output::{OutputError, outln};
use crate::check::{self, Report, Severity, Tables};
use crate::config::{Config, Env, Loaded};
use crate::db::Db;
use crate::domain::StoreKind;
use crate::graph::{self, Graph};
use crate::litellm_cache::LiteLlmCache;
use crate::oidc::Entra;
use crate::util::clock::Clock;
use crate::util::http_client::HttpClient;

pub(super) async fn run(args: &ConfigArgs, env: &Env) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    let mut failed = false;
    let name = args.file().map_or_else(|| "environment variables only".to_owned(), |file| file.display().to_string());
    match args.load(env) {
        Err(error) => {
            for problem in &error.problems {
                let line = problem.line.map(|line| format!(" (line {line})")).unwrap_or_default();
                let found = format!("{}{line}: {}", problem.path, problem.message);
                report.fail("configuration", found, &problem.help);
            }
        }
        Ok(Loaded { config, .. }) => {
            let clock = Clock::system();
            report.ok("configuration", format!("read from {name}"));
            check::configuration(&mut report, &config, clock.now());
            failed |= print(&mut report)?;
            check_database(&mut report, &config).await;
            failed |= print(&mut report)?;
            check_caches(&mut report, &config).await;
            failed |= print(&mut report)?;
            check_entra(&mut report, &config, &clock).await?;
            failed |= print(&mut report)?;
            check::notifications(&mut report, &config).await;
        }
    }
    failed |= print(&mut report)?;
    outln!("")?;
    if failed {
        outln!("Not ready: fix the checks marked FAIL.")?;
        return Ok(ExitCode::FAILURE);
    }
    outln!("Ready: users can sign in.")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints and removes the findings so far. Returns whether one of them is a failure.
fn print(report: &mut Report) -> Result<bool, OutputError> {
    let mut failed = false;
    for finding in report.findings.drain(..) {
        let mark = match finding.level {
            Severity::Ok => "ok  ",
            Severity::Warn => "warn",
            Severity::Fail => "FAIL",
        };
        outln!("{mark}  {}: {}", finding.what, finding.found)?;
        if !finding.help.is_empty() {
            outln!("      → {}", finding.help)?;
        }
        failed |= finding.level == Severity::Fail;
    }
    Ok(failed)
}

async fn check_database(report: &mut Report, config: &Config) {
    match Db::new(config.store, &config.database.url, config.database.max_connections) {
        Ok(db) => check::database(report, config, &db, Tables::Migrate).await,
        Err(error) => {
            let help = "Write it as postgres://user:password@host:5432/database";
            report.fail("database", error.to_string(), help);
        }
    }
}

async fn check_caches(report: &mut Report, config: &Config) {
    let Some(url) = config.litellm.redis_url.as_ref().filter(|_| config.store == StoreKind::LiteLlm) else { return };
    let ready = async { LiteLlmCache::new(url, config.litellm.redis_namespace.clone())?.ready().await };
    check::caches(report, ready.await);
}

async fn check_entra(report: &mut Report, config: &Config, clock: &Clock) -> anyhow::Result<()> {
    let http = HttpClient::for_host(&config.entra.authority_url)?;
    let redirect_uri = config.server.public_url.join("/sso/callback");
    let entra = Entra::new(http.clone(), clock.clone(), config.entra.clone(), redirect_uri);
    let graph = Graph::new(http, config.entra.graph_url.clone(), graph::TOTAL_BUDGET);
    check::entra(report, config, &entra, &graph, clock).await;
    Ok(())
}
