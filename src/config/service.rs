//! The sections `server` and `database`, and the key `store`.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

use super::problem::NoteLevel;
use super::reader::{Item, Reader};
use super::section::Section;
use super::{Database, Server, secret};
use crate::domain::StoreKind;

pub(super) fn server<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> Option<Server> {
    let mut section = root.section("server", reader);
    let public_url = section.take_or_env("public_url", "PROXY_BASE_URL", reader);
    let listen = section.take("listen");
    let no_metrics = section.is_null("metrics_listen");
    let metrics_listen = section.take("metrics_listen");
    let trusted_proxies = section.take("trusted_proxies");
    if public_url.is_none() {
        section.report_missing("public_url", "Set it in the file, or PROXY_BASE_URL in the environment", reader);
    }
    section.finish(reader);

    let help = "Write the URL that users open, such as https://sso.example.com";
    let public_url = public_url.and_then(|item| reader.parsed(&item, help, str::parse));
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| "must be an IP address and a port");
    let listen = match listen {
        None => Some(SocketAddr::from(([0, 0, 0, 0], 8080))),
        Some(item) => reader.parsed(&item, "Write, for example, 0.0.0.0:8080", address),
    };
    let metrics_listen = match metrics_listen {
        None => Some(Server::METRICS_LISTEN).filter(|_| !no_metrics),
        Some(item) => reader.parsed(&item, "Write, for example, 127.0.0.1:9464, or null to disable it", address),
    };
    let trusted_proxies = trusted_proxies.map(|item| networks(&item, reader)).unwrap_or_default();
    Some(Server { public_url: public_url?, listen: listen?, metrics_listen, trusted_proxies })
}

fn networks<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Vec<IpNet> {
    let elements = reader.list(item);
    let networks = elements.iter().filter_map(|item| {
        let network = reader.parsed(item, "Write, for example, 10.0.0.0/8 or 192.0.2.7", network)?;
        if network.prefix_len() == 0 {
            reader.note(NoteLevel::Warning, &item.path, "trusts every address, so any client can forge its address");
        }
        Some(network)
    });
    networks.collect()
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map(|network| network.trunc()).map_err(|_| "must be an IP address or a network in CIDR notation")
}

pub(super) fn database<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> Option<Database> {
    let mut section = root.section("database", reader);
    let url = secret::find(&mut section, "url", "url_file", reader);
    let url = url.or_variable(section.path("url"), "DATABASE_URL", reader);
    let help = "Set it (or url_file) in the file, or DATABASE_URL in the environment";
    let url = secret::text(&section, "url", url, help, reader);
    let max_connections = section.take("max_connections");
    section.finish(reader);

    let url = url.filter(|(item, url)| is_database_url(item, url, reader));
    let max_connections = max_connections.map_or(Some(10), |item| reader.integer(&item, 1..=1000));
    Some(Database { url: url?.1.into(), max_connections: max_connections? })
}

fn is_database_url(item: &Item, url: &str, reader: &mut Reader) -> bool {
    let help =
        "Write postgres://user:password@host:5432/name, with the password percent-encoded (%40 for @, %2F for /)";
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        reader.problem(item, "must start with postgres:// or postgresql://", help);
        return false;
    }
    if url.contains(char::is_whitespace) || Url::parse(url).is_err() {
        reader.problem(item, "is not a URL", help);
        return false;
    }
    true
}

pub(super) fn store<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> StoreKind {
    let kinds = [("native", StoreKind::Native), ("litellm", StoreKind::LiteLlm)];
    root.take("store").and_then(|item| reader.choice(&item, &kinds)).unwrap_or_default()
}
