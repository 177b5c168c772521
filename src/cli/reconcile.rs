//! `entraway reconcile`: compares all managed memberships with Entra and removes those that Entra no longer gives, once or at
//! intervals.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::output::{errln, outln};
use crate::config::Config;
use crate::db::{Db, FinishedRun, RunStatus, RunTrigger};
use crate::domain::StoreKind;
use crate::graph::{self, Graph};
use crate::http::server::stop_on_signals;
use crate::litellm_cache::LiteLlmCache;
use crate::oidc::Entra;
use crate::reconcile::Reconciliation;
use crate::util::clock::Clock;
use crate::util::http_client::HttpClient;
use crate::util::random;
use crate::util::sanitize::pluralize;

/// Exit status if the circuit breaker holds removals.
const HELD: u8 = 3;

pub(super) async fn run(once: bool, config: Config) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signals();
    let interval = config.sync.reconcile_interval;
    let reconciliation = build(config)?;
    if !once {
        let interval = interval.unwrap_or(DEFAULT_INTERVAL);
        reconciliation.run_at_intervals(interval, &stop).await;
        reconciliation.db.close().await;
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = reconciliation.run(RunTrigger::Command, &stop).await;
    reconciliation.db.close().await;
    let Some(run) = outcome.context("failed to record the run")? else {
        errln!("entraway: another replica is reconciling. Try again when it has finished");
        return Ok(ExitCode::FAILURE);
    };
    report(&run)?;
    Ok(match run.status {
        RunStatus::Done | RunStatus::Incomplete => ExitCode::SUCCESS,
        RunStatus::Held => ExitCode::from(HELD),
        RunStatus::Failed | RunStatus::Interrupted => ExitCode::FAILURE,
    })
}

/// Interval of a separate process if `sync.reconcile.interval` switches the runs of `serve` off.
const DEFAULT_INTERVAL: Duration = Duration::from_mins(10);

fn build(config: Config) -> anyhow::Result<Reconciliation> {
    let db = Db::new(config.store, &config.database.url, 2)?;
    let http = HttpClient::for_host(&config.entra.authority_url)?;
    let redirect_uri = config.server.public_url.join("/sso/callback");
    let clock = Clock::system();
    let entra = Entra::new(http.clone(), clock.clone(), config.entra.clone(), redirect_uri);
    let graph = Graph::new(http, config.entra.graph_url.clone(), graph::TOTAL_BUDGET).in_background();
    let redis = config.litellm.redis_url.as_ref().filter(|_| config.store == StoreKind::LiteLlm);
    let cache = redis.map(|url| LiteLlmCache::new(url, config.litellm.redis_namespace.clone())).transpose()?;
    Ok(Reconciliation {
        config,
        db,
        entra: Arc::new(entra),
        graph,
        cache,
        clock,
        metrics: Arc::default(),
        replica: random::uuid(),
    })
}

fn report(run: &FinishedRun) -> anyhow::Result<()> {
    let compared = pluralize(run.compared, "managed team membership");
    outln!("{compared} compared with Entra, {} added, {} removed", run.added, run.removed)?;
    if run.skipped > 0 {
        outln!("{} changed since the plan and left alone", pluralize(run.skipped, "membership"))?;
    }
    if run.incomplete > 0 {
        outln!("{} could not be read completely: run entraway plan", pluralize(run.incomplete, "group"))?;
    }
    if run.held > 0 {
        outln!("{} held by a limit: run entraway plan", pluralize(run.held, "removal"))?;
    }
    if let Some(error) = &run.error {
        errln!("entraway: {error}");
    }
    Ok(())
}
