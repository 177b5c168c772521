//! `entraway healthcheck`: so that an image without a shell can have a HEALTHCHECK.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use url::Url;

use crate::config::{self, Env};
use crate::http_client::HttpClient;

/// Where the service listens when nothing says otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

pub(super) async fn run(url: Option<Url>, file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let url = if let Some(url) = url {
        url
    } else {
        let listen = config::load(file, env).map_or(DEFAULT, |loaded| loaded.config.server.listen);
        Url::parse(&format!("http://{}/healthz", reachable(listen)))?
    };
    let http = HttpClient::new()?;
    let answer = http.send(http.get(url.clone())).await?;
    if answer.status.is_success() {
        println!("alive");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{url} answered {}", answer.status);
    Ok(ExitCode::FAILURE)
}

/// "Every address" is none that one could ask at.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
