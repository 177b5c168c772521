//! An unavailable, slow or failing collector does not affect sign-ins.

use std::time::{Duration, Instant};

use crate::trace::collector::{Collector, SILENCE};
use crate::trace::{Scene, behind_a_proxy};

/// Sends spans at once, with a queue that is soon full.
fn eager(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4".to_owned()),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1".to_owned()),
    ]
}

#[tokio::test]
async fn signins_succeed_while_collector_is_unreachable() {
    let silent = Collector::answering(SILENCE).await;
    // Nothing listens at the first one.
    for (endpoint, told) in [("http://127.0.0.1:1", true), (silent.endpoint.as_str(), false)] {
        let mut scene = Scene::new(&behind_a_proxy(), &eager(endpoint), &[]).await;
        for _ in 0..3 {
            scene.sign_in(&[]).await;
        }
        if told {
            let warned = |log: &str| log.contains("failed to export traces").then_some(());
            scene.program.until("warning", |program| warned(&program.stderr())).await;
        }
        let begin = Instant::now();
        let ended = scene.program.terminate().await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(begin.elapsed() < Duration::from_millis(4_500), "it took {:?} to exit", begin.elapsed());
        let warnings = ended.stderr.matches("failed to export traces").count();
        // Whether a silent collector is reported depends on its timeout, which is not tested.
        assert!(warnings == 1 || (warnings == 0 && !told), "an outage is logged once: {ended:?}");
        assert!(ended.stderr.contains("failed to export the last spans"), "{ended:?}");
    }
}

#[tokio::test]
async fn collector_outage_and_recovery_are_each_logged_once() {
    let collector = Collector::answering(503).await;
    let mut scene = Scene::new(&behind_a_proxy(), &eager(&collector.endpoint), &[]).await;
    scene.sign_in(&[]).await;
    let says = |log: &str, words: &str| log.contains(words).then_some(());
    scene.program.until("warning", |program| says(&program.stderr(), "failed to export traces")).await;
    collector.answers(200);
    scene.sign_in(&[]).await;
    scene.program.until("end of the outage", |program| says(&program.stderr(), "exporting traces again")).await;
    let ended = scene.program.terminate().await;
    let count = |words: &str| ended.stderr.matches(words).count();
    assert_eq!((count("failed to export traces"), count("exporting traces again")), (1, 1), "{ended:?}");
    assert!(ended.stderr.contains("the collector answered 503"), "{ended:?}");
    assert!(!collector.spans().is_empty(), "spans arrived afterwards");
}
