//! A real PgBouncer in transaction mode, with the settings of docs/how-to/make-highly-available.md and fewer server
//! connections than our instances have client connections.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use entra_simulator::{GroupId, ObjectId};
use reqwest::Method;
use rstest::rstest;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use crate::cli::program::{CONFIG, Folder, Journey, Program, environment, run};
use crate::docs::markdown::document;
use crate::support::redis::free_port;
use crate::support::scene::{many_assigned, person};
use crate::support::{Answer, Browser, LiteLlm, Native, Service, StoreKind, World, cluster, join_all};

/// Number of PgBouncer's connections to the database. An instance has five connections to PgBouncer.
const POOL: usize = 3;

/// Number of concurrent sign-ins.
const LANES: usize = 10;

/// Generous time limit, because the machine may be busy.
const LIMIT: Duration = Duration::from_mins(1);

/// A PgBouncer in front of one world's database. Stopped on drop.
struct PgBouncer {
    port: u16,
    folder: Folder,
    process: Child,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl PgBouncer {
    /// Starts PgBouncer with the page's settings and `more`.
    async fn start(world: &World, more: &str) -> Self {
        let page = document("docs/how-to/make-highly-available.md");
        let mut blocks = page.blocks().into_iter().filter(|block| block.language == "ini");
        let settings = blocks.next().expect("the page has PgBouncer's settings").text;
        let folder = Folder::new();
        let users = folder.file("users", "\"postgres\" \"\"\n\"entraway\" \"\"\n");
        let port = free_port();
        let database = format!("{} = host={} port=5432", world.database_name, cluster().await.folder().display());
        let mut text = settings;
        for (theirs, ours) in [
            ("entraway = host=postgres port=5432", database.as_str()),
            ("listen_addr = *", "listen_addr = 127.0.0.1"),
            ("/etc/pgbouncer/userlist.txt", users.as_str()),
            ("auth_type = scram-sha-256", "auth_type = trust"),
            ("default_pool_size = 20", &format!("default_pool_size = {POOL}")),
        ] {
            assert!(text.contains(theirs), "{theirs} is not among the settings:\n{text}");
            text = text.replace(theirs, ours);
        }
        folder.file("pgbouncer.ini", &format!("{text}listen_port = {port}\nunix_socket_dir =\n{more}\n"));
        let process = Self::run(&folder).await;
        let mut started = Self { port, folder, process };
        started.until_it_answers().await;
        started
    }

    /// Runs as the owner of the cluster: PgBouncer refuses to run as root, and only the owner can enter the socket's
    /// folder.
    async fn run(folder: &Folder) -> Child {
        let owner = fs::metadata(cluster().await.folder()).unwrap();
        let log = fs::File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
        let program =
            if std::path::Path::new("/usr/sbin/pgbouncer").exists() { "/usr/sbin/pgbouncer" } else { "pgbouncer" };
        let mut command = Command::new(program);
        command.arg(folder.path().join("pgbouncer.ini")).current_dir("/").uid(owner.uid()).gid(owner.gid());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("pgbouncer is installed: script/setup --proxies does that")
    }

    async fn until_it_answers(&mut self) {
        let begin = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && begin.elapsed() < LIMIT, "PgBouncer did not start:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Cuts all connections and accepts new ones after the delay.
    async fn restart(&mut self, after: Duration) {
        self.kill();
        tokio::time::sleep(after).await;
        self.process = Self::run(&self.folder).await;
        self.until_it_answers().await;
    }

    /// URL of the world's database through PgBouncer.
    fn url(&self, world: &World) -> String {
        let user = match world.kind {
            Native => "postgres",
            LiteLlm => "entraway",
        };
        format!("postgres://{user}@127.0.0.1:{}/{}?sslmode=disable", self.port, world.database_name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Session state left on PgBouncer's server connections. Holds all of them at once, so that each is inspected.
    async fn leftovers(&self, world: &World) -> Vec<(i32, i64, i64, String)> {
        let options: PgConnectOptions = self.url(world).parse().unwrap();
        let options = options.extra_float_digits(None);
        let mut held = Vec::new();
        for _ in 0..POOL {
            let mut connection: PgConnection = options.connect().await.unwrap();
            sqlx::raw_sql("begin").execute(&mut connection).await.unwrap();
            let query = sqlx::query_as(
                "select pg_backend_pid(), (select count(*) from pg_prepared_statements where name <> ''),
                        (select count(*) from pg_listening_channels()), current_setting('statement_timeout')",
            );
            held.push((query.persistent(false).fetch_one(&mut connection).await.unwrap(), connection));
        }
        let mut left = Vec::new();
        for (found, connection) in held {
            left.push(found);
            connection.close().await.unwrap();
        }
        left
    }
}

/// A world whose services reach the database through PgBouncer. The test's own connections are direct.
async fn behind(kind: StoreKind, more: &str) -> (World, PgBouncer) {
    let mut world = World::of(kind).await;
    let pooler = PgBouncer::start(&world, more).await;
    world.database = pooler.url(&world);
    (world, pooler)
}

/// Asserts that no session state stays on shared connections and that no advisory lock stays held.
async fn nothing_is_left(world: &World, pooler: &PgBouncer) {
    for (pid, statements, channels, time_out) in pooler.leftovers(world).await {
        assert_eq!(
            (statements, channels, time_out.as_str()),
            (0, 0, "0"),
            "prepared statements, LISTEN channels and lock timeout left on server connection {pid}"
        );
    }
    let locks: i64 = sqlx::query_scalar(
        "select count(*) from pg_locks join pg_database d on d.oid = database
         where locktype = 'advisory' and datname = current_database()",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(locks, 0, "advisory locks left behind");
}

/// Forty users in three of ten groups each.
fn people(world: &World) -> Vec<(ObjectId, Vec<GroupId>)> {
    let groups = many_assigned(world, 10);
    (0..40)
        .map(|n| {
            let theirs: Vec<GroupId> = (0..3).map(|step| groups[(n + 3 * step) % 10]).collect();
            (person(world, &format!("Person {n}"), &theirs), theirs)
        })
        .collect()
}

async fn everybody_is_in_their_teams(world: &World, people: &[(ObjectId, Vec<GroupId>)]) {
    let rows = world.rows().await;
    assert_eq!((rows.organizations.len(), rows.teams.len()), (10, 10), "organizations and teams");
    for (person, groups) in people {
        let mut expected: Vec<String> = groups.iter().map(ToString::to_string).collect();
        expected.sort();
        assert_eq!(rows.teams_of(*person), expected, "teams of {person}");
        assert_eq!(rows.organizations_of(*person), expected, "organizations of {person}");
    }
}

async fn verify(browser: &mut Browser, service: &Service) -> Answer {
    let request = browser.request(Method::GET, service.at("/auth/verify"));
    browser.send(request).await
}

/// A common setting for other applications. It silently drops our startup options.
const DROPS_SETTINGS: &str = "ignore_startup_parameters = extra_float_digits,options";

#[rstest]
#[tokio::test]
async fn pgbouncer_signin_storm_loses_nothing_and_leaves_no_state(
    #[values(Native, LiteLlm)] store: StoreKind,
    #[values("", DROPS_SETTINGS)] more: &str,
) {
    let (world, pooler) = behind(store, more).await;
    let instances = [world.service().await, world.service().await];
    let people = people(&world);
    let one = async |n: usize, person: ObjectId| {
        let (here, there) = (&instances[n % 2], &instances[(n + 1) % 2]);
        let mut browser = Browser::new();
        let answer = browser.sign_in(&world.simulator, here, person).await;
        if answer.status != 303 {
            return Some(format!("user {n}: {} {}", answer.status, answer.code_or_nothing()));
        }
        let told = verify(&mut browser, there).await;
        let who = told.headers.get("x-auth-request-user").and_then(|who| who.to_str().ok());
        if who != Some(&person.to_string()) {
            return Some(format!("user {n} was identified as {who:?}, with status {}", told.status));
        }
        if n.is_multiple_of(2) {
            let left = browser.post(there.at("/sso/logout")).await;
            return (left.status != 303).then(|| format!("user {n} cannot sign out: {}", left.status));
        }
        None
    };
    let refused = join_all((0..LANES).map(async |lane| {
        let mut refused = Vec::new();
        for (n, (person, _)) in people.iter().enumerate().skip(lane).step_by(LANES) {
            refused.extend(one(n, *person).await);
        }
        refused
    }))
    .await;
    let refused: Vec<String> = refused.into_iter().flatten().collect();
    assert_eq!(refused, [""; 0], "PgBouncer's log:\n{}", pooler.log());
    everybody_is_in_their_teams(&world, &people).await;
    let sessions: i64 =
        sqlx::query_scalar("select count(*) from entraway.sessions").fetch_one(&world.pool).await.unwrap();
    assert_eq!(sessions, 20, "sessions of users who did not sign out");
    nothing_is_left(&world, &pooler).await;
}

#[rstest]
#[tokio::test]
async fn signins_recover_after_pgbouncer_restart(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, mut pooler) = behind(store, "").await;
    let service = world.service().await;
    let people = people(&world);
    let begin = Instant::now();
    let storm = join_all(people.iter().enumerate().map(async |(n, (person, _))| {
        let mut refusals = 0;
        tokio::time::sleep(Duration::from_millis(20) * u32::try_from(n).unwrap()).await;
        loop {
            let answer = Browser::new().sign_in(&world.simulator, &service, *person).await;
            if answer.status == 303 {
                return refusals;
            }
            let refusal = (answer.status.as_u16(), answer.code());
            assert_eq!(refusal, (503, "database_unavailable".to_owned()), "user {n}: {answer:#?}");
            assert!(answer.headers.contains_key("retry-after"), "user {n} gets no Retry-After: {answer:#?}");
            refusals += 1;
            assert!(begin.elapsed() < LIMIT, "user {n} cannot sign in again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }));
    let restarts = async {
        for after in [0, 300, 50] {
            tokio::time::sleep(Duration::from_millis(250)).await;
            pooler.restart(Duration::from_millis(after)).await;
        }
    };
    let (refusals, ()) = tokio::join!(storm, restarts);
    println!("refused and tried again: {} times", refusals.iter().sum::<usize>());
    everybody_is_in_their_teams(&world, &people).await;
    nothing_is_left(&world, &pooler).await;
}

/// LISTEN does not work in transaction mode, so replicas cache sessions for `session.cache_ttl` only.
#[rstest]
#[tokio::test]
async fn signout_reaches_other_replica_after_cache_ttl(#[values("", DROPS_SETTINGS)] more: &str) {
    let (world, pooler) = behind(Native, more).await;
    let (alice, _) = world.alice();
    let (here, elsewhere) = (world.service().await, world.service().await);
    let begin = Instant::now();
    while !(here.app.sessions().is_caching() && elsewhere.app.sessions().is_caching()) {
        assert!(begin.elapsed() < LIMIT, "sessions are not cached behind PgBouncer");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!elsewhere.app.sessions().is_listening(), "LISTEN does not work through PgBouncer in transaction mode");
    let mut browser = world.sign_in(&here, alice).await;
    let mut old = browser.clone();
    assert_eq!(verify(&mut old, &elsewhere).await.status, 200);
    let read_at = Instant::now();
    assert_eq!(browser.post(here.at("/sso/logout")).await.status, 303);
    assert_eq!(verify(&mut old, &here).await.status, 401, "on the replica of the sign-out");
    while verify(&mut old, &elsewhere).await.status != 401 {
        // The TTL is one second, but the machine may be busy.
        assert!(read_at.elapsed() < Duration::from_secs(5), "the other replica still uses its cached session");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("known elsewhere {:?} after it was last read", read_at.elapsed());
    nothing_is_left(&world, &pooler).await;
}

/// The lock timeout of eight seconds applies as it does on a direct connection.
#[rstest]
#[tokio::test]
async fn lock_timeout_applies_through_pgbouncer(#[values("", DROPS_SETTINGS)] more: &str) {
    let (world, pooler) = behind(Native, more).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table entraway.used_attempts in access exclusive mode").execute(&mut *lock).await.unwrap();
    let begin = Instant::now();
    let answer = world.try_sign_in(&service, alice).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "database_unavailable"), "{answer:#?}");
    let waited = begin.elapsed();
    assert!(waited > Duration::from_secs(7), "failed after {waited:?}, before the lock timeout: {}", pooler.log());
    assert!(waited < Duration::from_secs(40), "the lock timeout of 8 s is not in force: {waited:?}");
    lock.rollback().await.unwrap();
    world.sign_in(&service, alice).await;
    nothing_is_left(&world, &pooler).await;
}

#[rstest]
#[tokio::test]
async fn migrate_and_serve_work_through_pgbouncer(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, pooler) = behind(store, "").await;
    world.sql("drop schema entraway cascade").await;
    let config = match store {
        Native => CONFIG.to_owned(),
        LiteLlm => {
            let grant = format!("grant create on database {} to entraway", world.database_name);
            sqlx::raw_sql(AssertSqlSafe(grant)).execute(&world.pool).await.unwrap();
            format!("store: litellm\n{CONFIG}")
        }
    };
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", &config);
    let env = environment(&world);
    let newest = sqlx::migrate!().iter().last().unwrap().version;
    let migrate = ["migrate", "--config", config.as_str()];
    for ended in join_all((0..3).map(|_| run(&folder, &migrate, &env))).await {
        assert_eq!(ended.code, 0, "{ended:?}; PgBouncer's log:\n{}", pooler.log());
        assert!(ended.stdout.contains(&format!("at version {newest}")), "{ended:?}");
    }
    nothing_is_left(&world, &pooler).await;
    let again = run(&folder, &migrate, &env).await;
    assert_eq!(
        again.stdout,
        format!("schema entraway is at version {newest}, up to date: nothing to do\n"),
        "{again:?}"
    );

    let mut program = Program::start(&folder, &["serve", "--config", &config], &env);
    let base = program.ready().await;
    let (alice, _) = world.alice();
    let (_, answer) = Journey::whole(&world, &base, alice).await;
    assert_eq!(answer.status, 303, "{answer:#?}\n{}", program.stderr());
    let ready = reqwest::get(base.join("/readyz").unwrap()).await.unwrap();
    assert_eq!(ready.status(), 200, "{}", program.stderr());
    assert_eq!(program.terminate().await.code, 0);
    nothing_is_left(&world, &pooler).await;
}
