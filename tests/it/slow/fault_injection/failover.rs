//! A primary is killed and its standby promoted, behind a real HAProxy that finds the writable server.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use entra_simulator::ObjectId;
use pg_sandbox::{Durability, PrivateCluster};
use reqwest::Method;
use rstest::rstest;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::sleep;

use super::haproxy::{HaProxy, LIMIT, replaced, settings};
use crate::cli::program::Folder;
use crate::support::redis::free_port;
use crate::support::scene::{many_assigned, person};
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World, cluster};

/// Runs Postgres until standard input closes, which happens when the test ends for any reason.
const RUN: &str = r#"
"$1" -D "$2/data" -c unix_socket_directories="$2" -c port=5432 -c listen_addresses= -c max_connections=400 -c fsync=off >"$2/log" 2>&1 </dev/null &
while read -r _; do :; done
kill -QUIT $!
wait
"#;

/// A streaming standby of a primary.
struct Standby {
    folder: Folder,
    shell: Child,
}

impl Drop for Standby {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

impl Standby {
    async fn follow(primary: &PrivateCluster) -> Self {
        let owner = fs::metadata(primary.folder()).unwrap();
        let folder = Folder::new();
        std::os::unix::fs::chown(folder.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
        // Postgres refuses a data directory that other users can access.
        let copy = tokio::process::Command::new("pg_basebackup")
            .args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync", "-U", "postgres"])
            .args(["-h", primary.folder().to_str().unwrap(), "-p", "5432", "-D"])
            .arg(folder.path().join("data"))
            .current_dir("/")
            .uid(owner.uid())
            .gid(owner.gid())
            .output()
            .await
            .expect("Postgres's programs are installed");
        assert!(copy.status.success(), "{copy:?}");
        let shell = Command::new("sh")
            .args(["-c", RUN, "entraway-pg"])
            .arg(running(primary.folder()).1)
            .arg(folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .current_dir("/")
            .uid(owner.uid())
            .gid(owner.gid())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let standby = Self { folder, shell };
        let begin = Instant::now();
        while standby.connect("postgres").await.is_err() {
            let log = fs::read_to_string(standby.folder.path().join("log")).unwrap_or_default();
            assert!(begin.elapsed() < LIMIT, "the standby did not start:\n{log}");
            sleep(Duration::from_millis(20)).await;
        }
        standby
    }

    async fn connect(&self, database: &str) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.url(database)).await
    }

    fn url(&self, database: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres://postgres@localhost:5432/{database}?host={folder}&sslmode=disable")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A cluster's postmaster: process ID and program.
pub(super) fn running(folder: &Path) -> (String, PathBuf) {
    let pid = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().to_owned();
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    (pid, program)
}

async fn administer(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    for statement in sql.split(';') {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn asked(browser: &Browser, service: &Service) -> u16 {
    let mut browser = browser.clone();
    let request = browser.request(Method::GET, service.at("/auth/verify"));
    browser.send(request).await.status.as_u16()
}

#[tokio::test]
async fn signins_resume_after_standby_promotion_without_loss() {
    let primary = PrivateCluster::start(Durability::Fast).await.unwrap();
    primary.create_database("entraway", None).await.unwrap();
    administer(&primary.url("postgres"), "create role haproxy login").await;
    let standby = Standby::follow(&primary).await;
    // From now on, commits are synchronous: acknowledged ones are on both servers.
    administer(
        &primary.url("postgres"),
        "alter system set synchronous_standby_names = '*'; select pg_reload_conf();
         alter role all set synchronous_commit = remote_apply",
    )
    .await;

    let port = free_port();
    let socket = |folder: &Path| format!("unix@{}/.s.PGSQL.5432", folder.display());
    let settings = replaced(
        settings("A standby"),
        &[
            ("bind :5432", &format!("bind 127.0.0.1:{port}")),
            ("postgres-1:5432", &socket(primary.folder())),
            ("postgres-2:5432", &socket(standby.folder.path())),
        ],
    );
    let mut proxy = HaProxy::start(&settings, &["postgres/one"]).await;
    proxy.until("postgres/two", "DOWN").await;

    let address = format!("postgres://postgres@127.0.0.1:{port}/entraway?sslmode=disable");
    let world = World::on(Native, address, &primary.url("entraway"), "entraway".to_owned()).await;
    let groups = many_assigned(&world, 5);
    let people: Vec<ObjectId> = (0..200).map(|n| person(&world, &format!("Person {n}"), &groups)).collect();
    let service = world.service().await;
    let first = world.sign_in(&service, people[0]).await;
    assert_eq!(asked(&first, &service).await, 200);

    // Users keep signing in. Each acknowledged sign-in must be found afterwards.
    let mut let_in = vec![people[0]];
    let mut next = people[1..].iter().copied();
    for person in next.by_ref().take(5) {
        world.sign_in(&service, person).await;
        let_in.push(person);
    }
    let killed = Command::new("kill").args(["-KILL", &running(primary.folder()).0]).status().unwrap();
    assert!(killed.success(), "kill of the primary");
    let begin = Instant::now();
    while asked(&first, &service).await == 200 {
        assert!(begin.elapsed() < LIMIT, "a cached session is used during the database outage");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(asked(&first, &service).await, 503, "an outage does not sign users out");
    let refused = world.try_sign_in(&service, next.next().unwrap()).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "database_unavailable"), "{refused:#?}");
    assert!(refused.headers.contains_key("retry-after"), "{refused:#?}");

    let begin = Instant::now();
    administer(&standby.url("postgres"), "select pg_promote()").await;
    let promoted = Instant::now();
    loop {
        let person = next.next().expect("two hundred tries are enough");
        let answer = world.try_sign_in(&service, person).await;
        if answer.status == 303 {
            let_in.push(person);
            break;
        }
        assert_eq!(answer.status, 503, "{answer:#?}");
        // The goal is five seconds. A busy machine may take longer, but no restart is needed.
        assert!(promoted.elapsed() < LIMIT, "sign-ins do not resume; the standby's log:\n{}", standby.log());
        sleep(Duration::from_millis(50)).await;
    }
    println!(
        "sign-ins resumed {:?} after pg_promote() returned, {:?} after it was called",
        promoted.elapsed(),
        begin.elapsed()
    );
    while asked(&first, &service).await != 200 {
        assert!(
            promoted.elapsed() < LIMIT,
            "a session from before the promotion is lost: {}",
            asked(&first, &service).await
        );
        sleep(Duration::from_millis(20)).await;
    }
    let mut connection = standby.connect("entraway").await.unwrap();
    let there: Vec<String> =
        sqlx::query_scalar("select user_id from entraway.sessions").fetch_all(&mut connection).await.unwrap();
    for person in let_in {
        assert!(there.contains(&person.to_string()), "the session of {person} is lost");
    }
    connection.close().await.unwrap();
}

/// A server becomes read-only, as when an address temporarily leads to a standby. Its connections must be discarded.
#[rstest]
#[tokio::test]
async fn read_only_server_connections_are_discarded(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let eyes: PgConnectOptions = cluster().await.url("postgres").parse().unwrap();
    let mut eyes: PgConnection = eyes.connect().await.unwrap();
    let name = &world.database_name;
    let reads = format!(
        "alter database {name} set default_transaction_read_only = on;
         select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and application_name like 'entraway%'"
    );
    sqlx::raw_sql(AssertSqlSafe(reads)).execute(&mut eyes).await.unwrap();
    // Every pooled connection has seen the read-only server.
    let begin = Instant::now();
    loop {
        let refused = world.try_sign_in(&service, alice).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "database_unavailable"), "{refused:#?}");
        let ready = Browser::new().get_json(service.at("/readyz")).await;
        if ready.status == 503 {
            assert_eq!(ready.json()["postgres"], "failing", "{ready:#?}");
            break;
        }
        assert!(begin.elapsed() < LIMIT, "ready with a read-only database: {ready:#?}");
    }
    // The listener is replaced as well: a standby delivers no notifications.
    let listens =
        format!("select pid from pg_stat_activity where datname = '{name}' and application_name = 'entraway listens'");
    let mut listener = None::<i32>;
    let begin = Instant::now();
    loop {
        let now: Option<i32> =
            sqlx::query_scalar(AssertSqlSafe(listens.clone())).fetch_optional(&mut eyes).await.unwrap();
        if listener.is_some() && now.is_some() && now != listener {
            break;
        }
        listener = listener.or(now);
        assert!(begin.elapsed() < LIMIT, "{listener:?} still listens at a read-only database");
        world.try_sign_in(&service, alice).await;
        sleep(Duration::from_millis(50)).await;
    }
    let writes = format!("alter database {name} reset default_transaction_read_only");
    sqlx::raw_sql(AssertSqlSafe(writes)).execute(&mut eyes).await.unwrap();
    let begin = Instant::now();
    while world.try_sign_in(&service, alice).await.status != 303 {
        assert!(begin.elapsed() < LIMIT, "connections to the read-only server are kept");
        sleep(Duration::from_millis(100)).await;
    }
    println!("sign-ins resumed after {:?}", begin.elapsed());
    eyes.close().await.unwrap();
}
