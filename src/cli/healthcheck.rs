//! `entraway healthcheck`: so that an image without a shell can have a HEALTHCHECK.

use std::path::Path;
use std::process::ExitCode;

use url::Url;

use crate::config::{self, Env};
use crate::http_client::HttpClient;

pub(super) async fn run(url: Option<Url>, file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let url = if let Some(url) = url {
        url
    } else {
        let port = config::load(file, env).map_or(8080, |loaded| loaded.config.server.listen.port());
        Url::parse(&format!("http://127.0.0.1:{port}/healthz"))?
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
