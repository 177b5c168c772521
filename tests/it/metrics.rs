//! Metrics, read as Prometheus reads them: each event moves exactly its own counters, and the output identifies no
//! users.

mod exposition;
mod graph;
mod listener;
mod requests;
mod secrets;
mod sign_ins;

use std::collections::BTreeMap;
use std::str::FromStr;

use reqwest::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use crate::support::{Browser, Service};

/// Reads the metrics of an instance.
struct Watch {
    url: Url,
    _stop: DropGuard,
}

/// The series with their values.
#[derive(Clone, Debug)]
struct Numbers {
    text: String,
    series: BTreeMap<String, String>,
}

impl Watch {
    async fn new(service: &Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap()).parse().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(entraway::http::server::serve_metrics(service.app.clone(), listener, stop.clone()));
        Self { url, _stop: stop.drop_guard() }
    }

    async fn read(&self) -> Numbers {
        let answer = Browser::new().get(self.url.clone()).await;
        assert_eq!(answer.status, 200, "{answer:#?}");
        assert_eq!(answer.headers[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
        let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let pair = |line| pair(line).unwrap_or_else(|| panic!("not a number: {line}"));
        Numbers { series: lines.map(pair).collect(), text: answer.body }
    }
}

impl Numbers {
    /// An integer.
    #[track_caller]
    fn of(&self, series: &str) -> i64 {
        self.parsed(series)
    }

    /// Seconds.
    #[track_caller]
    fn real(&self, series: &str) -> f64 {
        self.parsed(series)
    }

    #[track_caller]
    fn parsed<T: FromStr<Err: std::fmt::Debug>>(&self, series: &str) -> T {
        let value = self.series.get(series).unwrap_or_else(|| panic!("no series {series} in\n{}", self.text));
        value.parse().unwrap_or_else(|error| panic!("{series} is {value}: {error:?}"))
    }

    /// The counters that changed since `before`, and by how much, without those that change on their own.
    fn since(&self, before: &Self) -> BTreeMap<&str, i64> {
        let counts = |name: &str| {
            let metric = name.split('{').next().unwrap_or_default();
            metric.ends_with("_total") || (metric.starts_with("entraway_sign_in") && metric.ends_with("_count"))
        };
        let names = self.series.keys().filter(|name| counts(name));
        let moved = names.map(|name| (name.as_str(), self.of(name) - before.of(name)));
        moved.filter(|(_, by)| *by != 0).collect()
    }
}

/// The expected result of `Numbers::since`.
fn moved<const N: usize>(counters: [(&str, i64); N]) -> BTreeMap<&str, i64> {
    counters.into()
}
