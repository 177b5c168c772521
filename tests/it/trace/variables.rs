//! OpenTelemetry's variables: supported ones, and unsupported values.

use super::collector::Collector;
use super::{Scene, TRACE_ID, behind_a_proxy, traceparent};
use crate::cli::program::{CONFIG, Folder, environment, run};
use crate::support::World;

fn and(variables: &[(&'static str, String)], more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    variables.iter().cloned().chain(more).collect()
}

#[tokio::test]
async fn otel_service_name_headers_and_sampler_are_used() {
    let collector = Collector::answering(200).await;
    let more = [
        ("OTEL_SERVICE_NAME", "sso"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=Key-of-the-collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ];
    let variables = and(&collector.variables(), &more);
    let scene = Scene::new(&behind_a_proxy(), &variables, &["--log-level", "debug"]).await;
    scene.get("/healthz", &[]).await;
    scene.get("/healthz", &[("traceparent", &traceparent())]).await;
    let ended = scene.program.terminate().await;
    assert!(!ended.all().contains("Key-of-the-collector"), "a secret is in the log: {ended:?}");
    let traces: Vec<String> = collector.spans().into_iter().map(|span| span.trace_id).collect();
    assert_eq!(traces, [TRACE_ID], "only the sampled trace");
    let resource = collector.resources().remove(0);
    assert_eq!(resource["service.name"], "sso");
    assert_eq!(resource["deployment.environment.name"], "test");
    assert_eq!(collector.headers()[0]["api-key"], "Key-of-the-collector");
}

#[tokio::test]
async fn traces_are_not_sent_when_disabled() {
    let collector = Collector::answering(200).await;
    for (name, value) in
        [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")]
    {
        let mut variables = collector.variables();
        variables.retain(|(known, _)| *known != name);
        let scene = Scene::new(CONFIG, &and(&variables, &[(name, value)]), &[]).await;
        scene.get("/healthz", &[]).await;
        let ended = scene.program.terminate().await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(collector.spans(), [], "with {name}={value}");
    }
}

#[tokio::test]
async fn invalid_otel_variable_is_rejected_at_startup() {
    let world = World::new().await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let ratio = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
    for (variables, words) in [
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")], "OTEL_EXPORTER_OTLP_ENDPOINT: not an http"),
        (vec![("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nowhere")], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: not an http"),
        (
            vec![endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            "OTEL_EXPORTER_OTLP_PROTOCOL: unsupported value \"grpc\"",
        ),
        (
            vec![endpoint, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")],
            "OTEL_EXPORTER_OTLP_COMPRESSION: unsupported value \"gzip\"",
        ),
        (vec![endpoint, ("OTEL_TRACES_SAMPLER", "sometimes")], "OTEL_TRACES_SAMPLER: unsupported value \"sometimes\""),
        (vec![endpoint, ("OTEL_TRACES_SAMPLER", "traceidratio")], "OTEL_TRACES_SAMPLER_ARG: invalid ratio \"\""),
        (vec![endpoint, ratio, ("OTEL_TRACES_SAMPLER_ARG", "1.5")], "OTEL_TRACES_SAMPLER_ARG: invalid ratio \"1.5\""),
    ] {
        let ended = run(&folder, &["serve", "--config", &config], &and(&environment(&world), &variables)).await;
        assert_eq!(ended.code, 1, "{variables:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{variables:?}: {ended:?}");
    }
}
