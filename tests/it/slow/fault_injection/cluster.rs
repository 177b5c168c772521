//! A private Postgres cluster that a test can stop, crash and restart, optionally on a small disk.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use entraway::domain::StoreKind;
use pg_sandbox::{Durability, PrivateCluster};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::storm::LONG;
use crate::support::{World, furnish};

/// Runs Postgres with its previous arguments until standard input closes, which happens when the test ends for any
/// reason.
const RUN: &str = r#"
eval "exec $(cat "$1/data/postmaster.opts")" </dev/null >>"$1/log" 2>&1 &
while read -r _; do :; done
kill -INT $!
wait
"#;

/// Mounts a small disk in a private mount namespace, which disappears with the process, and executes the remaining
/// arguments.
const ON_A_SMALL_DISK: &str = r#"
mkdir -p "$1" && chown "$3:$4" "$1" && mount -t tmpfs -o "size=$2,mode=0700,uid=$3,gid=$4" none "$1" || {
    echo "cannot mount a disk of $2 at $1: is this user allowed to create mount namespaces?" >&2
    exit 1
}
shift 4
exec "$@"
"#;

/// How to stop Postgres.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// Fast shutdown: sessions are terminated and a checkpoint is written.
    Orderly,
    /// Kill without cleanup: the next start replays the WAL.
    Crash,
}

pub(super) struct Cluster {
    private: PrivateCluster,
    /// The shell that runs Postgres after the first stop.
    shell: Option<Child>,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let private = PrivateCluster::start(Durability::Fast).await.unwrap();
        let cluster = Self { private, shell: None };
        // Test clusters run with asynchronous commit, which loses recent commits in a crash. These tests must detect
        // lost commits.
        cluster.administer("alter role all set synchronous_commit = on").await;
        cluster
    }

    /// Whether this machine allows mounting a private disk; some containers do not.
    pub(super) fn may_have_a_small_disk() -> bool {
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let words = if root { &["--mount"][..] } else { &["--user", "--map-root-user", "--mount"] };
        let mut command = Command::new("unshare");
        let tried = command.args(words).args(["mount", "-t", "tmpfs", "none", "/tmp"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    }

    /// Starts a cluster where the database of [`Cluster::world`] is on a disk of this size.
    pub(super) async fn on_a_small_disk(size: &str) -> Self {
        let mut cluster = Self::start().await;
        // A vacuum would free space during the test.
        cluster.administer("alter system set autovacuum = off").await;
        cluster.stop(Stop::Orderly).await;
        cluster.run(Some(size)).await;
        let folder = cluster.private.folder().join("small");
        cluster.administer(&format!("create tablespace small location '{}'", folder.display())).await;
        cluster
    }

    /// Creates a world on a new database for this store.
    pub(super) async fn world(&self, kind: StoreKind) -> World {
        let name = format!("{kind:?}").to_lowercase();
        let address = furnish(&self.private, kind, &name).await;
        if self.private.folder().join("small").exists() {
            self.administer(&format!("alter database {name} set tablespace small")).await;
        }
        World::on(kind, address, &self.private.url(&name), name).await
    }

    /// Stops Postgres and waits until it has ended.
    pub(super) async fn stop(&mut self, how: Stop) {
        let pid = self.pid();
        let signal = match how {
            Stop::Orderly => "-INT",
            Stop::Crash => "-QUIT",
        };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success(), "kill {signal} {pid}");
        let begin = Instant::now();
        while self.pid_file().exists() {
            assert!(begin.elapsed() < LONG, "Postgres did not stop:\n{}", self.log_end());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.reap();
    }

    /// Starts Postgres again and waits until it accepts connections.
    pub(super) async fn start_again(&mut self) {
        self.run(None).await;
    }

    async fn run(&mut self, small_disk: Option<&str>) {
        let folder = self.private.folder();
        let owner = fs::metadata(folder).unwrap();
        let (uid, gid) = (owner.uid(), owner.gid());
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut words = Vec::new();
        let mut say = |text: &str| words.extend(text.split(' ').map(str::to_owned));
        if small_disk.is_some() {
            // Without root, a user namespace grants the rights to mount. They are dropped afterwards: Postgres refuses
            // to run as root.
            say(if root { "unshare --mount" } else { "unshare --user --map-root-user --mount" });
            say("sh -c SCRIPT small-disk PLACE SIZE");
            say(&if root { format!("{uid} {gid}") } else { "0 0".to_owned() });
        }
        match (root, small_disk) {
            (true, _) => say(&format!("setpriv --reuid {uid} --regid {gid} --clear-groups")),
            (false, Some(_)) => say(&format!("unshare --user --map-user={uid} --map-group={gid}")),
            (false, None) => {}
        }
        say("sh -c RUN entraway-pg FOLDER");
        let place = folder.join("small");
        let word = |word: &String| match word.as_str() {
            "SCRIPT" => ON_A_SMALL_DISK.to_owned(),
            "PLACE" => place.display().to_string(),
            "SIZE" => small_disk.unwrap_or_default().to_owned(),
            "RUN" => RUN.to_owned(),
            "FOLDER" => folder.display().to_string(),
            other => other.to_owned(),
        };
        let mut command = Command::new(&words[0]);
        command.args(words[1..].iter().map(word));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(self.log());
        self.shell = Some(command.spawn().unwrap());
        let begin = Instant::now();
        loop {
            match PgConnection::connect(&self.private.url("postgres")).await {
                Ok(connection) => return connection.close().await.unwrap(),
                Err(error) => {
                    let ended = self.shell.as_mut().and_then(|shell| shell.try_wait().unwrap());
                    let waits = ended.is_none() && begin.elapsed() < LONG;
                    assert!(waits, "Postgres did not start again ({error}):\n{}", self.log_end());
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs one statement as the superuser, outside of all worlds.
    pub(super) async fn administer(&self, sql: &str) {
        let mut connection = PgConnection::connect(&self.private.url("postgres")).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    fn pid_file(&self) -> PathBuf {
        self.private.folder().join("data/postmaster.pid")
    }

    fn pid(&self) -> String {
        let text = fs::read_to_string(self.pid_file()).unwrap();
        text.lines().next().unwrap().to_owned()
    }

    fn log(&self) -> File {
        OpenOptions::new().append(true).open(self.private.folder().join("log")).unwrap()
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.private.folder().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Ends the shell that runs Postgres, and thereby Postgres.
    fn reap(&mut self) {
        let Some(mut shell) = self.shell.take() else { return };
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.reap();
    }
}
