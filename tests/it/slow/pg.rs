//! The private cluster: ready when it reports so, keeps its data, and leaves nothing behind, however its owner ends.

mod migrations;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pg_sandbox::{ClusterError, Durability, PrivateCluster};
use sqlx::{Connection, PgConnection};

/// Makes this program, started again, act as the owner that a test kills.
const OWNER: &str = "ENTRAWAY_TEST_OWNER";

#[tokio::test]
async fn private_cluster_serves_databases_and_leaves_nothing() {
    let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
    assert_eq!(fs::metadata(cluster.folder()).unwrap().permissions().mode() & 0o777, 0o700);

    let mut connection = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    let setting: [String; 5] = sqlx::query_as(
        "select current_setting('listen_addresses'), current_setting('server_encoding'), current_setting('timezone'), \
         current_setting('fsync'), current_setting('max_connections')",
    )
    .fetch_one(&mut connection)
    .await
    .map(|(a, b, c, d, e)| [a, b, c, d, e])
    .unwrap();
    assert_eq!(setting, ["", "UTF8", "UTC", "off", "400"]);
    let preloaded: String = sqlx::query_scalar("select current_setting('shared_preload_libraries')")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let available: bool =
        sqlx::query_scalar("select exists (select from pg_available_extensions where name = 'pg_stat_statements')")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(preloaded == "pg_stat_statements", available);

    // A template with a table, under a name that needs quoting, and several concurrent copies.
    let template = "a \"template\", ü/?";
    cluster.create_database(template, None).await.unwrap();
    let mut inside = PgConnection::connect(&cluster.url(template)).await.unwrap();
    sqlx::query("create table greeting as select 'hello' as word").execute(&mut inside).await.unwrap();
    inside.close().await.unwrap();
    let (a, b, c) = tokio::join!(
        cluster.create_database("a", Some(template)),
        cluster.create_database("b", Some(template)),
        cluster.create_database("c", Some(template)),
    );
    for (database, created) in [("a", a), ("b", b), ("c", c)] {
        created.unwrap();
        let mut inside = PgConnection::connect(&cluster.url(database)).await.unwrap();
        let word: String = sqlx::query_scalar("select word from greeting").fetch_one(&mut inside).await.unwrap();
        assert_eq!(word, "hello");
    }
    let again = cluster.create_database("a", None).await;
    assert!(matches!(again, Err(ClusterError::CreateDatabase { name, .. }) if name == "a"));

    // The printed command, as a shell runs it.
    let command = format!("{} -At -c 'select word from greeting'", cluster.psql(template));
    let looked = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&looked.stdout), "hello\n", "{command}: {looked:?}");

    let folder = cluster.folder().to_owned();
    assert!(!processes_naming(&folder).is_empty());
    // An open connection does not delay the stop.
    cluster.stop();
    assert!(!folder.exists());
    assert_eq!(processes_naming(&folder), [] as [String; 0]);
}

#[tokio::test]
async fn real_durability_keeps_postgres_defaults() {
    let cluster = PrivateCluster::start(Durability::Real).await.unwrap();
    let mut connection = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    let changed: Vec<String> = sqlx::query_scalar(
        "select name from pg_settings where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'jit') \
         and setting <> boot_val",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(changed, [] as [String; 0]);
}

#[test]
fn sigkill_of_owner_leaves_nothing() {
    let mut owner = Owner::start("KILL");
    owner.until_ready();
    owner.send("KILL");
    owner.assert_nothing_left();
}

#[test]
fn sigint_of_owner_leaves_nothing() {
    let mut owner = Owner::start("INT");
    owner.until_ready();
    owner.send("INT");
    owner.assert_nothing_left();
}

#[test]
fn sigkill_during_cluster_start_leaves_nothing() {
    for after in [1, 20, 150, 350] {
        let mut owner = Owner::start(&format!("EARLY{after}"));
        owner.until_there_is_a_folder();
        std::thread::sleep(Duration::from_millis(after));
        owner.send("KILL");
        owner.assert_nothing_left();
    }
}

/// Not a test, but the process that `Owner` starts. Run as a test, without the variable, it passes at once.
#[tokio::test]
async fn owner_of_a_cluster() {
    if std::env::var_os(OWNER).is_some() {
        let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
        println!("\nready {}", cluster.folder().display());
        std::future::pending::<()>().await;
    }
}

/// A process that owns a cluster, in its own process group as a shell would start it, and the folder with all its
/// temporary files.
struct Owner {
    process: Child,
    temp: PathBuf,
}

impl Owner {
    fn start(name: &str) -> Self {
        let temp = PathBuf::from(format!("/tmp/entraway-owner-{}-{name}", std::process::id()));
        fs::create_dir(&temp).unwrap();
        // If run as root, another user creates the cluster in it.
        fs::set_permissions(&temp, fs::Permissions::from_mode(0o1777)).unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "slow::pg::owner_of_a_cluster", "--nocapture"])
            .env(OWNER, "1")
            .env("TMPDIR", &temp)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { process, temp }
    }

    fn until_ready(&mut self) {
        let lines = BufReader::new(self.process.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).find(|line| line.starts_with("ready "));
        assert!(ready.expect("the owner ended").contains(&*self.temp.to_string_lossy()));
        assert!(!processes_naming(&self.temp).is_empty());
    }

    fn until_there_is_a_folder(&self) {
        until("there is a folder", || fs::read_dir(&self.temp).unwrap().count() > 0);
    }

    /// Sends a signal to the whole process group, as a terminal does.
    fn send(&mut self, signal: &str) {
        // The shell's builtin `kill`, because not every machine has the program.
        let kill = format!("kill -s {signal} -- -{}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.process.wait().unwrap();
    }

    fn assert_nothing_left(&self) {
        until("the folder is gone", || fs::read_dir(&self.temp).unwrap().count() == 0);
        until("the processes are gone", || processes_naming(&self.temp).is_empty());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Either may be gone already. Ignoring errors keeps the reason of a failed test visible.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.temp);
    }
}

fn until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The command lines of all processes that name this folder. Read from `/proc` if it exists, because not every machine
/// has `ps`.
fn processes_naming(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let lines: Vec<String> = if let Ok(processes) = fs::read_dir("/proc") {
        let lines = processes.flatten().filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
    } else {
        let listed = Command::new("ps").args(["-A", "-o", "args="]).output().unwrap();
        String::from_utf8_lossy(&listed.stdout).lines().map(String::from).collect()
    };
    lines.into_iter().filter(|line| line.contains(folder)).collect()
}
