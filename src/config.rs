//! Configuration: a YAML file overridden by environment variables, validated into [`Config`].

mod access;
mod base_url;
mod client_auth;
mod effective;
mod entra;
mod expand;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod limits;
mod litellm;
mod litellm_proxy;
mod pages;
mod problem;
mod reader;
mod secret;
mod section;
mod service;
mod session;
mod sources;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use crate::domain::{StoreKind, TenantId};
use crate::policy::Policy;

pub use base_url::{PublicUrl, UrlError};
pub use effective::{Origin, Setting};
pub use problem::{ConfigError, Note, NoteLevel, Problem};
pub use secret::{CookieKey, CookieKeyError};

use reader::Reader;
use section::Section;
use sources::Sources;
use tree::{Node, Value};

/// Environment variables, passed as an argument: only `main` reads the process environment.
pub type Env = BTreeMap<String, String>;

/// A valid configuration, with notes for the log.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub notes: Vec<Note>,
}

/// The validated configuration. `Debug` redacts secrets.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub store: StoreKind,
    pub entra: Entra,
    pub sync: Sync,
    /// Additional hosts that users may return to after sign-in, normalized: `host` or `host:port`.
    pub return_hosts: BTreeSet<String>,
    pub session: Session,
    pub limits: Limits,
    pub litellm: LiteLlm,
    pub pages: Pages,
    pub policy: Policy,
    /// The effective value and origin of each key, for the settings page.
    pub settings: Vec<Setting>,
    /// Valid settings that the operator may not have intended.
    pub warnings: Vec<Note>,
}

/// `server`: how users reach the service.
#[derive(Debug, Clone)]
pub struct Server {
    pub public_url: PublicUrl,
    pub listen: SocketAddr,
    /// Address of the metrics listener; `None` disables it.
    pub metrics_listen: Option<SocketAddr>,
    /// Peers whose `X-Forwarded-…`, `X-Original-URL` and `X-Request-Id` headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
}

impl Server {
    /// Default of `metrics_listen`: loopback only.
    pub const METRICS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

    /// Whether the service sees the addresses of clients. With an https URL a proxy terminates TLS, and all requests come
    /// from its address unless `trusted_proxies` lists it.
    #[must_use]
    pub fn knows_client_addresses(&self) -> bool {
        !self.public_url.is_secure() || !self.trusted_proxies.is_empty()
    }
}

/// `database`: the Postgres database.
#[derive(Debug, Clone)]
pub struct Database {
    pub url: SecretString,
    pub max_connections: u32,
}

/// `entra`: the tenant, its app and the cloud.
#[derive(Debug, Clone)]
pub struct Entra {
    pub tenant: Tenant,
    /// Empty unless `tenant` is `organizations` or `common`.
    pub allowed_tenants: BTreeSet<TenantId>,
    /// The app's GUID in lower case.
    pub client_id: String,
    pub client_auth: ClientAuth,
    /// Object ID of the enterprise app, a GUID in lower case. Without it no group is assigned.
    pub service_principal_id: Option<String>,
    /// The login host, such as `https://login.microsoftonline.com`. As text it ends with a slash only if it has no path.
    pub authority_url: Url,
    /// Graph's base URL with version, such as `https://graph.microsoft.com/v1.0`, without a trailing slash.
    pub graph_url: Url,
}

/// Client authentication at Entra. Files are read again at each use.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// A client secret, and a second one during rotation.
    Secrets { primary: SecretString, secondary: Option<SecretString> },
    /// A PEM file with an RSA key and its certificate.
    Certificate(PathBuf),
    /// A file with a token of another identity provider that Entra trusts (a federated credential).
    FederatedToken(PathBuf),
}

/// The tenants whose users may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenant {
    Id(TenantId),
    /// A verified domain of the tenant, such as `contoso.onmicrosoft.com`.
    Domain(String),
    /// Any work or school account of the allowed tenants.
    Organizations,
    /// As `organizations`. Entra's page also offers personal accounts, which are in no allowed tenant.
    Common,
}

/// `sync`: how groups are read. `Policy` defines how they are applied.
#[derive(Debug, Clone)]
pub struct Sync {
    pub nested_groups: bool,
    /// Zero reads them at each sign-in.
    pub assigned_groups_ttl: Duration,
}

/// `session`: lifetimes, cookie and assertions.
#[derive(Debug, Clone)]
pub struct Session {
    pub idle_timeout: Duration,
    pub lifetime: Duration,
    /// Maximum number of sessions of a user; never 0.
    pub max_per_user: u32,
    /// How long sessions stay cached if the database cannot notify of changes. Zero disables the cache then.
    pub cache_ttl: Duration,
    /// Domain of the session cookie. `None` limits it to the public URL's host.
    pub cookie_domain: Option<String>,
    /// The first key seals cookies, all keys open them. If empty, a generated key is stored in Postgres.
    pub cookie_keys: Vec<CookieKey>,
    /// `None` disables assertions.
    pub assertion: Option<Assertion>,
}

/// `session.assertion`: a signed JWT about the user, for upstreams.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The `aud` claim if the request has no forwarded host.
    pub audience: Option<String>,
    /// The `aud` claim by the upstream's host (`host` or `host:port`, normalized). It defaults to the upstream's origin.
    pub audiences: BTreeMap<String, String>,
    pub ttl: Duration,
}

/// `limits`: concurrency and rates. Request size limits are fixed.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of open connections.
    pub connections: usize,
    /// Maximum number of concurrent callbacks from Entra.
    pub concurrent_sign_ins: usize,
    /// Maximum requests per minute and address to each sign-in route; `None` is no limit.
    pub sign_ins_per_address: Option<NonZeroU32>,
    /// Maximum completed sign-ins per minute and user; `None` is no limit.
    pub sign_ins_per_user: Option<NonZeroU32>,
}

/// `litellm`: the proxies whose database is written.
#[derive(Debug, Clone, Default)]
pub struct LiteLlm {
    /// The Redis shared by the proxies, as `redis://` or `rediss://` with the password.
    pub redis_url: Option<SecretString>,
    /// Prefix of the proxies' Redis keys; never empty.
    pub redis_namespace: Option<String>,
}

/// `pages`: name and logo of the pages.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// Replaces Entraway in the header and in titles; at most 64 characters.
    pub name: Option<String>,
    pub logo: Option<Logo>,
}

/// The operator's logo. `Debug` shows only its size.
#[derive(Clone)]
pub struct Logo {
    pub kind: LogoKind,
    pub bytes: Arc<[u8]>,
}

/// The image type of a logo, detected by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoKind {
    /// May contain scripts, so it must be served in a way that prevents them from running.
    Svg,
    Png,
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logo").field("kind", &self.kind).field("bytes", &self.bytes.len()).finish()
    }
}

/// Environment variables of LiteLLM that set a key here. Others only apply as `${NAME}` in the file.
const VARIABLES: [&str; 10] = [
    "MICROSOFT_CLIENT_ID",
    "MICROSOFT_CLIENT_SECRET",
    "MICROSOFT_TENANT",
    "MICROSOFT_SERVICE_PRINCIPAL_ID",
    "MICROSOFT_GRAPH_ENDPOINT",
    "DATABASE_URL",
    "PROXY_BASE_URL",
    "PROXY_ADMIN_ID",
    ALLOWED_EMAIL_DOMAINS,
    "ENTRA_GROUPS_ALSO_CREATE_ORGS",
];

/// The only variable that is a list.
const ALLOWED_EMAIL_DOMAINS: &str = "ALLOWED_EMAIL_DOMAINS";

/// Reads the configuration file, if there is one, and the environment.
///
/// # Errors
/// All problems of the configuration.
pub fn load(file: Option<&Path>, env: &Env) -> Result<Loaded, ConfigError> {
    let Some(file) = file else { return parse(None, Path::new(""), env) };
    let reject = |message: String, help: &str| {
        let name = file.display().to_string();
        Err(ConfigError { problems: vec![Problem::new(name.clone(), message, help)], file: name })
    };
    match std::fs::read(file).map(String::from_utf8) {
        Ok(Ok(yaml)) => parse(Some(&yaml), file, env),
        Ok(Err(_)) => reject("is not UTF-8 text".into(), "Save it as UTF-8"),
        Err(error) => reject(format!("cannot be read ({})", error.kind()), "Give the path of a readable file"),
    }
}

/// As [`load`], from the text of the file. `file` is its name in messages, and the base of relative paths in it.
///
/// # Errors
/// All problems of the configuration.
pub fn parse(yaml: Option<&str>, file: &Path, env: &Env) -> Result<Loaded, ConfigError> {
    let reject = |mut problems: Vec<Problem>| {
        // In the order of the file; problems without a line come last.
        problems.sort_by_key(|problem| problem.line.unwrap_or(u64::MAX));
        Err(ConfigError { file: file.display().to_string(), problems })
    };
    let (node, problems) = yaml.map_or((None, Vec::new()), tree::read);
    if yaml.is_some() && node.is_none() {
        return reject(problems);
    }
    let variables: Vec<_> = VARIABLES.iter().filter_map(|name| Some((*name, variable(name, env)?))).collect();
    let dir = file.parent().unwrap_or(Path::new(""));
    let mut reader = Reader { env, dir, problems, notes: Vec::new(), variables: &variables, overrides: Vec::new() };
    let config = config(node.as_ref(), &mut reader);
    match config.filter(|_| reader.problems.is_empty()) {
        Some(mut config) => {
            let sources = Sources { node: node.as_ref(), env, overrides: &reader.overrides };
            config.settings = effective::settings(&config, &sources);
            let warnings = reader.notes.iter().filter(|note| note.level == NoteLevel::Warning);
            config.warnings = warnings.cloned().collect();
            Ok(Loaded { config, notes: reader.notes })
        }
        None => reject(reader.problems),
    }
}

/// An environment variable as a value of the file would be. A blank one counts as not set.
fn variable(name: &str, env: &Env) -> Option<Value> {
    let text = env.get(name).filter(|text| !text.trim().is_empty())?;
    if name != ALLOWED_EMAIL_DOMAINS {
        return Some(Value::Text(text.clone()));
    }
    let node = |part: &str| Node { line: None, value: Value::Text(part.trim().to_owned()) };
    let parts: Vec<Node> = text.split(',').filter(|part| !part.trim().is_empty()).map(node).collect();
    // An empty list would allow all domains, so commas alone become an empty entry, which is rejected.
    Some(Value::List(if parts.is_empty() { vec![node("")] } else { parts }))
}

/// Reads all sections before returning, so that all problems are found.
fn config<'a>(node: Option<&'a Node>, reader: &mut Reader<'a>) -> Option<Config> {
    let mut root = Section::root(node, reader);
    let server = service::server(&mut root, reader);
    let database = service::database(&mut root, reader);
    let store = service::store(&mut root, reader);
    let (entra, has_service_principal) = entra::entra(&mut root, reader);
    let (sync, role_precedence) = access::sync(&mut root, reader);
    let access = access::access(&mut root, has_service_principal, entra.as_ref(), reader);
    let public_url = server.as_ref().map(|server| &server.public_url);
    let session = session::session(&mut root, server.as_ref(), reader);
    let return_hosts = access::return_hosts(&access.return_hosts, public_url, session.as_ref(), reader);
    let limits = limits::limits(&mut root, reader);
    let pages = pages::pages(&mut root, reader);
    let (litellm, org_team_models) = litellm_proxy::litellm(&mut root, store, reader);
    let settings = litellm::settings(&mut root, store, reader);
    root.finish(reader);

    let policy = Policy {
        also_create_orgs: settings.also_create_orgs,
        org_team_models,
        team_params: settings.team_params,
        user_params: settings.user_params,
        role_precedence,
        admin_user_ids: access.admin_user_ids,
        home_tenant: access.home_tenant,
        require_group: access.require_group,
        allowed_email_domains: access.allowed_email_domains,
    };
    Some(Config {
        server: server?,
        database: database?,
        store,
        entra: entra?,
        sync,
        return_hosts,
        session: session?,
        limits,
        litellm,
        pages,
        policy,
        settings: Vec::new(),
        warnings: Vec::new(),
    })
}
