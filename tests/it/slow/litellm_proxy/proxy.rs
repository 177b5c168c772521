//! The proxy that `script/litellm-proxy` installs. Started once per test run.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::OnceCell;

use crate::support::redis::free_port;
use crate::support::{REMOVAL_GRANTS, litellm_database};

const WATCHDOG: &str = include_str!("watchdog.sh");
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/litellm-proxy/config.yaml");
/// Differences between the proxy's schema and the migrations that `script/setup --litellm` fetches.
const SCHEMA_DELTA: &str = include_str!("../../../litellm-proxy/schema-delta.sql");
pub(super) const DATABASE: &str = "litellm_proxy";
const MASTER_KEY: &str = "sk-master-of-the-tests";

/// Startup takes 30 s on an idle machine. The first start also compiles its Python files.
const START_LIMIT: Duration = Duration::from_mins(8);

/// A running proxy. Never dropped: its watchdog stops it when this process ends.
pub(super) struct Proxy {
    address: String,
    /// Database URL with full access.
    pub(super) database: String,
    /// Redis for cache invalidation between proxies and the service.
    pub(super) redis_url: String,
    folder: PathBuf,
    watchdog: Child,
}

/// A response of the proxy.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

/// The proxy. `None` if it is not installed, with a message.
pub(super) async fn proxy() -> Option<&'static Proxy> {
    static PROXY: OnceCell<Option<Result<Proxy, String>>> = OnceCell::const_new();
    let started = PROXY.get_or_init(async || match installation() {
        Some(installed) => Some(Proxy::start(&installed).await),
        None => None,
    });
    match started.await {
        Some(Ok(proxy)) => Some(proxy),
        Some(Err(why)) => panic!("the LiteLLM proxy did not start: {why}"),
        None => {
            // Not `eprintln!`, which the test harness captures.
            let _ = writeln!(
                std::io::stderr(),
                "skipped: no LiteLLM proxy is installed; script/setup --litellm-proxy installs it"
            );
            None
        }
    }
}

/// Installation folder of `script/litellm-proxy`, in cargo's target folder.
fn installation() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").filter(|target| !target.is_empty());
    let target = target.map_or_else(|| PathBuf::from("target"), PathBuf::from);
    // The installer writes this file last.
    let complete = target.join("litellm-proxy/pin");
    complete.exists().then(|| fs::canonicalize(target.join("litellm-proxy")).unwrap())
}

impl Proxy {
    #[expect(
        clippy::disallowed_methods,
        reason = "the proxy's engine is started by node, which is on the machine's PATH"
    )]
    async fn start(installed: &Path) -> Result<Self, String> {
        // Required before the HTTP client is built.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let database = litellm_database(DATABASE).await;
        let mut connection = PgConnection::connect(&database).await.unwrap();
        sqlx::raw_sql(SCHEMA_DELTA).execute(&mut connection).await.unwrap();
        sqlx::raw_sql(REMOVAL_GRANTS).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();

        let (port, redis_port) = (free_port(), free_port());
        let folder = std::env::temp_dir().join(format!("entraway-litellm-proxy-{:016x}", getrandom::u64().unwrap()));
        let script: Vec<&str> = WATCHDOG.lines().filter(|line| !line.starts_with('#')).collect();
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", &script.join("\n"), "entraway-litellm-proxy"]).arg(&folder).arg(redis_port.to_string());
        watchdog.arg(installed.join("venv/bin/python")).arg(installed.join("venv/bin/litellm"));
        watchdog.args(["--config", CONFIG, "--host", "127.0.0.1", "--port", &port.to_string()]);
        // Clear the environment: it could contain an HTTP proxy or a real provider's key.
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        watchdog.env_clear().env("PATH", format!("{}:{path}", installed.join("venv/bin").display()));
        watchdog.env("HOME", &folder).env("LC_ALL", "C.UTF-8").env("DATABASE_URL", &database);
        watchdog.env("PRISMA_QUERY_ENGINE_BINARY", installed.join("query-engine"));
        watchdog.env("REDIS_HOST", "127.0.0.1").env("REDIS_PORT", redis_port.to_string());
        watchdog.envs([
            ("DISABLE_SCHEMA_UPDATE", "true"),
            ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
            ("LITELLM_LOG", "ERROR"),
            ("LITELLM_MASTER_KEY", MASTER_KEY),
            ("LITELLM_SALT_KEY", "sk-salt-of-the-tests"),
        ]);
        watchdog.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let watchdog = watchdog.spawn().unwrap();
        let mut proxy = Self {
            address: format!("http://127.0.0.1:{port}"),
            database,
            redis_url: format!("redis://127.0.0.1:{redis_port}"),
            folder,
            watchdog,
        };
        if proxy.is_ready().await { Ok(proxy) } else { Err(proxy.log_end()) }
    }

    /// Waits until the proxy responds. False if it ended or timed out.
    async fn is_ready(&mut self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < START_LIMIT && matches!(self.watchdog.try_wait(), Ok(None)) {
            let asked = http().get(format!("{}/health/readiness", self.address)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        false
    }

    fn log_end(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Calls a route with this key.
    pub(super) async fn call(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = http().request(method, format!("{}{path}", self.address)).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    /// A management call as the administrator. Must succeed; returns the body.
    #[track_caller]
    pub(super) fn admin<'a>(&'a self, path: &'a str, body: Value) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.call(MASTER_KEY, Method::POST, path, Some(body)).await;
            assert_eq!(answer.status, 200, "{path} at {caller}: {}", answer.body);
            answer.body
        }
    }

    /// Like `admin`, but may fail.
    pub(super) async fn try_admin(&self, path: &str, body: Value) -> Answer {
        self.call(MASTER_KEY, Method::POST, path, Some(body)).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(MASTER_KEY, Method::GET, path, None).await
    }

    /// Sends a chat completion request with this key.
    pub(super) async fn ask(&self, key: &str, model: &str) -> Answer {
        let body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
        self.call(key, Method::POST, "/chat/completions", Some(body)).await
    }
}

/// Creates a client for each call, because a client is bound to the runtime of the test that created it.
fn http() -> reqwest::Client {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_mins(2));
    http.build().unwrap()
}
