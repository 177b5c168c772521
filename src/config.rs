//! The configuration: one YAML file, environment names on top, checked into `Config`. Everything past here is typed.

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
pub use problem::{ConfigError, Level, Note, Problem};
pub use secret::{CookieKey, CookieKeyError};

use reader::Reader;
use section::Section;
use sources::Sources;
use tree::{Node, Value};

/// The environment. It is an argument: only `main` reads the process's own.
pub type Env = BTreeMap<String, String>;

/// A configuration in which nothing is wrong, and what is still worth a line in the log.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub notes: Vec<Note>,
}

/// The checked configuration. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub store: StoreKind,
    pub entra: Entra,
    pub sync: Sync,
    /// The hosts beside the public URL's own that people may be sent back to, as a URL writes them: `host` or `host:port`.
    pub return_hosts: BTreeSet<String>,
    pub session: Session,
    pub limits: Limits,
    pub litellm: LiteLlm,
    pub pages: Pages,
    pub policy: Policy,
    /// All of the above by the keys of the file, each with where it came from: to be looked at.
    pub settings: Vec<Setting>,
    /// What is not wrong in it, but may not be as the operator thinks.
    pub warnings: Vec<Note>,
}

/// `server`: how people reach the service.
#[derive(Debug, Clone)]
pub struct Server {
    pub public_url: PublicUrl,
    pub listen: SocketAddr,
    /// Where those who run the service read its metrics; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Peers whose `X-Forwarded-…`, `X-Original-URL` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Server {
    /// Where metrics are read unless something else is said: on this machine alone.
    pub const METRICS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

    /// Whether a client can be told from another by its address. The service itself speaks http: where people come by https, a
    /// proxy stands in front, and if none is named in `trusted_proxies`, everybody comes from that proxy's address.
    #[must_use]
    pub fn tells_clients_apart(&self) -> bool {
        !self.public_url.is_secure() || !self.trusted_proxies.is_empty()
    }
}

/// `database`: where everything is kept.
#[derive(Debug, Clone)]
pub struct Database {
    pub url: SecretString,
    pub max_connections: u32,
}

/// `entra`: the tenant, the app in it and the cloud they are in.
#[derive(Debug, Clone)]
pub struct Entra {
    pub tenant: Tenant,
    /// Only with `organizations` and `common`, and then never empty.
    pub allowed_tenants: BTreeSet<TenantId>,
    /// The app's GUID in lower case.
    pub client_id: String,
    pub client_auth: ClientAuth,
    /// Object id of the enterprise app, a GUID in lower case; without it there are no assigned groups.
    pub service_principal_id: Option<String>,
    /// The login host, such as `https://login.microsoftonline.com`. As text it ends with a slash only where it has no path.
    pub authority_url: Url,
    /// Graph's base with its version, such as `https://graph.microsoft.com/v1.0`; no slash at its end.
    pub graph_url: Url,
}

/// How the app proves to Entra that it is the app. The files are read again at each use.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// A client secret; `other` is a second one, while the one replaces the other.
    Secrets { one: SecretString, other: Option<SecretString> },
    /// A PEM file with an RSA key and its certificate.
    Certificate(PathBuf),
    /// A file with a token of another identity provider, which Entra was told to trust.
    FederatedToken(PathBuf),
}

/// Whose people may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenant {
    Id(TenantId),
    /// A verified domain of the tenant, such as `contoso.onmicrosoft.com`.
    Domain(String),
    /// Any work or school account of the allowed tenants.
    Organizations,
    /// As `organizations`; Entra's page also offers personal accounts, which no allowed tenant holds.
    Common,
}

/// `sync`: how groups are read. What becomes of them is in `Policy`.
#[derive(Debug, Clone)]
pub struct Sync {
    pub nested_groups: bool,
    /// Zero: read at each sign-in.
    pub assigned_groups_ttl: Duration,
}

/// `session`: how long a sign-in lasts, and where it counts.
#[derive(Debug, Clone)]
pub struct Session {
    pub idle_timeout: Duration,
    pub lifetime: Duration,
    /// A person has at most so many at once; never 0.
    pub max_per_user: u32,
    /// How long a session may be taken from memory where the database cannot tell of changes. Zero: never.
    pub cache_ttl: Duration,
    /// The session's cookie goes to this domain and all below it; none: to the public URL's host alone.
    pub cookie_domain: Option<String>,
    /// 64 bytes each; the first seals, all open. Empty: one is made and kept in Postgres.
    pub cookie_keys: Vec<CookieKey>,
    /// None: no assertion is made.
    pub assertion: Option<Assertion>,
}

/// `session.assertion`: a signed statement of who somebody is, for upstreams that check.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The `aud` claim where the request names no upstream.
    pub audience: Option<String>,
    /// The `aud` claim by the upstream's host (`host` or `host:port`, as a URL writes them), where it is not its origin.
    pub audiences: BTreeMap<String, String>,
    pub ttl: Duration,
}

/// `limits`: how much at once, and from one address. The sizes of requests are not the operator's to choose.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open at the same time.
    pub connections: usize,
    /// Between coming back from Entra and having a session, at the same time.
    pub concurrent_sign_ins: usize,
    /// Requests a minute to each route of the sign-in from one address; `None`: any number.
    pub sign_ins_per_address: Option<NonZeroU32>,
    /// Sign-ins a minute that one user may complete; `None`: any number.
    pub sign_ins_per_user: Option<NonZeroU32>,
}

/// `litellm`: the proxies whose database is written to.
#[derive(Debug, Clone, Default)]
pub struct LiteLlm {
    /// The Redis that the proxies share, as `redis://` or `rediss://`, with the password.
    pub redis_url: Option<SecretString>,
    /// What the proxies put before their keys; never empty.
    pub redis_namespace: Option<String>,
}

/// `pages`: whose pages these are.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// Stands in the header and the titles instead of Entraway; at most 64 characters.
    pub name: Option<String>,
    pub logo: Option<Logo>,
}

/// The operator's logo. Its `Debug` shows no bytes.
#[derive(Clone)]
pub struct Logo {
    pub kind: LogoKind,
    pub bytes: Arc<[u8]>,
}

/// What a logo is, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoKind {
    /// May hold scripts: it must be served so that none of them runs.
    Svg,
    Png,
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logo").field("kind", &self.kind).field("bytes", &self.bytes.len()).finish()
    }
}

/// The names that people who come from LiteLLM have set already. No other has an effect by itself.
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

/// The only one that is a list.
const ALLOWED_EMAIL_DOMAINS: &str = "ALLOWED_EMAIL_DOMAINS";

/// Reads the file, if there is one, and the environment on top of it.
pub fn load(file: Option<&Path>, env: &Env) -> Result<Loaded, ConfigError> {
    let Some(file) = file else { return parse(None, Path::new(""), env) };
    let refuse = |said: String, remedy: &str| {
        let name = file.display().to_string();
        Err(ConfigError { problems: vec![Problem::new(name.clone(), said, remedy)], file: name })
    };
    match std::fs::read(file).map(String::from_utf8) {
        Ok(Ok(yaml)) => parse(Some(&yaml), file, env),
        Ok(Err(_)) => refuse("is not text in UTF-8".into(), "save it as such"),
        Err(error) => refuse(format!("cannot be read ({})", error.kind()), "give the path of a readable file"),
    }
}

/// As `load`, from the text of the file. `file` names it in messages, and relative paths of secrets begin beside it.
pub fn parse(yaml: Option<&str>, file: &Path, env: &Env) -> Result<Loaded, ConfigError> {
    let refuse = |mut problems: Vec<Problem>| {
        // In the order of the file; what has no line comes last.
        problems.sort_by_key(|problem| problem.line.unwrap_or(u64::MAX));
        Err(ConfigError { file: file.display().to_string(), problems })
    };
    let (node, problems) = yaml.map_or((None, Vec::new()), tree::read);
    if yaml.is_some() && node.is_none() {
        return refuse(problems);
    }
    let variables: Vec<_> = VARIABLES.iter().filter_map(|name| Some((*name, variable(name, env)?))).collect();
    let dir = file.parent().unwrap_or(Path::new(""));
    let mut reader = Reader { env, dir, problems, notes: Vec::new(), variables: &variables, taken: Vec::new() };
    let config = config(node.as_ref(), &mut reader);
    match config.filter(|_| reader.problems.is_empty()) {
        Some(mut config) => {
            let sources = Sources { node: node.as_ref(), env, taken: &reader.taken };
            config.settings = effective::settings(&config, &sources);
            let warnings = reader.notes.iter().filter(|note| note.level == Level::Warning);
            config.warnings = warnings.cloned().collect();
            Ok(Loaded { config, notes: reader.notes })
        }
        None => refuse(reader.problems),
    }
}

/// A variable as the value that the file could have held instead; a blank one counts as not set.
fn variable(name: &str, env: &Env) -> Option<Value> {
    let text = env.get(name).filter(|text| !text.trim().is_empty())?;
    if name != ALLOWED_EMAIL_DOMAINS {
        return Some(Value::Text(text.clone()));
    }
    let node = |part: &str| Node { line: None, value: Value::Text(part.trim().to_owned()) };
    let parts: Vec<Node> = text.split(',').filter(|part| !part.trim().is_empty()).map(node).collect();
    // Commas alone name no domain, and no domain would admit every one: the empty entry will be refused.
    Some(Value::List(if parts.is_empty() { vec![node("")] } else { parts }))
}

/// Reads every section before it gives up on any, so that all problems are found.
fn config<'a>(node: Option<&'a Node>, reader: &mut Reader<'a>) -> Option<Config> {
    let mut root = Section::root(node, reader);
    let server = service::server(&mut root, reader);
    let database = service::database(&mut root, reader);
    let store = service::store(&mut root, reader);
    let (entra, named_app) = entra::entra(&mut root, reader);
    let (sync, role_precedence) = access::sync(&mut root, reader);
    let access = access::access(&mut root, named_app, entra.as_ref(), reader);
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
