//! All replicas are restarted one after the other during sign-ins and forward-auth requests: no request fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use entra_simulator::ObjectId;
use reqwest::Method;
use url::Url;

use super::haproxy::{HaProxy, LIMIT, replaced, settings};
use crate::cli::program::{CONFIG, Folder, Journey, Program, environment, with};
use crate::support::redis::free_port;
use crate::support::scene::{many_assigned, person};
use crate::support::{Browser, World, join_all};

/// Number of clients that send forward-auth requests in a loop, each on its own connection. High enough that one sends
/// a request just when a replica closes the connection.
const ASKING: usize = 24;
/// Number of clients that sign in users.
const SIGNING_IN: usize = 2;

#[derive(Default)]
struct Load {
    over: AtomicBool,
    asked: AtomicUsize,
    signed_in: AtomicUsize,
}

/// Sends forward-auth requests until the load ends. Returns the unexpected results.
async fn asks(load: &Load, base: &Url, browser: &Browser) -> Vec<String> {
    let browser = browser.clone();
    let mut wrong = Vec::new();
    let cookie = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    while !load.over.load(Ordering::Relaxed) {
        let request = browser.request(Method::GET, base.join("/auth/verify").unwrap()).header("cookie", &cookie);
        match request.send().await {
            Ok(answer) if answer.status() == 200 => {}
            Ok(answer) => wrong.push(format!("forward auth returned {}", answer.status())),
            Err(error) => wrong.push(format!("forward auth failed: {error}")),
        }
        load.asked.fetch_add(1, Ordering::Relaxed);
    }
    wrong
}

/// Signs users in until the load ends, each with a new browser. Returns the unexpected results.
async fn sign_in(load: &Load, world: &World, base: &Url, people: &[ObjectId]) -> Vec<String> {
    let mut wrong = Vec::new();
    for person in people.iter().cycle() {
        if load.over.load(Ordering::Relaxed) {
            break;
        }
        let (_, answer) = Journey::whole(world, base, *person).await;
        if answer.status != 303 {
            wrong.push(format!("the callback of {person} returned {} {}", answer.status, answer.code_or_nothing()));
        }
        load.signed_in.fetch_add(1, Ordering::Relaxed);
    }
    wrong
}

#[tokio::test]
async fn rolling_restart_loses_no_request() {
    let world = World::new().await;
    let groups = many_assigned(&world, 5);
    let people: Vec<ObjectId> = (0..20).map(|n| person(&world, &format!("Person {n}"), &groups)).collect();
    let (port, ports) = (free_port(), [free_port(), free_port(), free_port()]);
    let base = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let config = replaced(
        CONFIG.to_owned(),
        &[
            ("http://127.0.0.1:1\"", &format!("http://127.0.0.1:{port}\", trusted_proxies: [\"127.0.0.1/32\"]")),
            ("\nsync:", "\nlimits: {sign_ins_per_address: 0}\nsync:"),
        ],
    );
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", &config);
    let start = async |port: u16| {
        let env = with(environment(&world), "LISTEN", &format!("127.0.0.1:{port}"));
        let mut program = Program::start(&folder, &["serve", "--config", &config], &env);
        program.ready().await;
        program
    };
    let mut programs = Vec::new();
    for port in ports {
        programs.push(start(port).await);
    }
    let address = |n: usize| format!("127.0.0.1:{}", ports[n]);
    let settings = replaced(
        settings("Several replicas"),
        &[
            ("bind :8080", &format!("bind 127.0.0.1:{port}")),
            ("entraway-1:8080", &address(0)),
            ("entraway-2:8080", &address(1)),
            ("entraway-3:8080", &address(2)),
        ],
    );
    let servers = ["entraway/one", "entraway/two", "entraway/three"];
    let mut proxy = HaProxy::start(&settings, &servers).await;
    let (journey, answer) = Journey::whole(&world, &base, people[0]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");

    let load = Arc::new(Load::default());
    let asking = join_all((0..ASKING).map(|_| asks(&load, &base, &journey.browser)));
    let signing_in = join_all((0..SIGNING_IN).map(|n| sign_in(&load, &world, &base, &people[1 + 9 * n..][..9])));
    let restarts = async {
        for round in 0..2 {
            for (n, server) in servers.iter().enumerate() {
                let before = (load.asked.load(Ordering::Relaxed), load.signed_in.load(Ordering::Relaxed));
                let old = programs.remove(0);
                old.signal("TERM");
                let ended = old.end_within(LIMIT).await;
                assert_eq!(ended.code, 0, "{ended:?}");
                assert!(!ended.stderr.contains("in flight"), "requests were canceled: {ended:?}");
                programs.push(start(ports[n]).await);
                proxy.until(server, "UP").await;
                // Each restart sees some of the load, even on a slow machine.
                while load.asked.load(Ordering::Relaxed) < before.0 + 20
                    || load.signed_in.load(Ordering::Relaxed) < before.1 + 2
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                println!("round {round}: {server} is replaced");
            }
        }
        load.over.store(true, Ordering::Relaxed);
    };
    let (unanswered, refused, ()) = tokio::join!(asking, signing_in, restarts);
    let wrong: Vec<String> = unanswered.into_iter().chain(refused).flatten().collect();
    let (asked, signed_in) = (load.asked.load(Ordering::Relaxed), load.signed_in.load(Ordering::Relaxed));
    println!("{asked} forward-auth requests and {signed_in} sign-ins in six restarts");
    assert_eq!(wrong, [""; 0], "of {asked} forward-auth requests and {signed_in} sign-ins");
}
