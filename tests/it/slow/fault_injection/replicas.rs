//! Three replicas behind a real HAProxy with round robin: sessions and sign-ins are not bound to a replica.

use std::time::{Duration, Instant};

use reqwest::Method;
use rstest::rstest;
use url::Url;

use super::haproxy::{HaProxy, authority, replaced, settings};
use crate::cli::program::Journey;
use crate::support::redis::free_port;
use crate::support::{Answer, Browser, LiteLlm, Native, Service, StoreKind, World};

/// Starts three replicas behind HAProxy. Returns HAProxy's URL, too.
async fn behind_haproxy(world: &World) -> (Vec<Service>, HaProxy, Url) {
    let port = free_port();
    let base = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let mut services = Vec::new();
    for _ in 0..3 {
        let change = |config: &mut entraway::config::Config| {
            config.server.public_url = base.as_str().parse().unwrap();
            config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        };
        services.push(world.service_with(change).await);
    }
    let addresses: Vec<String> = services.iter().map(|service| authority(&service.at("/"))).collect();
    let settings = replaced(
        settings("Several replicas"),
        &[
            ("bind :8080", &format!("bind 127.0.0.1:{port}")),
            ("entraway-1:8080", &addresses[0]),
            ("entraway-2:8080", &addresses[1]),
            ("entraway-3:8080", &addresses[2]),
            ("    balance roundrobin\n", "    balance roundrobin\n    http-response set-header X-Answered-By %s\n"),
        ],
    );
    let proxy = HaProxy::start(&settings, &["entraway/one", "entraway/two", "entraway/three"]).await;
    (services, proxy, base)
}

fn who(answer: &Answer) -> &str {
    answer.headers["x-answered-by"].to_str().unwrap()
}

#[rstest]
#[tokio::test]
async fn signin_started_at_one_replica_finishes_at_another(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let (_services, _proxy, base) = behind_haproxy(&world).await;
    let mut browser = Browser::new();
    let begun = browser.get(base.join("/sso/login").unwrap()).await;
    assert_eq!(begun.status, 303, "{begun:#?}");
    let picked = browser.request(Method::GET, world.simulator.pick_url(&begun.location(), alice)).send().await.unwrap();
    let callback = picked.headers()["location"].to_str().unwrap().parse().unwrap();
    let finished = browser.get(callback).await;
    assert_eq!(finished.status, 303, "{finished:#?}");
    assert_ne!(who(&begun), who(&finished), "HAProxy uses another replica for each request");
    let mut answered = Vec::new();
    for _ in 0..3 {
        let me = browser.get(base.join("/api/me").unwrap()).await;
        assert_eq!(me.status, 200, "{me:#?}");
        assert_eq!(me.json()["teams"][0]["team_id"], group.to_string());
        answered.push(who(&me).to_owned());
    }
    answered.sort();
    assert_eq!(answered, ["one", "three", "two"], "replicas that answered");
}

#[tokio::test]
async fn signout_reaches_all_replicas_within_a_second() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let (services, _proxy, base) = behind_haproxy(&world).await;
    let (mut journey, answer) = Journey::whole(&world, &base, alice).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    let old = journey.browser.clone();
    let begin = Instant::now();
    for service in &services {
        // Cached from now on.
        while !service.app.sessions().is_listening() {
            assert!(begin.elapsed() < super::haproxy::LIMIT, "a replica does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(status(&old, service).await, 200);
    }
    let left = journey.browser.post(base.join("/sso/logout").unwrap()).await;
    assert_eq!(left.status, 303, "{left:#?}");
    let begin = Instant::now();
    for service in &services {
        while status(&old, service).await != 401 {
            // Expected within a second, but the machine may be busy. A session cached for a minute would still fail.
            assert!(begin.elapsed() < Duration::from_secs(5), "a replica still accepts the session");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    println!("sign-out reached all replicas after {:?}", begin.elapsed());
}

async fn status(browser: &Browser, service: &Service) -> u16 {
    let mut browser = browser.clone();
    let request = browser.request(Method::GET, service.at("/auth/verify"));
    browser.send(request).await.status.as_u16()
}
