//! Exported spans: each request with its steps, in the trace of a trusted proxy, without secrets or personal data.

use std::collections::{BTreeMap, BTreeSet};

use entra_simulator::{Endpoint, Fault, FaultRule};
use entraway::observability::spans::{ATTRIBUTES, Step};
use reqwest::Method;

use super::collector::{Collector, Sent};
use super::{SPAN_ID, Scene, TRACE_ID, behind_a_proxy, send, traceparent};
use crate::cli::program::{CONFIG, DATABASE_PASSWORD, Journey};
use crate::support::{Secrets, no_address_is_in};

#[track_caller]
fn one<'a>(spans: &'a [Sent], name: &str) -> &'a Sent {
    let found: Vec<&Sent> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "of {name} there is one among {spans:#?}");
    found[0]
}

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn signin_spans_join_trace_of_trusted_proxy() {
    let collector = Collector::answering(200).await;
    let scene = Scene::new(&behind_a_proxy(), &collector.variables(), &[]).await;
    scene.sign_in(&[("traceparent", &traceparent()), ("tracestate", "vendor=1"), ("tracestate", "other=2")]).await;
    let ended = scene.program.terminate().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    // All spans were sent at shutdown, before its timeout.
    let all = collector.spans();
    let (trace, rest): (Vec<Sent>, Vec<Sent>) = all.into_iter().partition(|span| span.trace_id == TRACE_ID);

    let request = one(&trace, "GET /sso/callback");
    assert_eq!((request.parent.as_str(), request.state.as_str()), (SPAN_ID, "vendor=1,other=2"));
    assert_eq!((request.kind, request.failed), (2, false));
    let expected =
        [("http.request.method", "GET"), ("http.route", "/sso/callback"), ("http.response.status_code", "303")];
    assert_eq!(request.attributes, attributes(&expected));
    let of_request = |kind, expected: &[(&str, &str)], names: &[&str]| {
        for name in names {
            let span = one(&trace, name);
            assert_eq!(span.parent, request.span_id, "{name} is a step of the request");
            assert_eq!((span.kind, span.failed, &span.attributes), (kind, false, &attributes(expected)), "{name}");
        }
    };
    of_request(1, &[], &["graph.member_of", "graph.assigned_groups", "plan"]);
    of_request(3, &[], &["entra.code", "entra.app_token"]);
    let postgres = ["postgres.use_attempt", "postgres.read", "postgres.apply", "postgres.open_session"];
    of_request(3, &[("db.system.name", "postgresql")], &postgres);
    let lists = ["graph.member_of", "graph.assigned_groups"].map(|name| one(&trace, name).span_id.clone());
    let pages: Vec<&Sent> = trace.iter().filter(|span| span.name == "graph.request").collect();
    let parents: BTreeSet<&String> = pages.iter().map(|span| &span.parent).collect();
    assert_eq!(parents, lists.iter().collect(), "each list has one request: {pages:#?}");
    assert_eq!(trace.len(), 1 + 9 + 2, "no other spans: {trace:#?}");

    // The sign-in started without a trace, so it has its own.
    let login = one(&rest, "GET /sso/login");
    assert_eq!((login.parent.as_str(), login.trace_id.len()), ("", 32), "{login:#?}");
    assert_eq!(one(&rest, "entra.discovery").parent, login.span_id);
    // The log has the same IDs.
    for (path, trace_id) in [("/sso/login", login.trace_id.as_str()), ("/sso/callback", TRACE_ID)] {
        let log = ended.log();
        let line = log.iter().find(|line| line["message"] == "answered" && line["path"] == path).unwrap();
        assert_eq!(line["span"]["trace_id"], trace_id, "{line:#}");
    }
    let resources = collector.resources();
    assert!(!resources.is_empty());
    for resource in resources {
        let said = (resource["service.name"].as_str(), resource["service.version"].as_str());
        assert_eq!(said, ("entraway", env!("CARGO_PKG_VERSION")));
    }
}

#[tokio::test]
async fn unsampled_trace_is_not_exported() {
    let collector = Collector::answering(200).await;
    let scene = Scene::new(&behind_a_proxy(), &collector.variables(), &[]).await;
    let unsampled = traceparent().replace("-01", "-00");
    assert_eq!(scene.get("/signed-out", &[("traceparent", &unsampled)]).await.status, 200);
    assert_eq!(scene.get("/healthz", &[]).await.status, 200);
    let log = scene.program.terminate().await.log();
    let spans = collector.spans();
    one(&spans, "GET /healthz");
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let line = log.iter().find(|line| line["message"] == "answered" && line["path"] == "/signed-out").unwrap();
    assert_eq!(line["span"]["trace_id"], TRACE_ID, "the log still has its ID: {line:#}");
}

#[tokio::test]
async fn untrusted_or_malformed_traceparent_starts_new_trace() {
    for (config, trusted) in [(CONFIG.to_owned(), false), (behind_a_proxy(), true)] {
        let collector = Collector::answering(200).await;
        let scene = Scene::new(&config, &collector.variables(), &[]).await;
        let sound = traceparent();
        let (upper, unsampled) = (sound.to_uppercase(), sound.replace("-01", "-00"));
        let mut requests = vec![[("traceparent", upper.as_str()), ("tracestate", "vendor=1")]];
        if !trusted {
            requests.push([("traceparent", &sound), ("tracestate", "vendor=1")]);
            requests.push([("traceparent", &unsampled), ("tracestate", "vendor=1")]);
        }
        for headers in &requests {
            assert_eq!(scene.get("/healthz", headers).await.status, 200);
        }
        scene.program.terminate().await;
        let spans = collector.spans();
        assert_eq!(spans.len(), requests.len(), "each is traced: {spans:#?}");
        let traces: BTreeSet<&String> = spans.iter().map(|span| &span.trace_id).collect();
        assert_eq!(traces.len(), requests.len(), "in its own trace: {spans:#?}");
        for span in &spans {
            assert_ne!(span.trace_id, TRACE_ID);
            assert_eq!((span.parent.as_str(), span.state.as_str()), ("", ""), "{span:#?}");
        }
    }
}

#[tokio::test]
async fn spans_contain_no_identifiers_or_secrets() {
    let collector = Collector::answering(200).await;
    let scene = Scene::new(&behind_a_proxy(), &collector.variables(), &["--log-level", "trace"]).await;
    let Scene { world, base, alice, .. } = &scene;
    let directory = world.simulator.edit(|directory| directory.clone());
    let mut secrets = Secrets::default();
    for (what, secret) in [
        ("person's id", alice.to_string()),
        ("tenant's id", directory.tenant_id.to_string()),
        ("client id", directory.client_id),
        ("client secret", directory.client_secret),
        ("service principal's id", directory.service_principal_id),
        ("name of a person", "Alice".to_owned()),
        ("name of a group", "Production".to_owned()),
        ("made-up word", "sesame".to_owned()),
        ("password", DATABASE_PASSWORD.to_owned()),
        ("name of the database", world.database_name.clone()),
        ("address", "127.0.0.1".to_owned()),
    ] {
        secrets.add(what, secret);
    }
    for fault in [None, Some(Fault::status(503)), Some(Fault::status(403)), Some(Fault::MalformedJson)] {
        for endpoint in [Endpoint::MemberOf, Endpoint::AssignedTo] {
            fault.clone().inspect(|fault| world.simulator.fault(FaultRule::on(endpoint, fault.clone()).times(1)));
            let mut journey = Journey::begin(base).await;
            secrets.add_request(&journey.entra);
            secrets.add_cookies(&journey.browser);
            let callback = journey.pick(world, *alice).await;
            secrets.add_callback(&callback);
            assert_eq!(send(&mut journey.browser, callback, &[]).await.status, 303);
            secrets.add_cookies(&journey.browser);
            for path in [
                "/",
                "/api/me",
                "/people?search=alice.arden@contoso-sim.example",
                "/people/alice.arden@contoso-sim.example",
                &format!("/people/{alice}"),
                &format!("/people/{alice}/explain"),
                "/sesame/sesame?sesame=sesame",
                "/auth/verify?team=sesame",
                "/auth/verify/envoy/sesame",
                "/assets/sesame",
                "/sso/callback?state=sesame&code=sesame",
            ] {
                let url = base.join(path).unwrap();
                send(&mut journey.browser, url.clone(), &[("x-request-id", "sesame-sesame")]).await;
                let odd = journey.browser.request(Method::from_bytes(b"SESAME").unwrap(), url);
                journey.browser.send(odd).await;
            }
        }
    }
    world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::status(500)));
    let mut journey = Journey::begin(base).await;
    let callback = journey.pick(world, *alice).await;
    assert_eq!(send(&mut journey.browser, callback, &[]).await.status, 503);
    scene.program.terminate().await;

    let spans = collector.spans();
    let text = collector.text();
    secrets.are_not_in("what was sent", &text);
    no_address_is_in("what was sent", &text);
    let failed: BTreeSet<(&str, &str)> =
        spans.iter().filter(|span| span.failed).map(|span| (&*span.name, &*span.attributes["error.type"])).collect();
    for expected in [
        ("GET /sso/callback", "503"),
        ("entra.code", "refused"),
        ("graph.request", "graph_unavailable"),
        ("graph.request", "graph_forbidden"),
        ("graph.request", "graph_malformed"),
        ("graph.member_of", "graph_forbidden"),
    ] {
        assert!(failed.contains(&expected), "{expected:?} is missing among {failed:?}");
    }
    let steps: BTreeSet<&str> = Step::ALL.iter().map(|(_, name, _)| *name).collect();
    let routes: BTreeSet<&str> = spans.iter().map(|span| &*span.name).filter(|name| !steps.contains(name)).collect();
    for name in ["GET /people/{id}/explain", "HTTP /people/{id}", "GET", "HTTP", "GET /auth/verify/envoy/{*path}"] {
        assert!(routes.contains(name), "{name} is missing among {routes:?}");
    }
    let known = BTreeSet::from(ATTRIBUTES);
    for span in &spans {
        let keys: BTreeSet<&str> = span.attributes.keys().map(String::as_str).collect();
        assert!(keys.is_subset(&known), "an undocumented attribute: {span:#?}");
    }
}
