//! The log at its most verbose level: every failure can be found by its request ID, and no secrets or personal data
//! occur.

use std::collections::BTreeMap;
use std::net::TcpStream;

use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, ObjectId, TokenKind};
use entraway::domain::StoreKind;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::program::{CONFIG, DATABASE_PASSWORD, Ended, Folder, Journey, Program, environment, with};
use super::redis::REDIS_PASSWORD;
use crate::support::redis::free_port;
use crate::support::{Answer, Secrets, World, no_address_is_in};

/// Everything that happened, and what must not be in the log.
#[derive(Default)]
struct Happened {
    secrets: Secrets,
    /// Request IDs with the status of the response.
    requests: BTreeMap<String, StatusCode>,
}

impl Happened {
    fn begun(&mut self, journey: &Journey) {
        self.secrets.add_request(&journey.entra);
        self.secrets.add_cookies(&journey.browser);
    }

    #[track_caller]
    fn answered(&mut self, answer: &Answer, status: u16) {
        assert_eq!(answer.status, status, "{answer:#?}");
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        assert!(self.requests.insert(id, answer.status).is_none(), "each request has its own ID");
    }

    /// Follows a user to Entra and back, up to the callback's response.
    async fn sign_in(&mut self, world: &World, base: &Url, person: ObjectId, status: u16) -> (Journey, Url, Answer) {
        let mut journey = Journey::begin(base).await;
        self.begun(&journey);
        let callback = journey.pick(world, person).await;
        self.secrets.add_callback(&callback);
        let answer = journey.browser.get(callback.clone()).await;
        self.answered(&answer, status);
        self.secrets.add_cookies(&journey.browser);
        (journey, callback, answer)
    }
}

#[tokio::test]
async fn log_has_each_failure_once_and_no_secret_or_email() {
    the_log_is_clean(StoreKind::Native, CONFIG).await;
}

async fn the_log_is_clean(kind: StoreKind, yaml: &str) -> Ended {
    let world = World::of(kind).await;
    let alice = world.simulator.edit(|directory| {
        let alice = directory.person("Alice Arden", |_| {});
        let evals = directory.group("Production LLM Evals");
        directory.put(alice, evals);
        directory.assign(evals);
        alice
    });
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", yaml);
    let env = environment(&world);
    let args = ["serve", "--config", &config, "--log-level", "debug", "--log-format", "json"];
    let mut program = Program::start(&folder, &args, &env);
    let base = program.ready().await;
    let mut happened = Happened::default();
    let of_env = |name| env.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    for (what, secret) in [
        ("client secret", of_env("SECRET")),
        ("cookie key", of_env("KEY")),
        ("database password", DATABASE_PASSWORD.to_owned()),
        ("password of Redis", REDIS_PASSWORD.to_owned()),
        ("address of the database", of_env("DB")),
        ("e-mail address", "alice.arden".to_owned()),
        ("name of a person", "Alice".to_owned()),
    ] {
        happened.secrets.add(what, secret);
    }

    all_goes_well(&world, &base, alice, &mut happened).await;
    entra_says_no(&world, &base, alice, &mut happened).await;
    graph_says_no(&world, &base, alice, &mut happened).await;
    the_browser_is_wrong(&world, &base, alice, &mut happened).await;

    let ended = program.terminate().await;
    assert_eq!(ended.code, 0);
    assert_eq!(ended.stdout, "", "the log goes to standard error");
    let log = ended.log();
    assert!(log.iter().any(|line| line["level"] == "DEBUG"), "the log was not at its most verbose level");
    happened.secrets.are_not_in("the log", &ended.stderr);
    no_address_is_in("the log", &ended.stderr);
    assert_requests_told(&log, &happened);
    ended
}

async fn all_goes_well(world: &World, base: &Url, alice: ObjectId, happened: &mut Happened) {
    let (mut journey, callback, _) = happened.sign_in(world, base, alice, 303).await;
    for path in ["/", "/api/me", "/healthz", "/readyz", "/sso/login?return_to=/api/me"] {
        let answer = journey.browser.get(base.join(path).unwrap()).await;
        happened.answered(&answer, if path.starts_with("/sso") { 303 } else { 200 });
        happened.secrets.add_cookies(&journey.browser);
    }
    // Personal data in paths and queries, of existing and of missing pages.
    for (path, status) in [
        ("/teams", 200),
        ("/syncs", 200),
        ("/people?search=alice.arden@contoso-sim.example", 200),
        ("/api/people?search=alice.arden%40contoso-sim.example", 200),
        ("/people/alice.arden@contoso-sim.example", 404),
        ("/people/alice.arden%40contoso-sim.example", 404),
        ("/api/people/alice.arden@contoso-sim.example", 404),
        ("/people?after=alice.arden@contoso-sim.example", 400),
        ("/people?alice.arden@contoso-sim.example=1", 400),
    ] {
        happened.answered(&journey.browser.get(base.join(path).unwrap()).await, status);
    }
    // The same code again: the login state is consumed, and the browser is signed in.
    happened.answered(&journey.browser.get(callback).await, 303);
    let logout = journey.browser.request(Method::POST, base.join("/sso/logout").unwrap());
    let answer = journey.browser.send(logout.header("Sec-Fetch-Site", "same-origin")).await;
    happened.answered(&answer, 303);
}

async fn entra_says_no(world: &World, base: &Url, alice: ObjectId, happened: &mut Happened) {
    // A token for another login state, and a text that is not a token.
    world.simulator.next_id_token(|token| _ = token.claims.insert("nonce".to_owned(), json!("another")));
    let (_, _, answer) = happened.sign_in(world, base, alice, 403).await;
    assert!(answer.body.contains("id_token_nonce"), "{answer:#?}");
    world.simulator.next_id_token(|token| token.raw = Some("eyJhbGciOiJub25lIn0.eyJvaWQiOiJ4In0.".to_owned()));
    happened.sign_in(world, base, alice, 403).await;
    world.simulator.clear_faults();

    // Error descriptions with personal data, like Entra's.
    let described = "AADSTS50020: User account 'eve@evil.example' from identity provider 'live.com' does not exist";
    for (error, status) in [("access_denied", 403), ("invalid_request", 403), ("server_error", 503)] {
        let mut journey = Journey::begin(base).await;
        happened.begun(&journey);
        let callback = journey.answer(&[("error", error), ("error_description", described)]);
        happened.answered(&journey.browser.get(callback).await, status);
    }
    let refused = |error: &str| EntraError::new(error, 50034, "The user account eve@evil.example does not exist.");
    for (error, status) in [("invalid_grant", 403), ("invalid_client", 503), ("temporarily_unavailable", 503)] {
        let fault = FaultRule::on(Endpoint::Token, Fault::Entra(refused(error)));
        world.simulator.fault(fault.token(TokenKind::Delegated).times(1));
        happened.sign_in(world, base, alice, status).await;
    }
    for fault in [Fault::Html, Fault::MalformedJson, Fault::CutBody] {
        world.simulator.fault(FaultRule::on(Endpoint::Token, fault).token(TokenKind::Delegated).times(1));
        happened.sign_in(world, base, alice, 503).await;
    }
    world.simulator.clear_faults();
}

async fn graph_says_no(world: &World, base: &Url, alice: ObjectId, happened: &mut Happened) {
    for endpoint in [Endpoint::AssignedTo, Endpoint::MemberOf] {
        for fault in [Fault::status(403), Fault::MalformedJson, Fault::ForeignNextLink("https://evil.example/x".into())]
        {
            world.simulator.clear_faults();
            world.simulator.fault(FaultRule::on(endpoint, fault));
            happened.sign_in(world, base, alice, 303).await;
        }
    }
    world.simulator.clear_faults();
    // The app-only token is rejected: a warning, and no failure of the request.
    let fault =
        FaultRule::on(Endpoint::Token, Fault::Entra(EntraError::new("invalid_client", 7_000_222, "a@b.example")));
    world.simulator.fault(fault.token(TokenKind::AppOnly));
    happened.sign_in(world, base, alice, 303).await;
    world.simulator.clear_faults();
}

async fn the_browser_is_wrong(world: &World, base: &Url, alice: ObjectId, happened: &mut Happened) {
    let mut journey = Journey::begin(base).await;
    happened.begun(&journey);
    let callback = journey.pick(world, alice).await;
    happened.secrets.add_callback(&callback);
    // Another browser, a reused code, no code, and a `return_to` that leads elsewhere.
    let mut other = Journey::begin(base).await;
    happened.begun(&other);
    happened.answered(&other.browser.get(callback.clone()).await, 400);
    let twice = Url::parse(&format!("{callback}&code=C0de-number-two")).unwrap();
    happened.secrets.add("code", "C0de-number-two");
    happened.answered(&journey.browser.get(twice).await, 400);
    happened.answered(&journey.browser.get(journey.answer(&[])).await, 400);
    for (path, status) in [
        ("/sso/login?return_to=https://evil.example/me@home", 400),
        // Without a session, a request does not learn whether this page exists.
        ("/people/alice.arden@contoso-sim.example", 401),
        ("/people/alice.arden%40contoso-sim.example", 401),
        ("/people?search=alice.arden@contoso-sim.example", 401),
        ("/no/such/page?session=S3cretInAQuery", 404),
        ("/api/me?token=S3cretInAQuery", 401),
    ] {
        happened.answered(&other.browser.get(base.join(path).unwrap()).await, status);
    }
    happened.secrets.add("query", "S3cretInAQuery");
    let logout = other.browser.request(Method::POST, base.join("/sso/logout").unwrap());
    let answer = other.browser.send(logout.header("Sec-Fetch-Site", "cross-site")).await;
    happened.answered(&answer, 403);
    let answer = other.browser.send(other.browser.request(Method::POST, base.join("/sso/login").unwrap())).await;
    happened.answered(&answer, 405);
}

fn assert_requests_told(log: &[Value], happened: &Happened) {
    let id = |line: &Value| line["span"]["request_id"].as_str().map(str::to_owned);
    for (request, status) in &happened.requests {
        let lines: Vec<&Value> = log.iter().filter(|line| id(line).as_ref() == Some(request)).collect();
        let answered: Vec<&&Value> = lines.iter().filter(|line| line["message"] == "answered").collect();
        assert_eq!(answered.len(), 1, "one line for the response {status} to request {request}: {lines:#?}");
        assert_eq!(answered[0]["status"], status.as_u16(), "{answered:#?}");
        let loud = lines.iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR").count();
        if status.is_client_error() || status.is_server_error() {
            let expected = match status.as_u16() {
                // Every sign-in starts with a 401, so it is logged at debug level.
                401 => "DEBUG",
                // Any client can cause these.
                404 => "INFO",
                ..500 => "WARN",
                _ => "ERROR",
            };
            let times = usize::from(expected == "WARN" || expected == "ERROR");
            assert_eq!(loud, times, "request {request} failed with {status}, which is logged this often: {lines:#?}");
            let failure = lines.iter().find(|line| line["code"].is_string()).expect("a code");
            assert_eq!(failure["level"], expected, "{failure:#}");
            assert_eq!(failure["path"], answered[0]["path"], "the failure's own line has the path: {failure:#}");
        }
    }
    for line in log.iter().filter(|line| line["message"] == "answered" || line["message"] == "signed in") {
        assert!(id(line).is_some_and(|id| id.len() == 36), "a request's log line without its ID: {line:#}");
    }
    let unknown = log.iter().filter(|line| line["message"].to_string().contains("failed to read a list of groups"));
    assert!(unknown.clone().count() >= 6, "Graph's errors are logged");
    assert!(unknown.clone().all(|line| id(line).is_some()), "each has the request ID of its sign-in");
}

#[tokio::test]
async fn human_log_has_no_color_without_a_terminal() {
    let world = World::new().await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let env = with(environment(&world), "ORGS", "false");
    let mut program = Program::start(&folder, &["serve", "--config", &config, "--log-format", "human"], &env);
    program.until("line of readiness", |program| program.stderr().contains("ready for sign-ins").then_some(())).await;
    let ended = program.terminate().await;
    assert!(!ended.stderr.contains('\u{1b}') && !ended.stderr.starts_with('{'), "{}", ended.stderr);
    assert!(ended.stderr.contains(" INFO "), "{}", ended.stderr);
}

/// Requests a missing page, fails a sign-in, and makes Microsoft unavailable. Returns the log at this level and the
/// request IDs of the three responses.
async fn log_at(level: &str) -> (Vec<Value>, [String; 3]) {
    let world = World::new().await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let args = ["serve", "--config", &config, "--log-level", level, "--log-format", "json"];
    // Below "info", no line reports the address on which the program listens.
    let listen = format!("127.0.0.1:{}", free_port());
    let base = Url::parse(&format!("http://{listen}")).unwrap();
    let mut program = Program::start(&folder, &args, &with(environment(&world), "LISTEN", &listen));
    program.until("connection", |_| TcpStream::connect(&listen).ok()).await;
    let mut journey = Journey::begin(&base).await;
    let away = journey.answer(&[("error", "server_error")]);
    let urls = [base.join("/no/such/page?token=x").unwrap(), base.join("/sso/callback?state=x").unwrap(), away];
    let mut ids = Vec::new();
    for (url, status) in urls.into_iter().zip([404, 400, 503]) {
        let answer = journey.browser.get(url).await;
        assert_eq!(answer.status, status, "{answer:#?}");
        ids.push(answer.headers["x-request-id"].to_str().unwrap().to_owned());
    }
    (program.terminate().await.log(), ids.try_into().unwrap())
}

#[tokio::test]
async fn log_lines_carry_the_request_id_at_every_level() {
    for level in ["error", "warn", "warn,entraway=warn", "info"] {
        let (log, [missing, failed, away]) = log_at(level).await;
        let lines_of = |id: &str| {
            let of_request = log.iter().filter(|line| line["span"]["request_id"] == id && line["code"].is_string());
            of_request.map(|line| (line["level"].clone(), line["path"].clone())).collect::<Vec<_>>()
        };
        let line = |level: &str, path: &str| vec![(json!(level), json!(path))];
        assert_eq!(lines_of(&away), line("ERROR", "/sso/callback"), "{level}: {log:#?}");
        let expected = if level == "error" { Vec::new() } else { line("WARN", "/sso/callback") };
        assert_eq!(lines_of(&failed), expected, "{level}: {log:#?}");
        let expected = if level == "info" { line("INFO", "/no/such/page") } else { Vec::new() };
        assert_eq!(lines_of(&missing), expected, "{level}: a missing page is no warning: {log:#?}");
    }
}

/// With a real Redis.
mod slow {
    use entraway::domain::StoreKind;

    use super::super::program::CONFIG;
    use super::super::redis::{self, address};
    use super::the_log_is_clean;

    #[tokio::test]
    async fn log_has_no_secret_or_email_with_litellm_store_and_redis() {
        let redis = redis::start();
        // The second one is unreachable, which each sign-in that writes reports.
        for url in [address(redis.port), address(1)] {
            let yaml = format!("{CONFIG}store: litellm\nlitellm: {{redis_url: \"{url}\"}}\n");
            let ended = the_log_is_clean(StoreKind::LiteLlm, &yaml).await;
            let told = ended.log().iter().any(|line| line.to_string().contains("Redis cannot be reached"));
            assert_eq!(told, url == address(1), "the Redis at {url} is reported: {ended:?}");
        }
    }
}
