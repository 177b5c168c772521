//! The exposition format: all registered metrics, valid for Prometheus.

use std::collections::BTreeSet;

use entraway::config::ClientAuth;
use entraway::observability::metrics::{Kind, Metrics};

use super::Watch;
use crate::cli::program::Folder;
use crate::support::{Certified, World};

#[tokio::test]
async fn metrics_text_lists_exactly_the_registered_metrics() {
    let world = World::new().await;
    let service = world.service().await;
    let text = Watch::new(&service).await.read().await.text;
    let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let kind = |kind| match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let metrics = Metrics::new();
    let listed: Vec<String> =
        metrics.list().iter().map(|metric| format!("{} {}", metric.name, kind(metric.kind))).collect();
    assert_eq!(told, listed, "left: the output; right: src/observability/metrics.rs");
    for metric in metrics.list() {
        let combinations: usize = metric.labels.iter().map(|(_, values)| values.len()).product();
        let name = if metric.kind == Kind::Histogram { format!("{}_count", metric.name) } else { metric.name.clone() };
        let series = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(&*name)).count();
        assert_eq!(series, combinations, "one for each of the values of its labels: {name}");
    }
}

#[test]
fn metric_names_follow_conventions_and_series_stay_few() {
    let metrics = Metrics::new();
    let mut names = BTreeSet::new();
    let mut series = 0;
    for metric in metrics.list() {
        let name = &*metric.name;
        assert!(names.insert(name), "{name} occurs twice");
        assert!(name.starts_with("entraway_"), "{name}");
        assert!(!metric.help.ends_with('.') && !metric.help.is_empty(), "{name}: the library writes the full stop");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        assert!(metric.kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
        for (label, values) in &metric.labels {
            let distinct: BTreeSet<_> = values.iter().collect();
            assert_eq!(distinct.len(), values.len(), "{name}, {label}: {values:?}");
        }
        series += metric.labels.iter().map(|(_, values)| values.len()).product::<usize>();
    }
    assert!(series < 300, "{series} series, which Prometheus scrapes from every instance");
}

#[tokio::test]
async fn certificate_expiry_and_usability_are_exported() {
    let world = World::new().await;
    let folder = Folder::new();
    let certified = Certified::for_days(20);
    let path = folder.file("certificate.pem", &certified.pem());
    let way = ClientAuth::Certificate(path.clone().into());
    let service = world.service_with(|config| config.entra.client_auth = way).await;
    let watch = Watch::new(&service).await;
    let numbers = watch.read().await;
    let ends = numbers.of("entraway_credential_end_timestamp_seconds");
    let days = (ends - numbers.of("entraway_start_time_seconds")) / 86_400;
    assert!((19..=20).contains(&days), "in {days} days");
    assert_eq!(numbers.of("entraway_credential_usable"), 1);

    folder.file("certificate.pem", "nothing");
    let numbers = watch.read().await;
    assert_eq!(numbers.of("entraway_credential_usable"), 0);
    assert_eq!(numbers.of("entraway_credential_end_timestamp_seconds"), ends, "the last known value stays");

    let secret = world.service().await;
    let numbers = Watch::new(&secret).await.read().await;
    assert_eq!(numbers.of("entraway_credential_usable"), 1);
    assert_eq!(numbers.of("entraway_credential_end_timestamp_seconds"), 0, "only Entra knows when a secret expires");
}

/// With promtool.
mod slow {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::Watch;
    use crate::support::World;

    #[tokio::test]
    async fn metrics_text_passes_promtool_check() {
        let world = World::new().await;
        let (alice, _) = world.alice();
        let service = world.service().await;
        world.sign_in(&service, alice).await;
        let text = Watch::new(&service).await.read().await.text;
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut promtool = promtool.expect("promtool is installed: script/setup --promtool does that");
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let ended = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
        assert!(
            ended.status.success() && said.trim().is_empty(),
            "promtool check metrics printed:\n{said}\nof\n{text}"
        );
    }
}
