//! Loads a URL with `wrk` and parses its output.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::browser::median;

/// Concurrent connections. wrk uses two threads.
const CONNECTIONS: usize = 32;
const SECONDS: usize = 4;
const ROUNDS: usize = 5;

pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) url: String,
    pub(crate) cookie: String,
}

/// Requests per second and the 99th percentile of the response time.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) a_second: f64,
    pub(crate) p99_ms: f64,
}

/// Medians of each target's runs. Each round loads every target, so that disturbances affect all alike.
pub(crate) struct Compared {
    rounds: Vec<Vec<Load>>,
}

impl Compared {
    pub(crate) fn load(&self, target: usize) -> Load {
        let of =
            |pick: fn(&Load) -> f64| median(&self.rounds.iter().map(|round| pick(&round[target])).collect::<Vec<_>>());
        Load { a_second: of(|load| load.a_second), p99_ms: of(|load| load.p99_ms) }
    }

    /// Medians of the rounds' ratios of requests per second and p99.
    pub(crate) fn ratio(&self, target: usize, to: usize) -> Load {
        let of = |pick: fn(&Load) -> f64| {
            median(&self.rounds.iter().map(|round| pick(&round[target]) / pick(&round[to])).collect::<Vec<_>>())
        };
        Load { a_second: of(|load| load.a_second), p99_ms: of(|load| load.p99_ms) }
    }
}

pub(crate) fn how() -> String {
    format!(
        "`wrk -t2 -c{CONNECTIONS} -d{SECONDS}s`, medians of {ROUNDS} rounds that run each line in turn; ratios are medians of the rounds' ratios"
    )
}

pub(crate) async fn compare(targets: &[Target]) -> anyhow::Result<Compared> {
    for Target { url, cookie, .. } in targets {
        // A server that is still starting processes may close a connection.
        let text = wrk(url, cookie, None, 1).await?;
        ensure!(!text.contains("Non-2xx"), "{url} did not return success: {text}");
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = Vec::new();
        for target in targets {
            round.push(run(&target.url, &target.cookie, None, SECONDS).await?);
        }
        rounds.push(round);
    }
    Ok(Compared { rounds })
}

/// Runs wrk. Fails if a response was an error or missing.
pub(crate) async fn run(url: &str, cookie: &str, script: Option<&Path>, seconds: usize) -> anyhow::Result<Load> {
    let text = wrk(url, cookie, script, seconds).await?;
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{url} did not answer all requests: {text}");
    let after = |label: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(label));
        line.map(|rest| rest.trim().to_owned()).with_context(|| format!("wrk did not print {label}: {text}"))
    };
    Ok(Load { a_second: after("Requests/sec:")?.parse()?, p99_ms: milliseconds(&after("99%")?)? })
}

/// Output of `wrk`.
async fn wrk(url: &str, cookie: &str, script: Option<&Path>, seconds: usize) -> anyhow::Result<String> {
    let mut command = Command::new("wrk");
    command.args(["-t2", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), "--latency"]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    if !cookie.is_empty() {
        command.args(["-H", &format!("Cookie: {cookie}")]);
    }
    let output = command.arg(url).stderr(Stdio::inherit()).output().await.context("failed to run wrk")?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Parses a duration of wrk: `950.00us`, `1.25ms`, `2.00s`.
fn milliseconds(text: &str) -> anyhow::Result<f64> {
    for (unit, ms) in [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * ms);
        }
    }
    anyhow::bail!("not a duration: {text}")
}
