//! The configuration: one YAML file, environment names on top, checked into `Config`. Everything past here is typed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use crate::domain::TenantId;
use crate::policy::Policy;

/// The checked configuration. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub entra: Entra,
    pub sync: Sync,
    pub session: Session,
    pub policy: Policy,
}

#[derive(Debug, Clone)]
pub struct Server {
    pub public_url: PublicUrl,
    pub listen: SocketAddr,
    /// Peers whose `X-Forwarded-For` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<IpNet>,
}

#[derive(Debug, Clone)]
pub struct Database {
    pub url: SecretString,
    pub max_connections: u32,
}

#[derive(Debug, Clone)]
pub struct Entra {
    pub tenant: Tenant,
    /// Only with `organizations` and `common`, and then never empty.
    pub allowed_tenants: BTreeSet<TenantId>,
    pub client_id: String,
    pub client_secret: SecretString,
    /// Object id of the enterprise app; without it there are no assigned groups.
    pub service_principal_id: Option<String>,
    /// The login host, such as `https://login.microsoftonline.com`; no trailing slash when written with `as_str` trimmed.
    pub authority_url: Url,
    /// Graph's base with its version, such as `https://graph.microsoft.com/v1.0`.
    pub graph_url: Url,
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

#[derive(Debug, Clone)]
pub struct Sync {
    pub nested_groups: bool,
    /// Zero: read at each sign-in.
    pub assigned_groups_ttl: Duration,
}

#[derive(Debug, Clone)]
pub struct Session {
    pub idle_timeout: Duration,
    pub lifetime: Duration,
    /// 64 bytes each; the first seals, all open. Empty: one is made and kept in Postgres.
    pub cookie_keys: Vec<CookieKey>,
}
