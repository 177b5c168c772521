//! `entraway healthcheck`: so that an image without a shell can have a HEALTHCHECK.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use url::Url;

use super::output::{errln, outln};
use crate::config::{self, Env};
use crate::util::http_client::HttpClient;

pub(super) async fn run(url: Option<Url>, file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let url = if let Some(url) = url {
        url
    } else {
        let default = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080));
        let listen = config::load(file, env).map_or(default, |loaded| loaded.config.server.listen);
        Url::parse(&format!("http://{}/healthz", reachable(listen)))?
    };
    let http = HttpClient::without_proxy()?;
    let answer = http.send(http.get(url.clone())).await?;
    if answer.status.is_success() {
        outln!("alive")?;
        return Ok(ExitCode::SUCCESS);
    }
    errln!("{url} answered {}", answer.status);
    Ok(ExitCode::FAILURE)
}

/// Where a service is found that listens on this address: one that listens on all of them is also on loopback.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    listen
}
