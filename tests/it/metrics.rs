//! What is counted, read as Prometheus reads it: each thing that happens moves the very counters that tell of it, and no
//! other; and nothing of what is read names anybody.

mod graph;
mod lookups;
mod reading;
mod secrets;
mod served;
mod sign_ins;

use std::collections::BTreeMap;

use reqwest::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use crate::support::{Browser, Service};

/// Where the metrics of an instance are read.
struct Watch {
    url: Url,
    _stop: DropGuard,
}

/// The series and their values.
#[derive(Clone, Debug)]
struct Numbers {
    text: String,
    series: BTreeMap<String, f64>,
}

impl Watch {
    async fn new(service: &Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap()).parse().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(entraway::server::serve_metrics(service.app.clone(), listener, stop.clone()));
        Self { url, _stop: stop.drop_guard() }
    }

    async fn read(&self) -> Numbers {
        let answer = Browser::new().get(self.url.clone()).await;
        assert_eq!(answer.status, 200, "{answer:#?}");
        assert_eq!(answer.headers[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
        let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no number: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|error| panic!("{error}: {line}")))
        };
        Numbers { series: lines.map(pair).collect(), text: answer.body }
    }
}

impl Numbers {
    #[track_caller]
    fn of(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no series {series} in\n{}", self.text))
    }

    /// The counters that were moved since, with by how much; without those that move by themselves.
    fn since(&self, before: &Self) -> BTreeMap<&str, f64> {
        let moved = self.series.iter().filter_map(|(name, value)| {
            let metric = name.split('{').next().unwrap_or_default();
            let counts =
                metric.ends_with("_total") || metric.starts_with("entraway_sign_in") && metric.ends_with("_count");
            let by = value - before.series.get(name).unwrap_or_else(|| panic!("{name} was not there before"));
            (counts && by != 0.0).then_some((name.as_str(), by))
        });
        moved.collect()
    }
}

/// As `Numbers::since` gives it.
fn moved<const N: usize>(counters: [(&str, f64); N]) -> BTreeMap<&str, f64> {
    counters.into()
}
