//! Health checks of the settings page.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::check::{self, Context, Finding};
use crate::config::Config;
use crate::db::Db;
use crate::graph::{self, Graph};
use crate::litellm_cache::LiteLlmCache;
use crate::oidc::Entra;
use crate::util::clock::Clock;
use crate::util::http_client::HttpClient;
use crate::util::single_flight::SingleFlight;

/// How long a result is shared.
const FINDINGS_TTL: Duration = Duration::from_secs(15);

/// Runs the health checks and shares their result.
pub(super) struct Checks {
    http: HttpClient,
    clock: Clock,
    last: SingleFlight<CheckResult, Infallible>,
}

/// Findings, and when they were made.
#[derive(Clone)]
pub(super) struct CheckResult {
    pub(super) at: DateTime<Utc>,
    pub(super) findings: Arc<Vec<Finding>>,
}

impl Checks {
    /// `http` is for Entra and Graph.
    pub(super) fn new(http: HttpClient, clock: Clock) -> Self {
        Self { http, clock: clock.clone(), last: SingleFlight::new(clock) }
    }

    /// The last findings or new ones. Concurrent requests share one run.
    pub(super) async fn findings(&self, config: &Config, db: &Db, cache: Option<&LiteLlmCache>) -> CheckResult {
        let now = self.clock.moment();
        let read = async || {
            let findings = Arc::new(self.run(config, db, cache).await);
            Ok(CheckResult { at: self.clock.now(), findings })
        };
        let Ok(result) = self.last.get(|at, _| at.age(now) < FINDINGS_TTL, Duration::ZERO, read).await;
        result
    }

    async fn run(&self, config: &Config, db: &Db, cache: Option<&LiteLlmCache>) -> Vec<Finding> {
        let redirect_uri = config.server.public_url.join("/sso/callback");
        // A separate client: the one of the sign-ins would answer from memory, and sign-ins would wait while keys are
        // fetched.
        let entra = Entra::new(self.http.clone(), self.clock.clone(), config.entra.clone(), redirect_uri);
        let graph = Graph::new(self.http.clone(), config.entra.graph_url.clone(), graph::TOTAL_BUDGET);
        let clock = &self.clock;
        check::run(&Context { config, db, entra: &entra, graph: &graph, cache, clock }).await
    }
}
