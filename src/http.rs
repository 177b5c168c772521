//! The HTTP side, and the only one that knows axum: every route and layer is in `router()`.

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
mod middleware;
mod pages;
mod query;
mod request_metrics;
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
use crate::db::{Hour, Store, StoreError};
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
use limits::Limits;
use pages::settings::Checks;

/// Longer than every time-out inside: what is still running then has lost its way.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// All that the handlers share.
pub struct App {
    config: Config,
    clock: Clock,
    store: Store,
    sessions: Sessions,
    /// Made where the operator asks for them.
    assertions: Option<Assertions>,
    /// The caches of the proxies that share the database, if they can be told.
    cache: Option<LiteLlmCache>,
    entra: Arc<Entra>,
    reader: DirectoryReader,
    cookies: Cookies,
    assets: Arc<Assets>,
    limits: Limits,
    /// Sign-ins by the hour, for everybody who looks within a minute.
    hours: SingleFlight<Arc<[Hour]>, Arc<StoreError>>,
    checks: Checks,
    database_log: LogOnce,
    readiness: ReadinessCheck,
    metrics: Arc<Metrics>,
    /// Where proxies ask, with the public URL's own path.
    verify_path: String,
}

/// Why the service could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("the HTTP client could not be made")]
    Http(#[from] HttpError),
    #[error("the public URL cannot be a trusted origin: {0}")]
    Origin(String),
}

impl App {
    /// Puts the service together: brings the tables up to date and, where no cookie keys are configured, takes the one
    /// from the database. `graph_budget` bounds the reading of one list of groups.
    pub async fn build(config: Config, clock: Clock, graph_budget: Duration) -> Result<Arc<Self>, StartError> {
        let store = Store::new(config.store, &config.database.url, config.database.max_connections)?;
        let metrics = Arc::new(Metrics::new());
        let store = store.counted_by(metrics.clone());
        store.prepare().await?;
        let keys = match &config.session.cookie_keys[..] {
            [] => vec![store.cookie_key(random::bytes()).await?.to_vec()],
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
        let reader = DirectoryReader::new(entra.clone(), graph, clock.clone(), principal, &config.sync);
        let cookies = Cookies::new(&config.server.public_url, config.session.cookie_domain.clone(), &keys);
        let span = |time| TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
        let lifetimes =
            Lifetimes { idle_timeout: span(config.session.idle_timeout), cache_ttl: span(config.session.cache_ttl) };
        let sessions = Sessions::new(store.clone(), clock.clone(), lifetimes);
        let assertions = config.session.assertion.as_ref().map(|assertion| {
            let issuer = config.server.public_url.as_url().to_string();
            Assertions::new(store.clone(), clock.clone(), issuer, assertion.ttl)
        });
        let assets = Arc::new(Assets::new(config.pages.logo.as_ref()));
        let limits = Limits::new(&config, &clock);
        let verify_path = format!("{}{}", config.server.public_url.base_path(), forward_auth::PATH);
        let hours = SingleFlight::new(clock.clone());
        let database_log = LogOnce::new(clock.clone());
        metrics.start.set((), clock.now().timestamp());
        metrics.connections_most.set((), config.limits.connections);
        Ok(Arc::new(Self {
            config,
            clock,
            store,
            sessions,
            assertions,
            cache,
            entra,
            reader,
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

    /// Where the service's own data is.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who is signed in.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How many connections may be open at the same time.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.config.limits.connections
    }

    /// Deletes what is over: sessions and attempts.
    pub async fn purge(&self) -> Result<i64, StoreError> {
        self.store.purge(self.clock.now(), self.idle_timeout()).await
    }

    /// What those who run the service have to see to, though it serves as it is.
    pub async fn warnings(&self) -> Vec<String> {
        let warning = match self.entra.credentials().await {
            Ok(credentials) => credentials.warning(self.clock.now()),
            Err(error) => Some(format!("the file with the app's own credential {error}")),
        };
        warning.into_iter().collect()
    }

    /// Whether an address is one of `server.trusted_proxies`.
    fn trusts(&self, address: IpAddr) -> bool {
        self.config.server.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    fn idle_timeout(&self) -> TimeDelta {
        TimeDelta::from_std(self.config.session.idle_timeout).unwrap_or(TimeDelta::MAX)
    }
}

/// The one route for those who read the metrics. Nothing of it is among the routes below.
pub fn metrics_router(app: &Arc<App>) -> Router {
    request_metrics::router().with_state(app.clone())
}

/// What needs no route and no layer: a proxy that asks about somebody who may pass. `None`: it does.
pub async fn answer_at_once<B: axum::body::HttpBody>(
    app: &App,
    request: &mut http::Request<B>,
) -> Option<http::Response<axum::body::Body>> {
    forward_auth::answer_at_once(app, request).await
}

/// All routes, below the public URL's path, with the layers around them.
pub fn router(app: &Arc<App>) -> Result<Router, StartError> {
    let public_url = &app.config.server.public_url;
    let same_origin = CsrfLayer::new()
        .add_trusted_origin(public_url.origin())
        .map_err(|error| StartError::Origin(error.to_string()))?
        .with_rejection_response(error::cross_origin);
    let per_address = from_fn_with_state(app.clone(), limits::per_address);
    let service = Router::new()
        .route("/", get(pages::home))
        .route("/signed-out", get(pages::signed_out))
        .route("/teams", get(pages::teams))
        .route("/teams/{id}", get(pages::team))
        .route("/organizations", get(pages::organizations))
        .route("/organizations/{id}", get(pages::organization))
        .route("/people", get(pages::people))
        .route("/people/{id}", get(pages::person))
        .route("/people/{id}/explain", get(pages::explain::page))
        .route("/people/{id}/sessions/end", get(pages::confirm_end_all).post(pages::end_all_of_person))
        .route("/people/{id}/sessions/{session}/end", post(pages::end_of_person))
        .route("/sessions/{session}/end", post(pages::end_own))
        .route("/syncs", get(pages::syncs::page))
        .route("/syncs/failed", get(pages::failed_sign_ins::page))
        .route("/settings", get(pages::settings::page))
        .route("/sso/login", get(login::start).route_layer(per_address.clone()))
        .route("/sso/key/generate", get(login::start).route_layer(per_address.clone())) // LiteLLM's name for it
        .route("/sso/callback", get(callback::finish).route_layer(per_address.clone()))
        .route("/sso/logout", post(logout::end))
        .route("/sso/frontchannel-logout", get(logout::front_channel).route_layer(per_address))
        .route("/api/me", get(api::me))
        .route("/api/teams", get(api::teams))
        .route("/api/teams/{id}", get(api::team))
        .route("/api/organizations", get(api::organizations))
        .route("/api/organizations/{id}", get(api::organization))
        .route("/api/people", get(api::people))
        .route("/api/people/{id}", get(api::person))
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
        // Proxies send the client's own request along, from wherever that came.
        .merge(forward_auth::router());
    let routes = match public_url.base_path() {
        "" => service,
        // A container's own health check does not know the path.
        base => Router::new()
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route(&format!("{base}/"), get(pages::home))
            .nest(base, service),
    };
    Ok(routes
        .fallback(async || WebError::NotFound)
        .method_not_allowed_fallback(async || WebError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(limits::LONGEST_BODY))
        .layer(from_fn(limits::sizes))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn_with_state(app.clone(), error::render))
        .layer(from_fn(forward_auth::identity_on_every_answer))
        .layer(from_fn_with_state(app.clone(), middleware::security_headers))
        .layer(from_fn(middleware::log))
        .layer(from_fn_with_state(app.clone(), middleware::identify))
        .with_state(app.clone()))
}
