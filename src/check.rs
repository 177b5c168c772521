//! Every precondition tried for real, each with its remedy: for `entraway check` and for the page with the settings.

mod app;
mod configuration;
mod database;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::{Config, Tenant};
use crate::db::Store;
use crate::domain::TenantId;
use crate::graph::Graph;
use crate::litellm_cache::{CacheError, LiteLlmCache};
use crate::oidc::Entra;
use crate::util::clock::Clock;
use crate::util::sanitize::{chain, count};

pub use configuration::{UNNAMED_PROXY, configuration};
pub use database::{Tables, database};

/// `run` takes no longer than this: less than the time-out of a single request to Entra or Graph.
const WITHIN: Duration = Duration::from_secs(4);

/// How one step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Ok,
    /// People can sign in, but something is not as one may think.
    Warn,
    Fail,
}

/// What was tried, how it is, and what to do about it; no remedy where there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    pub what: String,
    pub found: String,
    pub remedy: String,
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// The step whose answer is awaited.
    awaited: &'static str,
}

impl Report {
    pub fn ok(&mut self, what: &str, found: &str) {
        self.add(Level::Ok, what, found, "");
    }

    pub fn warn(&mut self, what: &str, found: &str, remedy: &str) {
        self.add(Level::Warn, what, found, remedy);
    }

    pub fn fail(&mut self, what: &str, found: &str, remedy: &str) {
        self.add(Level::Fail, what, found, remedy);
    }

    fn add(&mut self, level: Level, what: &str, found: &str, remedy: &str) {
        let [what, found, remedy] = [what, found, remedy].map(str::to_owned);
        self.findings.push(Finding { level, what, found, remedy });
    }

    /// What is told if no answer comes.
    fn awaits(&mut self, what: &'static str) {
        self.awaited = what;
    }

    fn no_answer(&mut self) {
        let found =
            format!("no answer within {} seconds, so this and what depends on it is not known", WITHIN.as_secs());
        self.warn(self.awaited, &found, "try again later; entraway check waits for longer");
    }
}

/// What is tried.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    pub config: &'a Config,
    pub store: &'a Store,
    /// One of its own, which remembers nothing of what Entra said before.
    pub entra: &'a Entra,
    pub graph: &'a Graph,
    /// The caches of the LiteLLM proxies, where they are told.
    pub cache: Option<&'a LiteLlmCache>,
    pub clock: &'a Clock,
}

/// Tries everything at the same time, within `WITHIN`, and changes nothing.
pub async fn run(parts: &Parts<'_>) -> Vec<Finding> {
    let Parts { config, store, entra, graph, cache, clock } = *parts;
    let now = clock.now();
    let mut report = Report::default();
    configuration(&mut report, config, now);
    let [mut database, mut caches, mut app] = [const { Report { findings: Vec::new(), awaited: "" } }; 3];
    let deadline = Instant::now() + WITHIN;
    let outcomes = tokio::join!(
        timeout_at(deadline, self::database(&mut database, config, store, Tables::AsTheyAre)),
        timeout_at(deadline, async {
            if let Some(cache) = cache {
                caches.awaits(CACHES);
                self::caches(&mut caches, cache.ready().await);
            }
        }),
        timeout_at(deadline, self::entra(&mut app, config, entra, graph, clock)),
    );
    let outcomes = [outcomes.0, outcomes.1, outcomes.2];
    for (mut part, outcome) in [database, caches, app].into_iter().zip(outcomes) {
        if outcome.is_err() {
            part.no_answer();
        }
        report.findings.append(&mut part.findings);
    }
    report.findings
}

const CACHES: &str = "LiteLLM's caches";

/// The proxies' caches, by the number of those who listen.
pub fn caches(report: &mut Report, listeners: Result<u64, CacheError>) {
    match listeners {
        Ok(0) => report.warn(
            CACHES,
            "Redis answers, but no proxy listens there",
            "is a proxy running with this Redis, and is litellm.redis_namespace its namespace?",
        ),
        Ok(1) => report.ok(CACHES, "1 worker listens"),
        Ok(workers) => report.ok(CACHES, &format!("{workers} workers listen")),
        Err(error) => report.warn(
            CACHES,
            &error.to_string(),
            "mend litellm.redis_url, or leave it out: the proxies then see changes within a minute",
        ),
    }
}

/// Entra, and what the app may do there and in Graph.
pub async fn entra(report: &mut Report, config: &Config, entra: &Entra, graph: &Graph, clock: &Clock) {
    report.awaits("Entra");
    match entra.probe().await {
        Ok((issuer, keys)) => report.ok("Entra", &format!("issuer {issuer}, {}", count(keys, "signing key"))),
        Err(error) => return report.fail("Entra", &chain(&*error), error.remedy()),
    }
    let redirect_uri = config.server.public_url.join("/sso/callback");
    report.ok("redirect URI", &format!("{redirect_uri} has to be registered in Entra, as type Web"));
    app::tell_credentials(report, entra, clock.now()).await;
    let home = entra.home_tenant().await.ok().flatten();
    let tenants: Vec<TenantId> = match config.entra.tenant {
        Tenant::Organizations | Tenant::Common => config.entra.allowed_tenants.iter().copied().collect(),
        Tenant::Id(_) | Tenant::Domain(_) => home.into_iter().collect(),
    };
    for tenant in tenants {
        app::check_app(report, config, entra, graph, tenant).await;
    }
    report.ok(
        "the person's groups",
        "read with the person's own token (User.Read, which everybody may consent to): only a sign-in can try that",
    );
}
