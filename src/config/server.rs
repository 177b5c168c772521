//! The sections `server` and `database`, and the key `store`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::base_url::PublicUrl;
use super::reader::Item;
use super::secret;
use super::section::Section;
use crate::domain::StoreKind;

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
    const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
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

pub(super) fn server(root: &mut Section) -> Option<Server> {
    let mut section = root.section("server");
    let help = "Write the URL that users open, such as https://sso.example.com";
    let public_url = section.required("public_url", |item| item.parsed(help, str::parse::<PublicUrl>));
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| "must be an IP address and a port");
    let listen =
        section.value("listen", Server::LISTEN, |item| item.parsed("Write, for example, 0.0.0.0:8080", address));
    let item = section.take_with_null("metrics_listen");
    let metrics_listen = match &item {
        None => Some(Server::METRICS_LISTEN),
        Some(item) if item.is_null() => None,
        Some(item) => item.parsed("Write, for example, 127.0.0.1:9464, or null to disable it", address),
    };
    let shown = metrics_listen.map(|address| address.to_string()).unwrap_or_default();
    section.show("metrics_listen", item.as_ref(), shown);
    let trusted_proxies = section.list("trusted_proxies", "none", network);
    section.finish();
    Some(Server { public_url: public_url?.1, listen, metrics_listen, trusted_proxies })
}

fn network(item: &Item) -> Option<IpNet> {
    let parse = |text: &str| text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = item.parsed("Write, for example, 10.0.0.0/8 or 192.0.2.7", |text| {
        parse(text).map_err(|_| "must be an IP address or a network in CIDR notation")
    })?;
    if network.prefix_len() == 0 {
        item.warn("trusts every address, so any client can forge its address");
    }
    Some(network.trunc())
}

pub(super) fn database(root: &mut Section) -> Option<Database> {
    let mut section = root.section("database");
    let item = secret::take(&mut section, "url", "url_file");
    let item = section.reader.variable_or("DATABASE_URL", item);
    if item.is_none() {
        section.report_missing("url", NO_DATABASE_URL);
    }
    let url = item.as_ref().and_then(database_url);
    secret::show(&section, "url", item.as_ref(), true);
    let max_connections = section.value("max_connections", 10, |item| item.integer(1..=1000));
    section.finish();
    Some(Database { url: url?, max_connections })
}

const NO_DATABASE_URL: &str = "Set it (or url_file) in the file, or DATABASE_URL in the environment";

fn database_url(item: &Item) -> Option<SecretString> {
    let url = item.text()?;
    let help =
        "Write postgres://user:password@host:5432/name, with the password percent-encoded (%40 for @, %2F for /)";
    let (message, help) = if url.is_empty() {
        ("is empty", NO_DATABASE_URL)
    } else if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        ("must start with postgres:// or postgresql://", help)
    } else if url.contains(char::is_whitespace) || Url::parse(&url).is_err() {
        ("is not a URL", help)
    } else {
        return Some(url.into());
    };
    item.problem(message, help);
    None
}

pub(super) fn store(root: &mut Section) -> StoreKind {
    root.choice("store", &[("native", StoreKind::Native), ("litellm", StoreKind::LiteLlm)], StoreKind::Native)
}
