//! Traces: whose trace a request belongs to, by the log and by what a collector gets; and what the page about running it
//! says of them.

#[cfg(feature = "otlp")]
mod collector;
mod log;
#[cfg(feature = "otlp")]
mod outage;
#[cfg(feature = "otlp")]
mod sent;
#[cfg(feature = "otlp")]
mod variables;

use entraway::domain::ObjectId;
use entraway::trace::{ATTRIBUTES, Step};
use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

use crate::cli::program::{CONFIG, Folder, Journey, Program, environment};
use crate::docs::markdown::documents;
use crate::support::{Answer, Browser, World};

/// The trace of a proxy, as it tells of it.
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN_ID: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE_ID}-{SPAN_ID}-01")
}

/// Behind a proxy on this machine, which is what the tests then are.
fn behind_a_proxy() -> String {
    let config = CONFIG.replacen("metrics_listen: null", "metrics_listen: null, trusted_proxies: [127.0.0.1]", 1);
    assert_ne!(config, CONFIG);
    config
}

/// The program with a world around it, and somebody to sign in.
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

    /// All the way, where the callback comes with these headers.
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
fn the_page_about_running_it_tells_what_a_span_may_hold() {
    let page = documents().into_iter().find(|document| document.name == "docs/how-to/operations.md").unwrap();
    let (_, section) = page.text.split_once("\n## Traces\n").expect("the page has a section about traces");
    let section = section.split("\n## ").next().unwrap();
    for (_, name, meaning) in Step::ALL {
        let row = format!("| `{name}` | {meaning} |");
        assert_eq!(section.matches(&row).count(), 1, "the row is missing from the page:\n{row}");
    }
    let (_, table) = section.split_once("\n| span | what |\n").expect("the page has a table of spans");
    let rows = table.split("\n\n").next().unwrap().matches("\n| `").count();
    assert_eq!(rows, Step::ALL.len() + 1, "the steps and the request itself, and no row that the code does not know");
    for attribute in ATTRIBUTES {
        assert!(section.contains(&format!("`{attribute}`")), "{attribute} is missing from the page");
    }
}
