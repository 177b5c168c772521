//! The world of a test: its database, its simulated Entra, and instances of the service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use entra_simulator::{Directory, EntraSimulator, ObjectId, Options, TenantId};
use entraway::config::{self, Config};
use entraway::db::Db;
use entraway::domain::{self, StoreKind};
use entraway::http::App;
use entraway::http::server::{self, ConnectionTimeouts};
use entraway::util::clock::Clock;
use pg_sandbox::{PrivateCluster, litellm_migrations};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::database::TestDatabase;
use super::{Answer, Browser, Rows};

const NATIVE_TEMPLATE: &str = "native_template";
const LITELLM_TEMPLATE: &str = "litellm_template";
/// The grants that an operator runs in a LiteLLM proxy's database. All tests of that store run with only these
/// privileges.
const GRANTS: &str = include_str!("../../../docs/litellm-grants.sql");
/// The optional grants for removing memberships.
pub(crate) const REMOVAL_GRANTS: &str = include_str!("../../../docs/litellm-grants-removal.sql");

/// One cluster for the whole run. It is never dropped: its watchdog removes it when this process ends.
static CLUSTER: OnceCell<PrivateCluster> = OnceCell::const_new();

pub(crate) async fn cluster() -> &'static PrivateCluster {
    CLUSTER
        .get_or_init(async || {
            let cluster = PrivateCluster::start_in_memory().await.unwrap();
            furnish(&cluster, StoreKind::Native, NATIVE_TEMPLATE).await;
            let pool = PgPool::connect(&cluster.url("postgres")).await.unwrap();
            sqlx::query("create extension if not exists pg_stat_statements").execute(&pool).await.unwrap();
            pool.close().await;
            cluster
        })
        .await
}

/// A template with LiteLLM's migrations, created on first use.
async fn litellm_template() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(async || {
        furnish(cluster().await, StoreKind::LiteLlm, LITELLM_TEMPLATE).await;
    })
    .await;
}

/// Creates a database like those of the LiteLLM tests; returns its superuser URL.
pub(crate) async fn litellm_database(name: &str) -> String {
    litellm_template().await;
    let cluster = cluster().await;
    cluster.create_database(name, Some(LITELLM_TEMPLATE)).await.unwrap();
    cluster.url(name)
}

/// Creates a database with all tables of this store; returns its URL for the service.
pub(crate) async fn furnish(cluster: &PrivateCluster, kind: StoreKind, name: &str) -> String {
    cluster.create_database(name, None).await.unwrap();
    let mut url = cluster.url(name);
    if kind == StoreKind::LiteLlm {
        cluster.apply_migrations(name, &litellm_migrations()).await.unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(GRANTS).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        url = as_entraway(&url);
    }
    let store = Db::new(kind, &url.clone().into(), 1).unwrap();
    store.prepare().await.unwrap();
    store.close().await;
    url
}

/// The database URL for the user of the grants.
pub(crate) fn as_entraway(url: &str) -> String {
    url.replacen("postgres://postgres@", "postgres://entraway@", 1)
}

/// Converts the simulator's tenant IDs to the configuration's.
pub(crate) fn tenants(ids: impl IntoIterator<Item = TenantId>) -> BTreeSet<domain::TenantId> {
    ids.into_iter().map(|id| id.as_uuid().into()).collect()
}

/// The environment of one test.
pub(crate) struct World {
    pub(crate) simulator: EntraSimulator,
    pub(crate) clock: Clock,
    pub(crate) kind: StoreKind,
    /// The database's URL and name.
    pub(crate) database: String,
    pub(crate) database_name: String,
    pub(crate) pool: PgPool,
    _database: Option<TestDatabase>,
}

/// A running instance of the service.
pub(crate) struct Service {
    address: SocketAddr,
    public_url: Url,
    pub(crate) app: Arc<App>,
    _stop: DropGuard,
}

impl Service {
    /// A URL of this instance, regardless of its public URL.
    pub(crate) fn at(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    /// Replaces the public origin of a URL with this instance's.
    pub(crate) fn here(&self, url: &Url) -> Url {
        assert_eq!(url.origin(), self.public_url.origin(), "{url} is not under the public URL");
        let mut url = url.clone();
        url.set_scheme("http").unwrap();
        url.set_ip_host(self.address.ip()).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url
    }
}

impl World {
    /// A migrated database and an empty tenant.
    pub(crate) async fn new() -> Self {
        Self::of(StoreKind::Native).await
    }

    /// The same with this store.
    pub(crate) async fn of(kind: StoreKind) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let cluster = cluster().await;
        let database_name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let url = cluster.url(&database_name);
        let (template, database) = match kind {
            StoreKind::Native => (NATIVE_TEMPLATE, url.clone()),
            StoreKind::LiteLlm => {
                litellm_template().await;
                (LITELLM_TEMPLATE, as_entraway(&url))
            }
        };
        let postgres = cluster.url("postgres");
        let test_database =
            TestDatabase::create(postgres, database_name.clone(), template, cluster.copy_strategy()).await;
        Self { _database: Some(test_database), ..Self::on(kind, database, &url, database_name).await }
    }

    /// A world on an existing database, with a URL for the service and one with all privileges.
    pub(crate) async fn on(kind: StoreKind, database: String, url: &str, database_name: String) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy(url).unwrap();
        let clock = Clock::system();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let now = clock.clone();
        let options = Options::new(Directory::new("contoso-sim.example"), Arc::new(move || now.now()));
        let simulator = EntraSimulator::start(listener, options).await.unwrap();
        Self { simulator, clock, kind, database, database_name, pool, _database: None }
    }

    /// Grants the privileges to remove memberships in a LiteLLM database. The native store needs none.
    pub(crate) async fn grant_removal(&self) {
        if self.kind == StoreKind::LiteLlm {
            let url = cluster().await.url(&self.database_name);
            let mut connection = PgConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(REMOVAL_GRANTS).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }

    /// The default settings, which a test may change: organizations are on, with the defaults of the README.
    pub(crate) fn config(&self) -> Config {
        self.config_of(
            "  entra_groups_also_create_orgs: true
  default_team_params: {models: [gpt-4, gpt-3.5-turbo], max_budget: 100.0, budget_duration: 30d, tpm_limit: 10000, rpm_limit: 1000}
  default_internal_user_params: {user_role: internal_user, max_budget: 10, budget_duration: 30d, models: [gpt-3.5-turbo]}
",
        )
    }

    /// The settings of a file with this `litellm_settings` section.
    pub(crate) fn config_of(&self, litellm_settings: &str) -> Config {
        let directory = self.simulator.edit(|directory| directory.clone());
        let yaml = format!(
            "server: {{public_url: 'http://127.0.0.1:1', listen: '127.0.0.1:0'}}\n\
             database: {{url: '{database}', max_connections: 5}}\n\
             store: {store}\n\
             entra:\n  tenant: {tenant}\n  client_id: {client}\n  client_secret: {secret}\n  \
               service_principal_id: {principal}\n  authority_url: {authority}\n  graph_url: {graph}\n\
             sync: {{assigned_groups_ttl: 0s, reconcile: {{interval: 0s}}}}\n\
             # Tests sign the same few users in as often as they like.\n\
             limits: {{sign_ins_per_user: 0}}\n\
             litellm_settings:\n{litellm_settings}",
            database = self.database,
            store = match self.kind {
                StoreKind::Native => "native",
                StoreKind::LiteLlm => "litellm",
            },
            tenant = directory.tenant_id,
            client = directory.client_id,
            secret = directory.client_secret,
            principal = directory.service_principal_id,
            authority = self.simulator.authority_url(),
            graph = self.simulator.graph_url(),
        );
        config::parse(Some(&yaml), Path::new("test.yaml"), &BTreeMap::new()).unwrap().config
    }

    /// An instance with the settings of `config()`.
    pub(crate) async fn service(&self) -> Service {
        self.service_with(|_| {}).await
    }

    /// An instance with changed settings.
    pub(crate) async fn service_with(&self, change: impl FnOnce(&mut Config)) -> Service {
        let mut config = self.config();
        change(&mut config);
        self.service_of(config).await
    }

    /// An instance with these settings. Its time limit for a list of groups is three seconds.
    pub(crate) async fn service_of(&self, config: Config) -> Service {
        Self::service_at(config, self.clock.clone(), ConnectionTimeouts::default()).await
    }

    /// The same with these connection timeouts.
    pub(crate) async fn patient_service(&self, config: Config, patience: ConnectionTimeouts) -> Service {
        Self::service_at(config, self.clock.clone(), patience).await
    }

    /// The same with its own clock.
    pub(crate) async fn service_at(config: Config, clock: Clock, patience: ConnectionTimeouts) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(config, clock, patience, listener).await
    }

    async fn serve(config: Config, clock: Clock, patience: ConnectionTimeouts, listener: TcpListener) -> Service {
        let public_url = config.server.public_url.as_url().clone();
        let app = App::build(config, clock, Duration::from_secs(3)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = server::serve_with(app.clone(), listener, stop.clone(), patience);
        tokio::spawn(async move { serving.await.unwrap() });
        Service { address, public_url, app, _stop: stop.drop_guard() }
    }

    /// An instance whose public URL is its own address, as a real browser needs it.
    pub(crate) async fn service_at_its_public_url(&self) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = self.config();
        config.server.public_url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        Self::serve(config, self.clock.clone(), ConnectionTimeouts::default(), listener).await
    }

    /// Signs a user in with a new browser, which must succeed.
    #[track_caller]
    pub(crate) fn sign_in<'a>(&'a self, service: &'a Service, person: ObjectId) -> impl Future<Output = Browser> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let mut browser = Browser::new();
            let answer = browser.sign_in(&self.simulator, service, person).await;
            assert_eq!(answer.status, 303, "the sign-in at {caller} did not succeed: {answer:#?}");
            browser
        }
    }

    /// Tries to sign a user in with a new browser; returns the callback's response.
    pub(crate) async fn try_sign_in(&self, service: &Service, person: ObjectId) -> Answer {
        Browser::new().sign_in(&self.simulator, service, person).await
    }

    pub(crate) async fn rows(&self) -> Rows {
        Rows::read(&self.pool, self.kind).await
    }

    /// Location and version of every row, as texts that begin with the kind of row.
    pub(crate) async fn versions(&self) -> Vec<String> {
        Rows::versions(&self.pool, self.kind).await
    }

    /// The newest sync record, as JSON.
    pub(crate) async fn last_run(&self) -> serde_json::Value {
        sqlx::query_scalar("select to_jsonb(r) from entraway.sync_runs r order by started_at desc limit 1")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The newest sync record of a user by insertion order, for tests that step the clock.
    pub(crate) async fn last_run_of(&self, user: ObjectId) -> serde_json::Value {
        sqlx::query_scalar("select to_jsonb(r) from entraway.sync_runs r where user_id = $1 order by ctid desc limit 1")
            .bind(user.to_string())
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The number of sessions and of sync records.
    pub(crate) async fn sessions_and_runs(&self) -> (i64, i64) {
        sqlx::query_as("select (select count(*) from entraway.sessions), (select count(*) from entraway.sync_runs)")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The statements in this test's database since the last call, with their counts, except the test's own.
    pub(crate) async fn statements(&self) -> Vec<(String, i64)> {
        let pool = PgPool::connect(&cluster().await.url("postgres")).await.unwrap();
        let statements = sqlx::query_as(
            "select query, calls from pg_stat_statements
             where dbid = (select oid from pg_database where datname = $1) and toplevel
               -- Without those of the listening connection, which can run at any time.
               and query !~* '^(listen|unlisten|select pg_notify)' order by query",
        )
        .bind(&self.database_name)
        .fetch_all(&pool)
        .await
        .unwrap();
        sqlx::query("select pg_stat_statements_reset(0, (select oid from pg_database where datname = $1))")
            .bind(&self.database_name)
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
        statements
    }
}
