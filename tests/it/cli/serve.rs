//! `entraway serve`: users sign in through the real program, and it shuts down cleanly.

use std::time::{Duration, Instant};

use entra_simulator::{Endpoint, Fault, FaultRule, ObjectId, TokenKind};
use reqwest::Method;
use serde_json::json;

use super::program::{CONFIG, Folder, Journey, Program, environment, run, with};
use crate::support::{Browser, World};

/// A world with Alice in one assigned group, and a folder with the configuration.
async fn alice() -> (World, Folder, String, ObjectId) {
    let world = World::new().await;
    let alice = world.simulator.edit(|directory| {
        let alice = directory.person("Alice Arden", |_| {});
        let evals = directory.group("Production LLM Evals");
        directory.put(alice, evals);
        directory.assign(evals);
        alice
    });
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    (world, folder, config, alice)
}

#[tokio::test]
async fn serve_signs_users_in_and_stops_on_sigterm() {
    let (world, folder, config, alice) = alice().await;
    let mut program = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    let base = program.ready().await;

    let (mut journey, answer) = Journey::whole(&world, &base, alice).await;
    assert_eq!(answer.status, 303, "the sign-in did not succeed: {answer:#?}\n{}", program.stderr());
    let me = journey.browser.get(base.join("/api/me").unwrap()).await.json();
    assert_eq!(me["user"]["user_id"], json!(alice));
    assert_eq!(me["teams"][0]["team_alias"], "Production LLM Evals");
    assert_eq!(me["organizations"][0]["organization_alias"], "Production LLM Evals");

    // The browser's idle connection does not delay the shutdown.
    let ended = program.terminate().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let messages: Vec<String> = ended.log().iter().map(|line| line["message"].to_string()).collect();
    assert!(messages.last().unwrap().contains("stopped"), "the last line of the log: {messages:?}");
    assert!(!messages.iter().any(|message| message.contains("in flight")), "no request was in flight: {messages:?}");
}

#[tokio::test]
async fn serve_stops_on_sigint() {
    let (world, folder, config, _) = alice().await;
    let mut program = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    program.ready().await;
    program.signal("INT");
    assert_eq!(program.end_within(Duration::from_secs(10)).await.code, 0);
}

#[tokio::test]
async fn serve_finishes_signin_in_progress_on_shutdown() {
    let (world, folder, config, alice) = alice().await;
    let mut program = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    let base = program.ready().await;
    let slow = FaultRule::on(Endpoint::Token, Fault::Delay(Duration::from_millis(1_500)));
    world.simulator.fault(slow.token(TokenKind::Delegated));
    let mut journey = Journey::begin(&base).await;
    let callback = journey.pick(&world, alice).await;

    let signing_in = tokio::spawn(async move { (journey.browser.get(callback).await, journey.browser) });
    program.until("request for a token", |_| world.simulator.requests_to(Endpoint::Token).first().map(drop)).await;
    program.signal("TERM");
    let begin = Instant::now();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = reqwest::get(base.join("/healthz").unwrap()).await;
    assert!(late.is_err(), "a new connection was accepted after SIGTERM: {late:?}");

    let (answer, browser) = signing_in.await.unwrap();
    assert_eq!(answer.status, 303, "the sign-in was interrupted: {answer:#?}");
    let session = browser.cookies.keys().any(|name| name == "entraway");
    assert!(session, "no session was created: {:?}", browser.cookies.keys());
    let ended = program.end_within(Duration::from_secs(10)).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(begin.elapsed() < Duration::from_secs(6), "it took {:?} to exit", begin.elapsed());
    assert_eq!(world.sessions_and_runs().await, (1, 1), "the session and the sync record are in the database");
    assert_eq!(world.rows().await.teams_of(alice).len(), 1, "the membership is in the database");
}

#[tokio::test]
async fn two_instances_share_the_generated_cookie_key() {
    let (world, folder, config, alice) = alice().await;
    // Both generate a cookie key in the database at the same moment.
    let config_without_key = CONFIG.replace("session: {cookie_keys: [\"${KEY}\"]}", "session: {}");
    assert_ne!(config_without_key, CONFIG);
    let (_, config) = (config, folder.file("without-key.yaml", &config_without_key));
    let mut one = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    let mut two = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    let (at_one, at_two) = (one.ready().await, two.ready().await);

    let mut journey = Journey::begin(&at_one).await;
    let mut callback = journey.pick(&world, alice).await;
    callback.set_port(at_two.port()).unwrap();
    assert_eq!(journey.browser.get(callback).await.status, 303, "{}\n{}", one.stderr(), two.stderr());
    let me = journey.browser.get(at_one.join("/api/me").unwrap()).await;
    assert_eq!(me.status, 200, "the session is valid at both: {me:#?}");
}

#[tokio::test]
async fn healthcheck_reports_liveness() {
    let (world, folder, config, _) = alice().await;
    let env = environment(&world);
    let mut program = Program::start(&folder, &["serve", "--config", &config], &env);
    let base = program.ready().await;

    let url = base.join("/healthz").unwrap();
    let alive = run(&folder, &["healthcheck", "--url", url.as_str()], &[]).await;
    assert_eq!((alive.code, alive.stdout.as_str()), (0, "alive\n"), "{alive:?}");
    // Uses the port of the configuration.
    let env = with(env, "LISTEN", &format!("0.0.0.0:{}", base.port().unwrap()));
    let alive = run(&folder, &["healthcheck", "--config", &config], &env).await;
    assert_eq!((alive.code, alive.stdout.as_str()), (0, "alive\n"), "{alive:?}");
    // Reads config.yaml in the working directory, as in a container.
    folder.file("config.yaml", CONFIG);
    let alive = run(&folder, &["healthcheck"], &env).await;
    assert_eq!(alive.code, 0, "{alive:?}");

    let missing = run(&folder, &["healthcheck", "--url", base.join("/nothing").unwrap().as_str()], &[]).await;
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("404"), "{missing:?}");
    program.terminate().await;
    let gone = run(&folder, &["healthcheck", "--url", url.as_str()], &[]).await;
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(gone.stderr.contains("the connection failed"), "{gone:?}");
}

#[tokio::test]
async fn healthcheck_ignores_proxy_environment() {
    let (world, folder, config, _) = alice().await;
    let mut program = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    let url = program.ready().await.join("/healthz").unwrap();
    // Many containers set a proxy for the connection to Entra. Nothing listens at this address.
    let proxy = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1".to_owned()));
    let alive = run(&folder, &["healthcheck", "--url", url.as_str()], &proxy).await;
    assert_eq!(alive.code, 0, "{alive:?}");
}

/// On other systems 127.0.0.1 is the only loopback address.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn healthcheck_uses_the_configured_listen_address() {
    let (world, folder, config, _) = alice().await;
    let env = with(environment(&world), "LISTEN", "127.0.0.2:0");
    let mut program = Program::start(&folder, &["serve", "--config", &config], &env);
    let base = program.ready().await;
    let env = with(env, "LISTEN", &format!("127.0.0.2:{}", base.port().unwrap()));
    let alive = run(&folder, &["healthcheck", "--config", &config], &env).await;
    assert_eq!(alive.code, 0, "{alive:?}");
}

#[tokio::test]
async fn home_page_offers_signin() {
    let (world, folder, config, _) = alice().await;
    let mut program = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    let base = program.ready().await;
    let page = Browser::new().get(base).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Sign in with Microsoft"), "{}", page.body);
    assert_eq!(program.terminate().await.code, 0);
}

#[tokio::test]
async fn log_warns_of_missing_trusted_proxies() {
    let (world, folder, _, _) = alice().await;
    let strict = format!("{CONFIG}limits: {{sign_ins_per_address: 1}}\n");
    let config = folder.file("strict.yaml", &strict);
    let mut program = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    let base = program.ready().await;
    let mut browser = Browser::new();
    for _ in 0..2 {
        let login = browser.request(Method::GET, base.join("/sso/login").unwrap());
        browser.send(login.header("X-Forwarded-For", "192.0.2.1")).await;
    }
    let ended = program.terminate().await;
    let log = ended.log();
    let refusals: Vec<_> = log.iter().filter(|line| line["code"] == "too_many_requests").collect();
    assert_eq!(refusals.len(), 1, "one request was rejected, and logged once: {ended:?}");
    assert!(refusals[0]["error"].to_string().contains("server.trusted_proxies"), "{}", refusals[0]);
    assert!(!ended.stderr.contains("a proxy terminates TLS"), "not on a loopback address: {ended:?}");

    let by_https = folder.file("https.yaml", &CONFIG.replace("http://127.0.0.1:1", "https://sso.example.com"));
    let mut program = Program::start(&folder, &["serve", "--config", &by_https], &environment(&world));
    program.ready().await;
    let ended = program.terminate().await;
    let warned = ended.log().iter().filter(|line| line["message"].to_string().contains("trusted_proxies")).count();
    assert_eq!(warned, 1, "{ended:?}");
}
