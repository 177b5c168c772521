//! The shared state of the service: [`App`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use chrono::TimeDelta;

use super::assets::Assets;
use super::checks::Checks;
use super::cookies::Cookies;
use super::health::ReadinessCheck;
use super::limits::RequestLimits;
use super::log_once::LogOnce;
use super::paths;
use crate::assertion::Assertions;
use crate::config::{Config, LiteLlm};
use crate::db::{Db, DbError, Hour};
use crate::domain::StoreKind;
use crate::graph::Graph;
use crate::litellm_cache::{CacheError, LiteLlmCache};
use crate::observability::metrics::Metrics;
use crate::oidc::Entra;
use crate::reconcile::Reconciliation;
use crate::session::{Lifetimes, Sessions};
use crate::sync::{DirectoryReader, service_principal};
use crate::util::clock::Clock;
use crate::util::http_client::{HttpClient, HttpError};
use crate::util::random;
use crate::util::single_flight::SingleFlight;

/// State that all handlers share.
pub struct App {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) db: Db,
    pub(super) sessions: Sessions,
    /// `None` if `session.assertion` is not configured.
    pub(super) assertions: Option<Assertions>,
    /// Caches of the LiteLLM proxies that share the database; `None` if they cannot be evicted.
    pub(super) cache: Option<LiteLlmCache>,
    pub(super) entra: Arc<Entra>,
    pub(super) graph: Graph,
    pub(super) directory_reader: DirectoryReader,
    pub(super) cookies: Cookies,
    pub(super) assets: Assets,
    pub(super) limits: RequestLimits,
    /// Sign-ins by the hour, for the chart on the syncs page.
    pub(super) hours: SingleFlight<Arc<[Hour]>, Arc<DbError>>,
    pub(super) checks: Checks,
    pub(super) database_log: Arc<LogOnce>,
    pub(super) readiness: ReadinessCheck,
    pub(super) metrics: Arc<Metrics>,
    /// Path of forward auth, including the base path of the public URL.
    pub(super) verify_path: String,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("failed to create the HTTP client")]
    Http(#[from] HttpError),
    #[error("server.public_url: cannot be a trusted origin: {0}")]
    Origin(String),
}

impl App {
    /// Creates the service: migrates the database, and loads the cookie key from it if none is configured.
    /// `graph_budget` limits the time to read one list of groups.
    pub async fn build(config: Config, clock: Clock, graph_budget: Duration) -> Result<Arc<Self>, StartError> {
        let db = Db::new(config.store, &config.database.url, config.database.max_connections)?;
        let metrics = Arc::new(Metrics::new());
        let db = db.with_metrics(metrics.clone());
        db.prepare().await?;
        let keys = match &config.session.cookie_keys[..] {
            [] => vec![db.cookie_key(random::bytes()).await?.to_vec()],
            keys => keys.iter().map(|key| key.as_bytes().to_vec()).collect(),
        };
        let LiteLlm { redis_url, redis_namespace } = &config.litellm;
        let cache = redis_url.as_ref().filter(|_| config.store == StoreKind::LiteLlm);
        let cache = cache.map(|url| LiteLlmCache::new(url, redis_namespace.clone())).transpose()?;
        let http = HttpClient::for_host(&config.entra.authority_url)?;
        let redirect_uri = config.server.public_url.join("/sso/callback");
        let entra = Entra::new(http.clone(), clock.clone(), config.entra.clone(), redirect_uri);
        let entra = Arc::new(entra.with_metrics(metrics.clone()));
        let checks = Checks::new(http.clone(), clock.clone());
        let graph = Graph::new(http, config.entra.graph_url.clone(), graph_budget).with_metrics(metrics.clone());
        let principal = service_principal(&config.entra);
        let directory_reader =
            DirectoryReader::new(entra.clone(), graph.clone(), clock.clone(), principal, &config.sync);
        let cookies = Cookies::new(&config.server.public_url, config.session.cookie_domain.clone(), &keys);
        let span = |time| TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
        let lifetimes =
            Lifetimes { idle_timeout: span(config.session.idle_timeout), cache_ttl: span(config.session.cache_ttl) };
        let sessions = Sessions::new(db.clone(), clock.clone(), lifetimes);
        let assertions = config.session.assertion.as_ref().map(|assertion| {
            let issuer = config.server.public_url.as_url().to_string();
            Assertions::new(db.clone(), clock.clone(), issuer, assertion.ttl)
        });
        let assets = Assets::new(config.pages.logo.as_ref());
        let limits = RequestLimits::new(&config, &clock);
        let verify_path = format!("{}{}", config.server.public_url.base_path(), paths::VERIFY);
        let hours = SingleFlight::new(clock.clone());
        let database_log = Arc::new(LogOnce::new(clock.clone()));
        let readiness = ReadinessCheck {
            db: db.clone(),
            entra: entra.clone(),
            clock: clock.clone(),
            database_log: database_log.clone(),
            last: Arc::default(),
        };
        metrics.start.set((), clock.now().timestamp());
        metrics.connections_most.set((), config.limits.connections);
        Ok(Arc::new(Self {
            config,
            clock,
            db,
            sessions,
            assertions,
            cache,
            entra,
            graph,
            directory_reader,
            cookies,
            assets,
            limits,
            hours,
            checks,
            database_log,
            readiness,
            metrics,
            verify_path,
        }))
    }

    /// The database.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The reconciliation, with this process's replica ID.
    #[must_use]
    pub fn reconciliation(&self) -> Reconciliation {
        Reconciliation {
            config: self.config.clone(),
            db: self.db.clone(),
            entra: self.entra.clone(),
            graph: self.graph.clone().in_background(),
            cache: self.cache.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            replica: random::uuid(),
        }
    }

    /// Time between two runs of the reconciliation; `None` if they are off.
    #[must_use]
    pub fn reconcile_interval(&self) -> Option<Duration> {
        self.config.sync.reconcile_interval
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Maximum number of open connections (`limits.connections`).
    #[must_use]
    pub fn connections(&self) -> usize {
        self.config.limits.connections
    }

    /// Deletes expired rows. Returns their number.
    pub async fn delete_expired(&self) -> Result<i64, DbError> {
        let retention = TimeDelta::from_std(self.config.audit.retention).unwrap_or(TimeDelta::MAX);
        self.db.delete_expired(self.clock.now(), self.idle_timeout(), retention).await
    }

    /// Problems that operators should fix although the service works.
    pub async fn warnings(&self) -> Vec<String> {
        let warning = match self.entra.credentials().await {
            Ok(credentials) => credentials.warning(self.clock.now()),
            Err(error) => Some(format!("the file with the app's own credential {error}")),
        };
        warning.into_iter().collect()
    }

    /// Whether an address is one of `server.trusted_proxies`.
    pub(super) fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.config.server.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    pub(super) fn idle_timeout(&self) -> TimeDelta {
        TimeDelta::from_std(self.config.session.idle_timeout).unwrap_or(TimeDelta::MAX)
    }
}

impl FromRef<Arc<App>> for Assets {
    fn from_ref(app: &Arc<App>) -> Self {
        app.assets.clone()
    }
}

impl FromRef<Arc<App>> for ReadinessCheck {
    fn from_ref(app: &Arc<App>) -> Self {
        app.readiness.clone()
    }
}
