//! Many concurrent sign-ins during a fault, and assertions that none is stored partially.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use entra_simulator::{EntraSimulator, GroupId, ObjectId};
use entraway::config::Config;
use reqwest::Method;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::scene::assigned;
pub(super) use crate::support::scene::{LONG, until};
use crate::support::{Answer, Browser, LiteLlm, Service, World, join_all};

/// Number of concurrent sign-ins. More than a test's service has database connections.
const AT_A_TIME: usize = 6;

/// Pause after a failure. Limits the number of new users during an outage.
const PAUSE: Duration = Duration::from_millis(300);

/// URL of the service. `None` while it restarts.
pub(super) type Place = Arc<Mutex<Option<Url>>>;

/// Outcome of a sign-in.
#[derive(Debug, PartialEq)]
pub(super) enum Came {
    In,
    Refused {
        status: u16,
        code: String,
        says_when: bool,
    },
    /// The connection to the service failed at some step.
    Broken,
}

/// A user's first sign-in.
pub(super) struct Try {
    pub(super) person: ObjectId,
    pub(super) groups: BTreeSet<GroupId>,
    pub(super) browser: Browser,
    pub(super) came: Came,
}

impl Try {
    /// Signs in a new user with the common group and a new group. Tries once.
    pub(super) async fn of_new_user(simulator: &EntraSimulator, base: &Url, shared_group: GroupId) -> Self {
        Self::once(simulator, base, shared_group, 1).await
    }

    /// Signs in a new user. Every `every`-th user is in a new group, too.
    async fn once(simulator: &EntraSimulator, base: &Url, shared_group: GroupId, every: usize) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (person, groups) = simulator.edit(|directory| {
            let person = directory.person(&format!("Person {number}"), |_| {});
            let mut groups = BTreeSet::from([shared_group]);
            if number.is_multiple_of(every) {
                let own = directory.group(&format!("Group {number}"));
                directory.assign(own);
                groups.insert(own);
            }
            for group in &groups {
                directory.put(person, *group);
            }
            (person, groups)
        });
        let mut this = Self { person, groups, browser: Browser::new(), came: Came::Broken };
        this.again(simulator, base).await;
        this
    }

    /// Repeats the sign-in with a new login state.
    pub(super) async fn again(&mut self, simulator: &EntraSimulator, base: &Url) {
        self.came = match sign_in(&mut self.browser, simulator, base, self.person).await {
            Ok(answer) if answer.status == 303 => Came::In,
            Ok(answer) => Came::Refused {
                status: answer.status.as_u16(),
                code: answer.code(),
                says_when: answer.headers.contains_key("retry-after"),
            },
            Err(_) => Came::Broken,
        };
    }
}

/// A complete sign-in through Entra, up to the first failure.
async fn sign_in(
    browser: &mut Browser,
    simulator: &EntraSimulator,
    base: &Url,
    person: ObjectId,
) -> reqwest::Result<Answer> {
    let login = browser.try_send(browser.request(Method::GET, base.join("/sso/login").unwrap())).await?;
    if login.status != 303 {
        return Ok(login);
    }
    let entra = simulator.pick_url(&login.location(), person);
    let mut callback = Answer::read(browser.request(Method::GET, entra)).await.location();
    callback.set_port(base.port()).unwrap();
    browser.try_send(browser.request(Method::GET, callback)).await
}

/// Disables the rate limit, because all users have the same address.
pub(super) fn any_number(config: &mut Config) {
    config.limits.sign_ins_per_address = None;
}

/// Signs in new users concurrently until it is ended.
pub(super) struct Storm {
    workers: JoinSet<Vec<Try>>,
    stop: CancellationToken,
    inside: Arc<AtomicUsize>,
    outside: Arc<AtomicUsize>,
}

impl Storm {
    /// Starts against one service with a fixed address.
    pub(super) fn at(world: &World, service: &Service, shared_group: GroupId) -> Self {
        Self::begin(&world.simulator, &Arc::new(Mutex::new(Some(service.at("/")))), shared_group)
    }

    pub(super) fn begin(simulator: &EntraSimulator, place: &Place, shared_group: GroupId) -> Self {
        let (inside, outside) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (mut workers, stop) = (JoinSet::new(), CancellationToken::new());
        for _ in 0..AT_A_TIME {
            let (simulator, place, stop) = (simulator.clone(), place.clone(), stop.clone());
            let (inside, outside) = (inside.clone(), outside.clone());
            workers.spawn(async move {
                let mut tries = Vec::new();
                while !stop.is_cancelled() {
                    let Some(at) = place.lock().unwrap().clone() else {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    };
                    let one = Try::once(&simulator, &at, shared_group, 3).await;
                    if one.came == Came::In {
                        inside.fetch_add(1, Ordering::Relaxed);
                    } else {
                        outside.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(PAUSE).await;
                    }
                    tries.push(one);
                }
                tries
            });
        }
        Self { workers, stop, inside, outside }
    }

    /// Waits for `count` more successful sign-ins.
    pub(super) async fn until_more_are_in(&self, count: usize) {
        let before = self.inside.load(Ordering::Relaxed);
        until("more sign-ins succeed", async || self.inside.load(Ordering::Relaxed) >= before + count).await;
    }

    /// Waits for `count` more refused sign-ins.
    pub(super) async fn until_more_are_refused(&self, count: usize) {
        let before = self.outside.load(Ordering::Relaxed);
        until("more sign-ins are refused", async || self.outside.load(Ordering::Relaxed) >= before + count).await;
    }

    /// Waits for running sign-ins. Returns all results.
    pub(super) async fn end(self) -> Vec<Try> {
        self.stop.cancel();
        self.workers.join_all().await.into_iter().flatten().collect()
    }
}

/// A group that all users are in.
pub(super) fn everybodys_group(world: &World) -> GroupId {
    let [group] = assigned(world, ["Everybody"]);
    group
}

/// Asserts that each refusal is `database_unavailable` with a Retry-After.
#[track_caller]
pub(super) fn all_refusals_are_for_want_of_the_database(tries: &[Try]) {
    for one in tries {
        match &one.came {
            Came::In => {}
            Came::Refused { status: 503, code, says_when: true }
                if code == "database_unavailable" || code == "busy" => {}
            other => panic!("{} was neither signed in nor asked to retry: {other:?}", one.person),
        }
    }
}

/// Asserts that successful sign-ins are complete in every table, and others complete or absent.
pub(super) async fn nothing_is_half(world: &World, tries: &[Try], when: &str) {
    let rows = world.rows().await;
    let keys = |rows: &std::collections::BTreeMap<String, serde_json::Value>| rows.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&rows.organizations), keys(&rows.teams), "{when}: each group has an organization and a team");
    for Try { person, groups, came, .. } in tries {
        let theirs: Vec<String> = groups.iter().map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect();
        let user = rows.users.get(&person.to_string());
        let expected = if user.is_some() { theirs } else { Vec::new() };
        assert!(user.is_some() || *came != Came::In, "{when}: {person} has a session and no row");
        assert_eq!(rows.teams_of(*person), expected, "{when}: teams of {person} ({came:?})");
        assert_eq!(rows.organizations_of(*person), expected, "{when}: organizations of {person} ({came:?})");
        let known = user.map(|user| user["object_id"].as_str().unwrap().to_owned());
        assert!(known.is_none_or(|id| id == person.to_string()), "{when}: wrong object ID in the row: {user:?}");
    }
    let mut halves = vec![(
        "sessions without sync records, or sync records without sessions",
        "select count(*) from (select user_id, count(*) from entraway.sessions group by 1) s
         full join (select user_id, count(*) from entraway.sync_runs where outcome = 'signed_in' group by 1) r
              using (user_id, count) where s is null or r is null",
    )];
    halves.push((
        "teams without provenance",
        "select count(*) from {teams} where team_id not in (select team_id from entraway.made_teams)",
    ));
    if world.kind == LiteLlm {
        halves.push((
            "budgets without an organization",
            r#"select count(*) from public."LiteLLM_BudgetTable" b
               where not exists (select from {organizations} o where o.budget_id = b.budget_id)"#,
        ));
    }
    for (what, sql) in halves {
        let sql = sqlx::AssertSqlSafe(world.statement(sql));
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
        assert_eq!(count, 0, "{when}: {what}");
    }
}

/// Retries each refused sign-in, which must succeed, and asserts that all are complete.
pub(super) async fn everybody_gets_in_now(world: &World, base: &Url, tries: &mut [Try]) {
    for some in tries.chunks_mut(AT_A_TIME) {
        let late = some.iter_mut().filter(|one| one.came != Came::In);
        join_all(late.map(async |one| {
            one.again(&world.simulator, base).await;
            assert_eq!(one.came, Came::In, "{} retries after recovery", one.person);
        }))
        .await;
    }
    nothing_is_half(world, tries, "in the end").await;
}

/// Pseudorandom numbers. Failures print the seed.
pub(super) struct Chance {
    pub(super) seed: u64,
    state: u64,
}

impl Chance {
    pub(super) fn new() -> Self {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { seed, state: seed | 1 }
    }

    /// A random duration up to `most`.
    pub(super) fn time(&mut self, most: Duration) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        most.mul_f64(f64::from(u32::try_from(self.state >> 32).unwrap()) / f64::from(u32::MAX))
    }
}
