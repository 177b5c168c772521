//! Time from the start of `serve` until `/readyz` reports ready.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;
use entraway::domain::StoreKind;
use pg_sandbox::PrivateCluster;

use crate::browser::{client, median, ms};
use crate::service::{self, Folder};
use crate::simulator::{Scene, Simulator};

const RUNS: usize = 15;

pub(crate) async fn run(cluster: &PrivateCluster) -> anyhow::Result<String> {
    cluster.create_database("begin", None).await?;
    let entra = Simulator::start(Scene { people: 1, groups: 1, in_groups: 1, operator: false })?;
    let (folder, client) = (Folder::new()?, client()?);
    let mut times = Vec::new();
    // The first run migrates the database and is not measured.
    for _ in 0..=RUNS {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = service::config(&cluster.url("begin"), StoreKind::Native, &entra.facts, port);
        let file = folder.file("config.yaml", &config)?;
        let begin = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_entraway"))
            .args(["serve", "--config"])
            .arg(file)
            .stderr(Stdio::null())
            .spawn()?;
        let ready = loop {
            let answer = client.get(format!("http://127.0.0.1:{port}/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                break begin.elapsed();
            }
            ensure!(begin.elapsed() < Duration::from_secs(30), "the service is not ready");
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        child.kill()?;
        child.wait()?;
        times.push(ms(ready));
    }
    Ok(format!(
        "From `entraway serve` to the first 200 of `/readyz`, with existing tables: {:.0} ms, the median of {RUNS}, polled every\n\
         millisecond.\n",
        median(&times[1..])
    ))
}
