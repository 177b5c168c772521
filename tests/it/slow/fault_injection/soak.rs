//! Users sign in, send requests and sign out while random faults occur: no data is lost and no resource leaks. Runs
//! twenty seconds in the test run; `script/soak` runs it longer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use entra_simulator::{Endpoint, Fault, FaultRule, GroupId, ObjectId};
use pg_sandbox::{Durability, PrivateCluster};
use reqwest::header::COOKIE;
use reqwest::{Method, RequestBuilder};
use tokio::time::sleep;
use url::Url;

use super::haproxy::{HaProxy, LIMIT, replaced, settings};
use super::leak_check::{Sample, findings};
use super::postgres_restart::{Dice, Restarted, restart_postgres};
use crate::cli::program::{CONFIG, Folder, Program, environment, with};
use crate::support::redis::free_port;
use crate::support::scene::{many_assigned, person};
use crate::support::{Answer, Browser, Native, World, join_all};

/// Time after a recorded kill during which failed requests are expected.
const KILLING: Duration = Duration::from_secs(2);
const SERVERS: [&str; 3] = ["entraway/one", "entraway/two", "entraway/three"];

/// Number of concurrent users.
const PEOPLE: usize = 6;

/// Reads a number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    let Some(text) = std::env::var_os(name) else { return otherwise };
    text.to_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{name} is not a number: {}", text.display()))
}

struct Soak {
    world: World,
    cluster: Restarted,
    base: Url,
    over: AtomicBool,
    /// When a replica was last killed. Responses may be lost then, and a callback may be sent twice.
    killed: Mutex<Option<Instant>>,
    counts: [AtomicUsize; 4],
}

/// Counted events.
#[derive(Clone, Copy)]
enum What {
    SignedIn,
    Asked,
    Left,
    Refused,
}

impl Soak {
    fn count(&self, what: What) {
        self.counts[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn counted(&self, what: What) -> usize {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    /// Counts a refusal and waits a little.
    async fn refused(&self) {
        self.count(What::Refused);
        sleep(Duration::from_millis(300)).await;
    }

    /// Whether a replica was killed since then. Its response is lost; where HAProxy retries the request, the login
    /// state may already be consumed.
    fn killed_since(&self, asked: Instant) -> bool {
        self.killed.lock().unwrap().is_some_and(|at| at + KILLING > asked)
    }

    fn at(&self, path: &str) -> Url {
        self.base.join(path).unwrap()
    }

    /// Sends a request as a browser. `None` if it was refused temporarily, which is counted.
    async fn send(&self, browser: &mut Browser, request: RequestBuilder) -> Result<Option<Answer>, String> {
        let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = async {
            let response = request.header(COOKIE, cookies.join("; ")).send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok::<_, reqwest::Error>(Answer { status, headers, body: response.text().await? })
        };
        let asked = Instant::now();
        match answer.await {
            Ok(answer) if answer.status == 503 => {
                self.refused().await;
                let no_replica_is_ready = answer.body.contains("No server is available");
                if no_replica_is_ready || answer.headers.contains_key("retry-after") {
                    Ok(None)
                } else {
                    Err(format!("a 503 without Retry-After: {answer:#?}"))
                }
            }
            Ok(answer) if answer.status == 502 && self.killed_since(asked) => {
                self.refused().await;
                Ok(None)
            }
            Ok(answer) => {
                answer.keep_cookies(&mut browser.cookies);
                Ok(Some(answer))
            }
            Err(_) if self.killed_since(asked) => {
                self.refused().await;
                Ok(None)
            }
            Err(error) => Err(format!("no response although no replica was killed: {error}")),
        }
    }

    async fn get(&self, browser: &mut Browser, url: Url) -> Result<Option<Answer>, String> {
        let request = browser.request(Method::GET, url);
        self.send(browser, request).await
    }

    /// Signs a user in with a new browser. `None` if the sign-in was refused temporarily.
    async fn sign_in(&self, person: ObjectId) -> Result<Option<Browser>, String> {
        let mut browser = Browser::new();
        let Some(begun) = self.get(&mut browser, self.at("/sso/login")).await? else { return Ok(None) };
        if begun.status != 303 {
            return Err(format!("a sign-in did not begin: {begun:#?}"));
        }
        let picked =
            browser.request(Method::GET, self.world.simulator.pick_url(&begun.location(), person)).send().await;
        let callback = picked.unwrap().headers()["location"].to_str().unwrap().parse().unwrap();
        let asked = Instant::now();
        let Some(back) = self.get(&mut browser, callback).await? else { return Ok(None) };
        match back.status.as_u16() {
            303 => Ok(Some(browser)),
            400 if back.code() == "attempt_used" && self.killed_since(asked) => {
                self.refused().await;
                Ok(None)
            }
            _ => Err(format!("a sign-in ended with {} {}", back.status, back.code_or_nothing())),
        }
    }

    /// Signs in, sends requests, signs out or keeps the session, and starts again. `stays` keeps its session
    /// throughout.
    async fn lives(&self, number: u64, people: &[ObjectId], stays: &Browser) -> Vec<String> {
        let (mut dice, mut stays) = (Dice::new(number), stays.clone());
        let mut wrong = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            let person = people[dice.below(people.len())];
            let all_well = async {
                self.asks(&mut stays).await?;
                self.visit(person, &mut dice).await
            };
            if let Err(error) = all_well.await {
                wrong.push(error);
            }
            sleep(Duration::from_millis(20)).await;
        }
        wrong
    }

    async fn asks(&self, browser: &mut Browser) -> Result<(), String> {
        let Some(answer) = self.get(browser, self.at("/auth/verify")).await? else { return Ok(()) };
        self.count(What::Asked);
        if answer.status == 200 { Ok(()) } else { Err(format!("an existing session got {}", answer.status)) }
    }

    async fn visit(&self, person: ObjectId, dice: &mut Dice) -> Result<(), String> {
        let Some(mut browser) = self.sign_in(person).await? else { return Ok(()) };
        self.count(What::SignedIn);
        for _ in 0..dice.below(20) {
            self.asks(&mut browser).await?;
            sleep(Duration::from_millis(10)).await;
        }
        if dice.below(2) == 0 {
            let request = browser.request(Method::POST, self.at("/sso/logout"));
            let request = request.header("Origin", self.base.origin().ascii_serialization());
            match self.send(&mut browser, request).await? {
                Some(answer) if answer.status == 303 => self.count(What::Left),
                Some(answer) => {
                    return Err(format!("a sign-out ended with {} {}", answer.status, answer.code_or_nothing()));
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// Causes one fault after the other until the time is over.
async fn breaks(
    soak: &Soak,
    programs: &mut [Option<Program>],
    start: impl AsyncFn(usize) -> Program,
    seed: u64,
    until: Instant,
) {
    let mut dice = Dice::new(seed);
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    while Instant::now() < until {
        let endpoint = [Endpoint::MemberOf, Endpoint::AssignedTo, Endpoint::Token][dice.below(3)];
        let what = match dice.below(6) {
            0 => {
                let fault = Fault::Status { status: 429, retry_after: Some(1), body: None };
                soak.world.simulator.fault(FaultRule::on(endpoint, fault).times(1 + dice.below(20)));
                "429 of Microsoft's"
            }
            1 => {
                let fault = Fault::Status { status: 503, retry_after: None, body: None };
                soak.world.simulator.fault(FaultRule::on(endpoint, fault).times(1 + dice.below(20)));
                "503 of Microsoft's"
            }
            2 => {
                restart_postgres(&soak.cluster.0).await;
                "restart of Postgres"
            }
            3 => {
                let cut =
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'entraway%'";
                // The test's own connection may have been ended by a restart.
                let _ = sqlx::raw_sql(cut).execute(&soak.world.pool).await;
                "cut of all connections"
            }
            // The first replica is measured and therefore kept.
            4 => {
                let n = 1 + dice.below(2);
                *soak.killed.lock().unwrap() = Some(Instant::now());
                drop(programs[n].take());
                programs[n] = Some(start(n).await);
                "kill of a replica"
            }
            _ => {
                let n = 1 + dice.below(2);
                let old = programs[n].take().unwrap();
                old.signal("TERM");
                assert_eq!(old.end_within(LIMIT).await.code, 0, "a replica did not shut down cleanly");
                programs[n] = Some(start(n).await);
                "end of a replica"
            }
        };
        *done.entry(what).or_default() += 1;
        sleep(Duration::from_millis(500 + u64::try_from(dice.below(1_500)).unwrap())).await;
    }
    println!("broken: {done:?}");
}

/// Samples the first replica twice a second.
async fn watches(soak: &Soak, pid: u32) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !soak.over.load(Ordering::Relaxed) {
        samples.extend(Sample::take(pid, &soak.world.pool).await);
        sleep(Duration::from_millis(500)).await;
    }
    samples
}

#[tokio::test]
async fn random_faults_lose_nothing_and_leak_nothing() {
    let seconds = setting("ENTRAWAY_SOAK_SECONDS", 20);
    let seed = setting("ENTRAWAY_SOAK_SEED", u64::from(uuid::Uuid::new_v4().as_fields().0));
    println!("soak: {seconds} s; to repeat: ENTRAWAY_SOAK_SEED={seed}");
    let cluster = Restarted(PrivateCluster::start(Durability::Fast).await.unwrap());
    cluster.0.create_database("soak", None).await.unwrap();
    let url = cluster.0.url("soak");
    let world = World::on(Native, url.clone(), &url, "soak".to_owned()).await;
    let groups = many_assigned(&world, 20);
    let people: Vec<(ObjectId, Vec<GroupId>)> = (0..60)
        .map(|n| {
            let theirs: Vec<GroupId> = (0..5).map(|step| groups[(n + 3 * step) % 20]).collect();
            (person(&world, &format!("Person {n}"), &theirs), theirs)
        })
        .collect();

    let (port, ports) = (free_port(), [free_port(), free_port(), free_port()]);
    let config = replaced(
        CONFIG.to_owned(),
        &[
            ("http://127.0.0.1:1\"", &format!("http://127.0.0.1:{port}\", trusted_proxies: [\"127.0.0.1/32\"]")),
            ("\nsync:", "\nlimits: {sign_ins_per_address: 0}\nsync:"),
        ],
    );
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", &config);
    let env = environment(&world);
    let start = async |n: usize| {
        let env = with(env.clone(), "LISTEN", &format!("127.0.0.1:{}", ports[n]));
        let mut program = Program::start(&folder, &["serve", "--config", &config], &env);
        program.ready().await;
        program
    };
    let mut programs = [Some(start(0).await), Some(start(1).await), Some(start(2).await)];
    let measured = programs[0].as_ref().unwrap().pid();
    let settings = replaced(
        settings("Several replicas"),
        &[
            ("bind :8080", &format!("bind 127.0.0.1:{port}")),
            ("entraway-1:8080", &format!("127.0.0.1:{}", ports[0])),
            ("entraway-2:8080", &format!("127.0.0.1:{}", ports[1])),
            ("entraway-3:8080", &format!("127.0.0.1:{}", ports[2])),
        ],
    );
    let mut proxy = HaProxy::start(&settings, &SERVERS).await;
    let base = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let soak = Soak {
        world,
        cluster,
        base,
        over: AtomicBool::new(false),
        killed: Mutex::default(),
        counts: Default::default(),
    };

    let mut stay = Vec::new();
    for n in 0..PEOPLE {
        let stays = person(&soak.world, &format!("Stays {n}"), &groups[..2]);
        stay.push(soak.sign_in(stays).await.unwrap().expect("no fault so far"));
    }
    let ids: Vec<ObjectId> = people.iter().map(|(person, _)| *person).collect();
    let lives = join_all(stay.iter().zip(seed + 1..).map(|(stays, number)| soak.lives(number, &ids, stays)));
    let breaking = async {
        let until = Instant::now() + Duration::from_secs(seconds);
        breaks(&soak, &mut programs, start, seed, until).await;
        soak.world.simulator.clear_faults();
        // After the last fault, the replicas recover without a restart.
        for server in SERVERS {
            proxy.until(server, "UP").await;
        }
        // Requires a minimum load even on a slow machine: one sign-in and five requests per second. Two cores reach ten
        // and a hundred.
        let (sign_ins, questions) = (usize::try_from(seconds).unwrap(), usize::try_from(5 * seconds).unwrap());
        let begin = Instant::now();
        while soak.counted(What::SignedIn) < sign_ins || soak.counted(What::Asked) < questions {
            assert!(begin.elapsed() < LIMIT, "seed {seed}: too few sign-ins and requests succeed");
            sleep(Duration::from_millis(50)).await;
        }
        soak.over.store(true, Ordering::Relaxed);
    };
    let (wrong, (), samples) = tokio::join!(lives, breaking, watches(&soak, measured));

    let [signed_in, asked, left, refused] =
        [What::SignedIn, What::Asked, What::Left, What::Refused].map(|what| soak.counted(what));
    println!("{signed_in} sign-ins, {asked} requests, {left} sign-outs, {refused} temporary refusals");
    assert!(refused < signed_in + asked, "seed {seed}: more refusals than successes");
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    for person in &ids {
        let answer = soak.sign_in(*person).await;
        assert!(matches!(answer, Ok(Some(_))), "seed {seed}: {person} cannot sign in afterwards: {:?}", answer.err());
    }
    let rows = soak.world.rows().await;
    assert_eq!((rows.organizations.len(), rows.teams.len()), (20, 20), "seed {seed}: organizations and teams");
    for (person, groups) in &people {
        let mut expected: Vec<String> = groups.iter().map(ToString::to_string).collect();
        expected.sort();
        assert_eq!(rows.teams_of(*person), expected, "seed {seed}: teams of {person}");
    }
    println!("{:?} … {:?}", samples.first(), samples.last());
    let grown = findings(&samples);
    assert!(grown.is_empty(), "seed {seed}: {grown:#?}");
    let programs = programs.into_iter().flatten();
    for program in programs {
        assert!(!program.stderr().contains("panicked"), "seed {seed}: {}", program.stderr());
    }
}
