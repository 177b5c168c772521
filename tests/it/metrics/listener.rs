//! The metrics listener: where metrics are served, and where not.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use reqwest::Method;
use url::Url;

use super::Watch;
use crate::cli::program::{CONFIG, Folder, Program, environment};
use crate::support::{Browser, World};

#[tokio::test]
async fn metrics_and_pages_are_on_separate_listeners() {
    let world = World::new().await;
    for base in ["", "/sso-of-ours"] {
        let service = world
            .service_with(|config| config.server.public_url = format!("http://127.0.0.1:1{base}").parse().unwrap())
            .await;
        let watch = Watch::new(&service).await;
        let mut browser = Browser::new();
        for path in ["/metrics", "/metrics/", "/api/metrics"] {
            assert_eq!(browser.get(service.at(&format!("{base}{path}"))).await.status, 404, "{base}{path}");
            assert_eq!(browser.get(service.at(path)).await.status, 404, "{path}");
        }
        for path in ["/", "/metrics/", "/metrics/x", "/healthz", "/api/me", "/sso/login", "/auth/verify"] {
            let answer = browser.get(watch.url.join(path).unwrap()).await;
            assert_eq!((answer.status.as_u16(), &*answer.body), (404, ""), "{path} on the metrics listener");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let request = browser.request(method.clone(), watch.url.clone());
            assert_eq!(browser.send(request).await.status, 404, "{method}");
        }
        watch.read().await;
    }
}

/// The configuration with this `metrics_listen`.
fn config(address: &str) -> String {
    let changed = CONFIG.replace("metrics_listen: null", &format!("metrics_listen: '{address}'"));
    assert_ne!(changed, CONFIG);
    changed
}

#[tokio::test]
async fn serve_exposes_metrics_at_configured_address() {
    let (world, folder) = (World::new().await, Folder::new());
    let file = folder.file("entraway.yaml", &config("127.0.0.1:0"));
    let mut program = Program::start(&folder, &["serve", "--config", &file], &environment(&world));
    let base = program.ready().await;
    let log = program.stderr();
    let line = log.lines().find(|line| line.contains("ready for sign-ins")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let metrics: Url = format!("http://{}/metrics", line["metrics"].as_str().unwrap()).parse().unwrap();
    let answer = Browser::new().get(metrics.clone()).await;
    assert!(answer.body.contains("entraway_build_info{version=\""), "{answer:#?}");
    assert_eq!(Browser::new().get(base.join("/metrics").unwrap()).await.status, 404);

    // An open connection does not delay the shutdown.
    let mut reader = Browser::new();
    reader.get(metrics.clone()).await;
    program.signal("TERM");
    let ended = program.end_within(Duration::from_secs(10)).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(reader.request(Method::GET, metrics).send().await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn metrics_address_in_use_is_reported_with_its_key() {
    let (world, folder) = (World::new().await, Folder::new());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = folder.file("entraway.yaml", &config(&address));
    let program = Program::start(&folder, &["serve", "--config", &file], &environment(&world));
    let ended = program.end_within(Duration::from_secs(30)).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let expected = format!("cannot listen on {address} for the metrics (server.metrics_listen)");
    assert!(ended.stderr.contains(&expected), "{ended:?}");
}

#[tokio::test]
async fn default_metrics_port_in_use_does_not_stop_service() {
    let (world, folder) = (World::new().await, Folder::new());
    let begin = Instant::now();
    // The program of another test may hold the port for a moment.
    let _taken = loop {
        match TcpListener::bind("127.0.0.1:9464") {
            Ok(taken) => break taken,
            Err(error) => assert!(begin.elapsed() < Duration::from_mins(1), "127.0.0.1:9464 stays taken: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let file = folder.file("entraway.yaml", &CONFIG.replace(", metrics_listen: null", ""));
    let mut program = Program::start(&folder, &["serve", "--config", &file], &environment(&world));
    let base = program.ready().await;
    assert_eq!(Browser::new().get(base.join("/healthz").unwrap()).await.status, 200);
    let ended = program.terminate().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let warned = "metrics are not available";
    assert!(ended.stderr.contains(warned), "{ended:?}");
}
