//! `entraway healthcheck`: HEALTHCHECK for an image without a shell.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use url::Url;

use super::ConfigArgs;
use super::output::{errln, outln};
use crate::config::Env;
use crate::util::http_client::HttpClient;

pub(super) async fn run(url: Option<Url>, config: &ConfigArgs, env: &Env) -> anyhow::Result<ExitCode> {
    let url = if let Some(url) = url {
        url
    } else {
        let default = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080));
        let listen = config.load(env).map_or(default, |loaded| loaded.config.server.listen);
        Url::parse(&format!("http://{}/healthz", reachable(listen)))?
    };
    let http = HttpClient::without_proxy()?;
    let response = http.send(http.get(url.clone())).await?;
    if response.status.is_success() {
        outln!("alive")?;
        return Ok(ExitCode::SUCCESS);
    }
    errln!("{url} answered {}", response.status);
    Ok(ExitCode::FAILURE)
}

/// An address at which a listener can be reached: loopback if it listens on all addresses.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    listen
}
