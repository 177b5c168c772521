//! The HTTP service: routes, layers and shared state. The only module that uses axum.

mod api;
mod assets;
mod callback;
mod cookies;
mod current_user;
mod error;
mod failed_sign_in;
mod forward_auth;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod health;
mod layout;
mod limits;
mod list_query;
mod login;
mod login_state;
mod logout;
mod metrics;
mod middleware;
mod pages;
mod query;
mod return_to;
pub mod server;
mod session_cookie;
mod trace_context;
mod view_model;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use chrono::TimeDelta;
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::timeout::TimeoutLayer;

use crate::assertion::Assertions;
use crate::config::{Config, LiteLlm};
use crate::db::{Db, DbError, Hour};
use crate::domain::StoreKind;
use crate::graph::Graph;
use crate::litellm_cache::{CacheError, LiteLlmCache};
use crate::observability::metrics::Metrics;
use crate::oidc::Entra;
use crate::session::{Lifetimes, Sessions};
use crate::sync::{DirectoryReader, service_principal};
use crate::util::clock::Clock;
use crate::util::http_client::{HttpClient, HttpError};
use crate::util::random;
use crate::util::single_flight::SingleFlight;

use assets::Assets;
use cookies::Cookies;
use error::{LogOnce, WebError};
use health::ReadinessCheck;
use limits::RequestLimits;
use pages::settings::Checks;

/// Time limit for a request. Longer than every time limit inside a handler.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// State that all handlers share.
pub struct App {
    config: Config,
    clock: Clock,
    db: Db,
    sessions: Sessions,
    /// `None` if `session.assertion` is not configured.
    assertions: Option<Assertions>,
    /// Caches of the LiteLLM proxies that share the database; `None` if they cannot be evicted.
    cache: Option<LiteLlmCache>,
    entra: Arc<Entra>,
    directory_reader: DirectoryReader,
    cookies: Cookies,
    assets: Arc<Assets>,
    limits: RequestLimits,
    /// Sign-ins by the hour, for the chart on the syncs page.
    hours: SingleFlight<Arc<[Hour]>, Arc<DbError>>,
    checks: Checks,
    database_log: LogOnce,
    readiness: ReadinessCheck,
    metrics: Arc<Metrics>,
    /// Path of forward auth, including the base path of the public URL.
    verify_path: String,
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
        let directory_reader = DirectoryReader::new(entra.clone(), graph, clock.clone(), principal, &config.sync);
        let cookies = Cookies::new(&config.server.public_url, config.session.cookie_domain.clone(), &keys);
        let span = |time| TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
        let lifetimes =
            Lifetimes { idle_timeout: span(config.session.idle_timeout), cache_ttl: span(config.session.cache_ttl) };
        let sessions = Sessions::new(db.clone(), clock.clone(), lifetimes);
        let assertions = config.session.assertion.as_ref().map(|assertion| {
            let issuer = config.server.public_url.as_url().to_string();
            Assertions::new(db.clone(), clock.clone(), issuer, assertion.ttl)
        });
        let assets = Arc::new(Assets::new(config.pages.logo.as_ref()));
        let limits = RequestLimits::new(&config, &clock);
        let verify_path = format!("{}{}", config.server.public_url.base_path(), forward_auth::PATH);
        let hours = SingleFlight::new(clock.clone());
        let database_log = LogOnce::new(clock.clone());
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
            directory_reader,
            cookies,
            assets,
            limits,
            hours,
            checks,
            database_log,
            readiness: ReadinessCheck::default(),
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
        self.db.delete_expired(self.clock.now(), self.idle_timeout()).await
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
    fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.config.server.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    fn idle_timeout(&self) -> TimeDelta {
        TimeDelta::from_std(self.config.session.idle_timeout).unwrap_or(TimeDelta::MAX)
    }
}

/// Routes of the metrics listener.
pub fn metrics_router(app: &Arc<App>) -> Router {
    metrics::router().with_state(app.clone())
}

/// Answers a forward-auth request from memory, before routing. `None`: the router has to answer it.
pub fn fast_path<B: axum::body::HttpBody>(
    app: &App,
    request: &http::Request<B>,
) -> Option<http::Response<axum::body::Body>> {
    forward_auth::fast_path_answer(app, request)
}

/// All routes, below the base path of the public URL, with their layers.
pub fn router(app: &Arc<App>) -> Result<Router, StartError> {
    let public_url = &app.config.server.public_url;
    let same_origin = CsrfLayer::new()
        .add_trusted_origin(public_url.origin())
        .map_err(|error| StartError::Origin(error.to_string()))?
        .with_rejection_response(error::cross_origin);
    let rate_limit = from_fn_with_state(app.clone(), limits::rate_limit);
    let service = Router::new()
        .route("/", get(pages::home))
        .route("/signed-out", get(pages::signed_out))
        .route("/teams", get(pages::teams))
        .route("/teams/{id}", get(pages::team))
        .route("/organizations", get(pages::organizations))
        .route("/organizations/{id}", get(pages::organization))
        .route("/people", get(pages::users))
        .route("/people/{id}", get(pages::user))
        .route("/people/{id}/explain", get(pages::explain::page))
        .route("/people/{id}/sessions/end", get(pages::confirm_end_all).post(pages::end_all_of_user))
        .route("/people/{id}/sessions/{session}/end", post(pages::end_of_user))
        .route("/sessions/{session}/end", post(pages::end_own))
        .route("/syncs", get(pages::syncs::page))
        .route("/syncs/failed", get(pages::failed_sign_ins::page))
        .route("/settings", get(pages::settings::page))
        .route("/sso/login", get(login::start).route_layer(rate_limit.clone()))
        .route("/sso/key/generate", get(login::start).route_layer(rate_limit.clone())) // LiteLLM's path
        .route("/sso/callback", get(callback::finish).route_layer(rate_limit.clone()))
        .route("/sso/logout", post(logout::end))
        .route("/sso/frontchannel-logout", get(logout::front_channel).route_layer(rate_limit))
        .route("/api/me", get(api::me))
        .route("/api/teams", get(api::teams))
        .route("/api/teams/{id}", get(api::team))
        .route("/api/organizations", get(api::organizations))
        .route("/api/organizations/{id}", get(api::organization))
        .route("/api/people", get(api::users))
        .route("/api/people/{id}", get(api::user))
        .route("/api/people/{id}/explain", get(api::explain))
        .route("/api/syncs", get(api::syncs))
        .route("/api/syncs/failed", get(api::failed_sign_ins))
        .route("/api/openapi.json", get(api::openapi))
        .route("/assets/{name}", get(assets::get))
        .route("/assets/{version}/{name}", get(assets::get_version))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/.well-known/jwks.json", get(forward_auth::keys))
        .layer(same_origin)
        // Without the same-origin layer: proxies forward requests of other sites' clients.
        .merge(forward_auth::router());
    let routes = match public_url.base_path() {
        "" => service,
        // The container's health check does not know the base path.
        base => Router::new()
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route(&format!("{base}/"), get(pages::home))
            .nest(base, service),
    };
    Ok(routes
        .fallback(async || WebError::NotFound)
        .method_not_allowed_fallback(async || WebError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(limits::MAX_BODY))
        .layer(from_fn(limits::size_limits))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn_with_state(app.clone(), error::render))
        .layer(from_fn(forward_auth::ensure_identity_headers))
        .layer(from_fn_with_state(app.clone(), middleware::security_headers))
        .layer(from_fn(middleware::access_log))
        .layer(from_fn_with_state(app.clone(), metrics::count_requests))
        .layer(from_fn_with_state(app.clone(), middleware::request_id))
        .layer(from_fn_with_state(app.clone(), middleware::client_ip))
        .with_state(app.clone()))
}
