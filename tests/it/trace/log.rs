//! Trace IDs in the log, to find a proxy's trace; spans do not change the log format.

use entra_simulator::{Endpoint, Fault, FaultRule};
use serde_json::Value;

use super::{Scene, TRACE_ID, behind_a_proxy, traceparent};
use crate::cli::program::CONFIG;

/// The trace IDs of the log lines about responses to this path.
#[track_caller]
fn trace_ids(log: &[Value], path: &str) -> Vec<Option<String>> {
    let lines: Vec<&Value> = log.iter().filter(|line| line["message"] == "answered" && line["path"] == path).collect();
    assert!(!lines.is_empty(), "no line about {path}: {log:#?}");
    lines.iter().map(|line| line["span"]["trace_id"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn log_has_trace_id_from_trusted_proxy_only() {
    let (sound, malformed) = (traceparent(), traceparent().replace("00-", "00_"));
    for (config, trusted) in [(behind_a_proxy(), true), (CONFIG.to_owned(), false)] {
        let scene = Scene::new(&config, &[], &[]).await;
        assert_eq!(scene.get("/healthz", &[("traceparent", &sound), ("tracestate", "vendor=1")]).await.status, 200);
        for headers in [
            vec![],
            vec![("traceparent", malformed.as_str())],
            vec![("traceparent", ""), ("tracestate", "=")],
            vec![("traceparent", &sound), ("traceparent", &sound)],
            vec![("tracestate", "vendor=1")],
        ] {
            assert_eq!(scene.get("/signed-out", &headers).await.status, 200, "{headers:?}");
        }
        let ended = scene.program.terminate().await;
        let log = ended.log();
        let expected = trusted.then(|| TRACE_ID.to_owned());
        assert_eq!(trace_ids(&log, "/healthz"), [expected], "trusted: {trusted}");
        assert_eq!(trace_ids(&log, "/signed-out"), [const { None }; 5], "trusted: {trusted}; no valid header was sent");
    }
}

#[tokio::test]
async fn log_line_inside_a_span_names_the_request() {
    // Also with a configured collector. Nothing listens at this address.
    for variables in [vec![], vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1".to_owned())]] {
        for filter in ["info,entraway=trace", "info,entraway=trace,entraway::observability::spans=trace"] {
            let scene = Scene::new(CONFIG, &variables, &["--log-level", filter]).await;
            scene.world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::status(503)).times(1));
            scene.sign_in(&[]).await;
            let log = scene.program.terminate().await.log();
            let line =
                log.iter().find(|line| line["message"] == "retrying Graph request").expect("the retry is logged");
            assert_eq!(line["span"]["name"], "request", "with {filter}: {line:#}");
            assert!(line["span"]["request_id"].is_string(), "with {filter}: {line:#}");
        }
    }
}

#[cfg(not(feature = "otlp"))]
#[tokio::test]
async fn otlp_variables_without_feature_log_a_warning() {
    for variable in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        let scene = Scene::new(CONFIG, &[(variable, "http://127.0.0.1:1".to_owned())], &[]).await;
        let log = scene.program.terminate().await.log();
        let told = log.iter().filter(|line| line["message"].to_string().contains("without the feature otlp"));
        let told: Vec<&Value> = told.collect();
        assert_eq!(told.len(), 1, "{log:#?}");
        assert_eq!(told[0]["level"], "WARN");
        assert!(told[0]["message"].to_string().contains(variable), "{}", told[0]);
    }
    for variables in [vec![], vec![("OTEL_EXPORTER_OTLP_ENDPOINT", String::new())]] {
        let scene = Scene::new(CONFIG, &variables, &[]).await;
        let ended = scene.program.terminate().await;
        assert!(!ended.stderr.contains("otlp"), "no traces are configured: {ended:?}");
    }
}
