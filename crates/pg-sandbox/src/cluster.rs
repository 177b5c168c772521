//! A private Postgres cluster. A watchdog process starts it, and stops it and removes its folder when the owner exits.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::ClusterError;
use crate::folder::{account, memory_folder, new_folder};
use crate::install::{find_binaries, has_pg_stat_statements, in_path, output};
use crate::quoting::{identifier, percent_encoded, quoted};

/// Shell script that runs `initdb` and `postgres` and cleans up after the owner exits. Its comments explain how.
const WATCHDOG: &str = include_str!("watchdog.sh");

/// Passed explicitly everywhere, because `PGPORT` in the environment changes the default of both sqlx and psql.
pub(crate) const PORT: u16 = 5432;

/// Time limit for a start. It takes half a second on an idle machine and far longer on a busy one.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// Time limit for a stop; slightly longer than the watchdog's own limits together.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Whether writes survive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// No fsync and no JIT: for tests and the demo.
    Fast,
    /// Postgres's defaults: for benchmarks, which must measure production behavior.
    Real,
}

/// A private Postgres cluster in a temporary folder, run by the installed Postgres programs. It ends with the process
/// that started it, even after `kill -9`.
///
/// It listens only on a socket in its folder. Other accounts cannot enter the folder, so it needs no password. If root
/// starts it, it runs as the account `postgres` or `nobody`. Dropping it stops Postgres, removes the folder, and blocks
/// until that is done: about 50 ms, at most 15 s.
#[derive(Debug)]
pub struct PrivateCluster {
    folder: PathBuf,
    psql: String,
    /// Suffix of `create database … template …`: how a template is copied.
    strategy: &'static str,
    /// Holds the write end of the pipe that is its standard input. The watchdog stops when the pipe is closed.
    watchdog: Child,
}

impl PrivateCluster {
    /// Creates and starts a cluster. Returns when it accepts connections.
    pub async fn start(durability: Durability) -> Result<Self, ClusterError> {
        Self::start_below(&std::env::temp_dir(), durability, &[]).await
    }

    /// Like [`Self::start`] without durability, and in memory if there is room, where copying a database is four times
    /// as fast.
    pub async fn start_in_memory() -> Result<Self, ClusterError> {
        let Some(memory) = memory_folder().await else { return Self::start(Durability::Fast).await };
        let mut cluster = Self::start_below(memory, Durability::Fast, &["autovacuum=off"]).await?;
        // The option is new in Postgres 15, and not the default there.
        let version = fs::read_to_string(cluster.folder.join("data/PG_VERSION")).unwrap_or_default();
        if version.trim().parse().is_ok_and(|version: u32| version >= 15) {
            cluster.strategy = " strategy file_copy";
        }
        Ok(cluster)
    }

    async fn start_below(parent: &Path, durability: Durability, more_settings: &[&str]) -> Result<Self, ClusterError> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        let bin = find_binaries(&path).ok_or(ClusterError::NotInstalled)?;
        let user = output("id", &["-u"]).await.map_err(|source| ClusterError::Run { program: "id", source })?;
        let account = match user.as_str() {
            "0" => {
                Some(account(&fs::read_to_string("/etc/passwd").unwrap_or_default()).ok_or(ClusterError::NoAccount)?)
            }
            _ => None,
        };
        let folder = new_folder(parent, account.is_some())?;

        let mut watchdog = Command::new("sh");
        // Without comments, so that the process list stays readable.
        let script: Vec<&str> = WATCHDOG.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        watchdog.args(["-c", &script.join("\n"), "entraway-pg"]).arg(&folder).arg(&bin);
        watchdog.arg(if durability == Durability::Fast { "--no-sync" } else { "" });
        for setting in settings(durability, &folder, has_pg_stat_statements(&bin).await) {
            watchdog.arg("-c").arg(setting);
        }
        for setting in more_settings {
            watchdog.arg("-c").arg(setting);
        }
        // Postgres must not inherit secrets, a PGDATA, or a locale that is not installed.
        watchdog.env_clear().env("PATH", &path).env("LC_ALL", "C");
        // The account of Postgres may have no access to the current folder.
        watchdog.current_dir("/");
        // In its own process group; otherwise Ctrl-C in the terminal would stop Postgres first.
        watchdog.process_group(0);
        watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some((uid, gid)) = account {
            watchdog.uid(uid).gid(gid);
        }
        let watchdog = watchdog.spawn().map_err(|source| ClusterError::Run { program: "sh", source })?;

        let psql =
            if in_path(&path, "psql").is_some() { "psql".into() } else { quoted(&bin.join("psql").to_string_lossy()) };
        // From here on, every return path drops the cluster and so cleans up.
        let mut cluster = Self { folder, psql, strategy: "", watchdog };
        match tokio::time::timeout(START_LIMIT, cluster.until_ready()).await {
            Ok(true) => Ok(cluster),
            Ok(false) => Err(ClusterError::Failed { bin, log: cluster.log_end() }),
            Err(_) => Err(ClusterError::Slow { bin, log: cluster.log_end() }),
        }
    }

    /// URL of a database in the cluster, for sqlx and libpq.
    pub fn url(&self, database: &str) -> String {
        // The folder's name needs no encoding: see `new_folder`. Without `sslmode`, each connection would cost a round
        // trip more.
        let (folder, database) = (self.folder.display(), percent_encoded(database));
        format!("postgres://postgres@localhost:{PORT}/{database}?host={folder}&sslmode=disable")
    }

    /// Command line for inspecting a database.
    pub fn psql(&self, database: &str) -> String {
        format!("{} -h {} -p {PORT} -U postgres -d {}", self.psql, self.folder.display(), quoted(database))
    }

    /// Folder with the data, the socket and the `log`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates a database, optionally as a copy of `template`, which must have no connections meanwhile.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<(), ClusterError> {
        let mut sql = format!("create database {}", identifier(name));
        if let Some(template) = template {
            sql.push_str(" template ");
            sql.push_str(&identifier(template));
            sql.push_str(self.strategy);
        }
        let create = async {
            let mut connection = PgConnection::connect(&self.url("postgres")).await?;
            // Safe as SQL: a name cannot be a parameter, so names are quoted.
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
            connection.close().await
        };
        create.await.map_err(|source| ClusterError::CreateDatabase { name: name.to_owned(), source })
    }

    /// Suffix for `create database … template …` in this cluster; may be empty.
    pub fn copy_strategy(&self) -> &'static str {
        self.strategy
    }

    /// Stops Postgres and removes the folder; blocks until that is done. The same as dropping.
    pub fn stop(self) {
        drop(self);
    }

    /// Waits until Postgres accepts connections. Returns false if it failed to start.
    async fn until_ready(&mut self) -> bool {
        loop {
            // The status that pg_ctl checks, too. The socket accepts connections earlier, but answers "the database
            // system is starting up".
            let pid_file = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
            if pid_file.lines().nth(7).is_some_and(|status| status.trim() == "ready") {
                return true;
            }
            if self.folder.join("ended").exists() || !matches!(self.watchdog.try_wait(), Ok(None)) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The last lines of Postgres's log and, if the watchdog has exited, its standard error.
    fn log_end(&mut self) -> String {
        let mut text = fs::read(self.folder.join("log")).unwrap_or_default();
        // A read from a running watchdog would block until it exits.
        if let (Ok(Some(_)), Some(stderr)) = (self.watchdog.try_wait(), &mut self.watchdog.stderr) {
            // If that fails, the message is only shorter.
            let _ = stderr.read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let step = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        while waited < STOP_LIMIT && matches!(self.watchdog.try_wait(), Ok(None)) {
            std::thread::sleep(step);
            waited += step;
        }
        // Left only if the watchdog was killed. Postgres exits within a minute after its folder is removed.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Settings that differ from `initdb`'s configuration.
fn settings(durability: Durability, folder: &Path, pg_stat_statements: bool) -> Vec<String> {
    let mut settings = vec![
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={}", folder.display()),
        format!("port={PORT}"),
        "max_connections=400".to_owned(),
        "shared_buffers=64MB".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        // Standard error goes to the log file.
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
    ];
    if durability == Durability::Fast {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off", "jit=off"].map(String::from));
    }
    if pg_stat_statements {
        settings.extend(
            [
                "shared_preload_libraries=pg_stat_statements",
                "pg_stat_statements.max=10000",
                "pg_stat_statements.track_utility=on",
            ]
            .map(String::from),
        );
    }
    settings
}
