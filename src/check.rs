//! Health checks: tests every precondition of the service, for `entraway check` and the settings page.

mod app;
mod configuration;
mod database;
mod notifications;
mod permissions;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::db::Db;
use crate::graph::Graph;
use crate::litellm_cache::{CacheError, LiteLlmCache};
use crate::oidc::Entra;
use crate::sync::configured_tenants;
use crate::util::clock::Clock;
use crate::util::sanitize::{error_chain, pluralize};

pub use configuration::{NO_TRUSTED_PROXY, NO_TRUSTED_PROXY_HELP, configuration};
pub use database::{Tables, database};
pub use notifications::notifications;

/// Time limit of [`run`], less than the timeout of a single request to Entra or Graph.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Ok,
    /// Users can sign in, but something may not be as intended.
    Warn,
    Fail,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Severity,
    /// Name of the check.
    pub what: String,
    pub found: String,
    /// How to fix it; empty if there is nothing to do.
    pub help: String,
}

/// The findings so far.
#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// The check in progress.
    current: &'static str,
}

impl Report {
    pub fn ok(&mut self, what: &str, found: impl Into<String>) {
        self.add(Severity::Ok, what, found, "");
    }

    pub fn warn(&mut self, what: &str, found: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warn, what, found, help);
    }

    pub fn fail(&mut self, what: &str, found: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Fail, what, found, help);
    }

    fn add(&mut self, level: Severity, what: &str, found: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding { level, what: what.to_owned(), found: found.into(), help: help.into() });
    }

    /// Starts a check, to name it if it times out.
    fn start(&mut self, what: &'static str) {
        self.current = what;
    }

    fn timed_out(&mut self) {
        let seconds = TIME_LIMIT.as_secs();
        let found =
            format!("no answer within {seconds} seconds; this check and those that depend on it did not complete");
        self.warn(self.current, found, "Try again later, or run entraway check, which waits longer");
    }
}

/// What the checks use.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub config: &'a Config,
    pub db: &'a Db,
    /// A client without cached data.
    pub entra: &'a Entra,
    pub graph: &'a Graph,
    /// The caches of the LiteLLM proxies, if Redis is configured.
    pub cache: Option<&'a LiteLlmCache>,
    pub clock: &'a Clock,
}

/// Runs all checks concurrently, within four seconds, without changing anything.
pub async fn run(parts: &Context<'_>) -> Vec<Finding> {
    let Context { config, db, entra, graph, cache, clock } = *parts;
    let mut report = Report::default();
    configuration(&mut report, config, clock.now());
    let (mut database, mut caches, mut app) = (Report::default(), Report::default(), Report::default());
    let mut webhook = Report::default();
    let deadline = Instant::now() + TIME_LIMIT;
    let outcomes = tokio::join!(
        timeout_at(deadline, self::database(&mut database, config, db, Tables::Inspect)),
        timeout_at(deadline, async {
            if let Some(cache) = cache {
                caches.start(CACHES);
                self::caches(&mut caches, cache.ready().await);
            }
        }),
        timeout_at(deadline, self::entra(&mut app, config, entra, graph, clock)),
        timeout_at(deadline, self::notifications(&mut webhook, config)),
    );
    let parts = [(database, outcomes.0), (caches, outcomes.1), (app, outcomes.2), (webhook, outcomes.3)];
    for (mut part, outcome) in parts {
        if outcome.is_err() {
            part.timed_out();
        }
        report.findings.append(&mut part.findings);
    }
    report.findings
}

const CACHES: &str = "LiteLLM's caches";

/// Checks the proxies' caches by the number of subscribers in Redis.
pub fn caches(report: &mut Report, listeners: Result<u64, CacheError>) {
    match listeners {
        Ok(0) => report.warn(
            CACHES,
            "Redis answers, but no proxy listens there",
            "Check that a proxy uses this Redis, and that litellm.redis_namespace is its namespace",
        ),
        Ok(1) => report.ok(CACHES, "1 worker listens"),
        Ok(workers) => report.ok(CACHES, format!("{workers} workers listen")),
        Err(error) => report.warn(
            CACHES,
            error.to_string(),
            "Correct litellm.redis_url, or remove it: proxies then see changes within a minute",
        ),
    }
}

/// Checks Entra, the app's credentials and its Graph permissions.
pub async fn entra(report: &mut Report, config: &Config, entra: &Entra, graph: &Graph, clock: &Clock) {
    report.start("Entra");
    match entra.probe().await {
        Ok((issuer, keys)) => report.ok("Entra", format!("issuer {issuer}, {}", pluralize(keys, "signing key"))),
        Err(error) => return report.fail("Entra", error_chain(&*error), error.help()),
    }
    let redirect_uri = config.server.public_url.join("/sso/callback");
    report.ok("redirect URI", format!("{redirect_uri} must be registered in Entra with type Web"));
    app::check_credentials(report, entra, clock.now()).await;
    let tenants = configured_tenants(&config.entra, entra).await.unwrap_or_default();
    for tenant in tenants {
        app::check_app(report, config, entra, graph, tenant).await;
    }
    report
        .ok("user groups", "not checked: a sign-in reads them with the user's token (delegated permission User.Read)");
}
