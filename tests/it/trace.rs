//! Traces: trace IDs in the log, spans at a collector, and the documented list of spans.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod export;
mod log;
#[cfg(feature = "otlp")]
mod slow;
#[cfg(feature = "otlp")]
mod variables;

use entra_simulator::ObjectId;
use entraway::observability::spans::{ATTRIBUTES, Step};
use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

use crate::cli::program::{CONFIG, Folder, Journey, Program, environment};
use crate::docs::markdown::{assert_rows, document};
use crate::support::{Answer, Browser, World};

/// The trace ID that a proxy sends.
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN_ID: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE_ID}-{SPAN_ID}-01")
}

/// The configuration with this machine as a trusted proxy, which is where the tests' requests come from.
fn behind_a_proxy() -> String {
    let config = CONFIG.replacen("metrics_listen: null", "metrics_listen: null, trusted_proxies: [127.0.0.1]", 1);
    assert_ne!(config, CONFIG);
    config
}

/// A running program, its world, and a user.
struct Scene {
    world: World,
    alice: ObjectId,
    _folder: Folder,
    program: Program,
    base: Url,
}

impl Scene {
    async fn new(config: &str, variables: &[(&'static str, String)], args: &[&str]) -> Self {
        let world = World::new().await;
        let (alice, _) = world.alice();
        let folder = Folder::new();
        let config = folder.file("entraway.yaml", config);
        let env = [environment(&world), variables.to_vec()].concat();
        let mut program = Program::start(&folder, &[&["serve", "--config", &config], args].concat(), &env);
        let base = program.ready().await;
        Self { world, alice, _folder: folder, program, base }
    }

    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Answer {
        send(&mut Browser::new(), self.base.join(path).unwrap(), headers).await
    }

    /// Completes a sign-in whose callback has these headers.
    async fn sign_in(&self, headers: &[(&'static str, &str)]) -> (Journey, Url) {
        let mut journey = Journey::begin(&self.base).await;
        let callback = journey.pick(&self.world, self.alice).await;
        let answer = send(&mut journey.browser, callback.clone(), headers).await;
        assert_eq!(answer.status, 303, "{answer:#?}\n{}", self.program.stderr());
        (journey, callback)
    }
}

async fn send(browser: &mut Browser, url: Url, headers: &[(&'static str, &str)]) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let request = browser.request(Method::GET, url).headers(map);
    browser.send(request).await
}

#[test]
fn reference_lists_each_span() {
    const PAGE_SIZE: &str = "docs/reference/traces.md";
    let request = ("METHOD ROUTE", "a request, from its head to the head of its answer");
    let steps = Step::ALL.iter().map(|(_, name, meaning)| (*name, *meaning));
    let rows = std::iter::once(request).chain(steps).map(|(name, meaning)| format!("| `{name}` | {meaning} |"));
    assert_rows(PAGE_SIZE, "| `", &rows.collect::<Vec<_>>());
    for attribute in ATTRIBUTES {
        assert!(document(PAGE_SIZE).text.contains(&format!("`{attribute}`")), "{attribute} is missing in {PAGE_SIZE}");
    }
}
