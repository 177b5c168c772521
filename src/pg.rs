//! A Postgres of our own for `demo`, tests and benchmarks: the machine's binaries, a temporary folder, nothing left
//! behind. Knows nothing of Entraway's tables; it hands out addresses and empty databases.

mod migrations;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub use migrations::litellm_migrations;

/// The shell script that runs `initdb` and `postgres`, and clears up when we are gone; its comments say how.
const WATCHDOG: &str = include_str!("pg/watchdog.sh");

/// Written out everywhere, because a `PGPORT` in the environment changes the default of both sqlx and psql.
const PORT: u16 = 5432;

/// A Unix socket's path may have 107 bytes on Linux and 103 on macOS.
const LONGEST_SOCKET_PATH: usize = 100;

/// What a quiet machine does in half a second may take far longer on a busy one, but not this long.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A little more than the watchdog's own limits add up to.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Where packages put Postgres outside `PATH`: the folder, what precedes the version in a name there.
const PLACES: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),                       // Debian, Ubuntu
    ("/usr", "pgsql-"),                                // the PostgreSQL project's own packages for Red Hat
    ("/opt/homebrew/opt", "postgresql@"),              // Homebrew, Apple silicon
    ("/usr/local/opt", "postgresql@"),                 // Homebrew, Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"), // Homebrew, Linux
];

/// Whether a crash of the machine may lose what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is forced to the disk, and no query is compiled: for tests and the demo.
    Fast,
    /// Postgres's own defaults: for benchmarks, which shall measure what production does.
    Real,
}

/// Why there is no private Postgres, or no database in it, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Neither `PATH` nor the usual places have `initdb` and `postgres`.
    #[error("Postgres is not installed: `apt-get install postgresql`, or `brew install postgresql@17`")]
    NotInstalled,
    /// Postgres refuses to run as root, and there is no account to run it as.
    #[error("Postgres does not run as root, and there is neither a user `postgres` nor `nobody`: run as another user")]
    NoAccount,
    /// A program that every Unix has could not be run.
    #[error("cannot run `{program}`: is it in PATH, and is the machine out of processes or memory?")]
    Run {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    /// No random numbers for the folder's name.
    #[error("the operating system gave no random numbers: {0}")]
    Random(getrandom::Error),
    /// `initdb` or `postgres` gave up.
    #[error("Postgres from {} did not start; the end of its log says why:\n{log}", bin.display())]
    Failed { bin: PathBuf, log: String },
    /// Not ready in time.
    #[error(
        "Postgres from {} was not ready after {} s: is the machine overloaded or its disk full? \
         The end of its log:\n{log}",
        bin.display(), START_LIMIT.as_secs()
    )]
    Slow { bin: PathBuf, log: String },
    /// `create database` was refused.
    #[error("cannot create the database `{name}`")]
    CreateDatabase {
        name: String,
        #[source]
        source: sqlx::Error,
    },
    /// The database is not there, or Postgres takes no more connections.
    #[error("cannot connect to the database `{name}`: was it created?")]
    Connect {
        name: String,
        #[source]
        source: sqlx::Error,
    },
    /// The folder is not there, or no folder is in it.
    #[error("no migrations are in {}: `script/setup --litellm` fetches those of LiteLLM", folder.display())]
    NoMigrations { folder: PathBuf },
    /// A migration, or the folder of all, is there and cannot be read.
    #[error("cannot read {}: may this user, and is it whole? If not, remove the folder that holds it", path.display())]
    ReadMigration {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Postgres refused what a migration says.
    #[error("Postgres refused {}: is the database empty, and Postgres not too old?", file.display())]
    Migration {
        file: PathBuf,
        #[source]
        source: sqlx::Error,
    },
}

/// A Postgres of our own, from the machine's binaries, in a temporary folder; gone with its owner, even by `kill -9`.
///
/// It listens on a socket in its folder only, which nobody but us may enter, and so asks for no password. Started by
/// root it runs as `postgres` or `nobody`. Dropping it stops Postgres and removes the folder, and blocks until that is
/// done: some 50 ms, at most 15 s.
#[derive(Debug)]
pub struct PrivateCluster {
    folder: PathBuf,
    psql: String,
    /// Its standard input is the pipe whose end tells it that we are gone.
    watchdog: Child,
}

impl PrivateCluster {
    /// Creates a cluster and starts it; back when it takes connections.
    pub async fn start(durability: Durability) -> Result<Self, ClusterError> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        let bin = find_binaries(&path).ok_or(ClusterError::NotInstalled)?;
        let user = output("id", "-u").await.map_err(|source| ClusterError::Run { program: "id", source })?;
        let account = match user.as_str() {
            "0" => {
                Some(account(&fs::read_to_string("/etc/passwd").unwrap_or_default()).ok_or(ClusterError::NoAccount)?)
            }
            _ => None,
        };
        let folder = new_folder(&std::env::temp_dir(), account.is_some())?;

        let mut watchdog = Command::new("sh");
        // Without its comments, for whoever looks at the list of processes.
        let script: Vec<&str> = WATCHDOG.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        watchdog.args(["-c", &script.join("\n"), "entraway-pg"]).arg(&folder).arg(&bin);
        watchdog.arg(if durability == Durability::Fast { "--no-sync" } else { "" });
        for setting in settings(durability, &folder, has_pg_stat_statements(&bin).await) {
            watchdog.arg("-c").arg(setting);
        }
        // Postgres shall inherit none of our secrets, nor a PGDATA or a locale that the machine does not have.
        watchdog.env_clear().env("PATH", &path).env("LC_ALL", "C");
        // The account it runs as may have no right to be where we are.
        watchdog.current_dir("/");
        // A group of its own, or Ctrl-C in our terminal would stop Postgres before us.
        watchdog.process_group(0);
        watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some((uid, gid)) = account {
            watchdog.uid(uid).gid(gid);
        }
        let watchdog = watchdog.spawn().map_err(|source| ClusterError::Run { program: "sh", source })?;

        let psql =
            if in_path(&path, "psql").is_some() { "psql".into() } else { quoted(&bin.join("psql").to_string_lossy()) };
        // From here on every way out drops the cluster and so clears up.
        let mut cluster = Self { folder, psql, watchdog };
        match tokio::time::timeout(START_LIMIT, cluster.until_ready()).await {
            Ok(true) => Ok(cluster),
            Ok(false) => Err(ClusterError::Failed { bin, log: cluster.log_end() }),
            Err(_) => Err(ClusterError::Slow { bin, log: cluster.log_end() }),
        }
    }

    /// The address of a database in it, for sqlx, libpq and whatever else takes an URL.
    pub fn url(&self, database: &str) -> String {
        // The folder's name needs no encoding: see `new_folder`. TLS would be one more round trip to hear "no".
        let (folder, database) = (self.folder.display(), percent_encoded(database));
        format!("postgres://postgres@localhost:{PORT}/{database}?host={folder}&sslmode=disable")
    }

    /// A command line for a person who wants to look inside.
    pub fn psql(&self, database: &str) -> String {
        format!("{} -h {} -p {PORT} -U postgres -d {}", self.psql, self.folder.display(), quoted(database))
    }

    /// The folder that holds its data, its socket and its `log`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates a database, as a copy of `template` if there is one; nobody may be connected to that meanwhile.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<(), ClusterError> {
        let mut sql = format!("create database {}", identifier(name));
        if let Some(template) = template {
            sql.push_str(" template ");
            sql.push_str(&identifier(template));
        }
        let create = async {
            let mut connection = PgConnection::connect(&self.url("postgres")).await?;
            // Safe as SQL: no parameter can stand for a name, so the names are quoted instead.
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
            connection.close().await
        };
        create.await.map_err(|source| ClusterError::CreateDatabase { name: name.to_owned(), source })
    }

    /// Stops Postgres and removes the folder, as dropping does; blocks until that is done.
    pub fn stop(self) {
        drop(self);
    }

    /// True once it takes connections, false if it gave up.
    async fn until_ready(&mut self) -> bool {
        loop {
            // Postgres's own sign, which pg_ctl goes by too. That the socket accepts is too early: "the database
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

    /// The last lines of Postgres's log, or what the watchdog itself had to say if it could not even make the folder.
    fn log_end(&mut self) -> String {
        let mut text = fs::read(self.folder.join("log")).unwrap_or_default();
        // Only of an ended watchdog, or this would wait for its end.
        if let (Ok(Some(_)), Some(stderr)) = (self.watchdog.try_wait(), &mut self.watchdog.stderr) {
            // Without it there is less to say, and nothing else to do.
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
        // Left only if somebody killed the watchdog. A Postgres that lost its folder ends by itself within a minute.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What differs from `initdb`'s configuration.
fn settings(durability: Durability, folder: &Path, pg_stat_statements: bool) -> Vec<String> {
    let mut settings = vec![
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={}", folder.display()),
        format!("port={PORT}"),
        "max_connections=400".to_owned(),
        "shared_buffers=64MB".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        // Standard error is the log file already.
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

/// The folder with `initdb` and `postgres`: the one in `PATH`, else the newest version in the usual places.
fn find_binaries(path: &OsStr) -> Option<PathBuf> {
    let elsewhere = PLACES.map(|(folder, prefix)| (Path::new(folder), prefix));
    in_path(path, "postgres").into_iter().chain(newest_first(&elsewhere)).find_map(|bin| {
        // What is in PATH may be a link into the real folder, where the rest of the installation is.
        let real = fs::canonicalize(bin.join("postgres")).ok()?.parent()?.to_owned();
        [real, bin].into_iter().find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
    })
}

/// The first folder in `path` that has `program`.
fn in_path(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).find(|folder| folder.join(program).is_file())
}

/// `bin` of each version in `places`, the newest first.
fn newest_first(places: &[(&Path, &str)]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (folder, prefix) in places {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
            found.extend(version.map(|version| (version, entry.path().join("bin"))));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// Whether the extension is installed: naming a library that is not there keeps Postgres from starting.
async fn has_pg_stat_statements(bin: &Path) -> bool {
    let Ok(folder) = output(bin.join("pg_config"), "--pkglibdir").await else { return false };
    ["so", "dylib"].iter().any(|ending| Path::new(&folder).join("pg_stat_statements").with_extension(ending).exists())
}

/// The user and group that Postgres shall run as instead of root, from the text of `/etc/passwd`.
fn account(passwd: &str) -> Option<(u32, u32)> {
    // `_postgres` is the one on macOS, where `nobody` has the number -2, which is none for us.
    ["postgres", "_postgres", "nobody"].into_iter().find_map(|wanted| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (name == wanted).then_some((uid, gid))
        })
    })
}

/// The path of a folder that does not exist yet, below `temp` or, where that does not do, below `/tmp`.
///
/// The path consists of letters, digits and `/._-` only: it goes into an URL, a setting and a command line as it is.
fn new_folder(temp: &Path, for_another_user: bool) -> Result<PathBuf, ClusterError> {
    let name = format!("entraway-pg-{:016x}", getrandom::u64().map_err(ClusterError::Random)?);
    let folder = temp.join(&name);
    let plain = |path: &str| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    let socket_length = format!("{}/.s.PGSQL.{PORT}", folder.display()).len();
    let suits = temp.is_absolute()
        && folder.to_str().is_some_and(plain)
        && socket_length <= LONGEST_SOCKET_PATH
        && (!for_another_user || is_open_to_all(temp));
    Ok(if suits { folder } else { Path::new("/tmp").join(name) })
}

/// Whether any user may make a folder here, and reach it.
fn is_open_to_all(folder: &Path) -> bool {
    let may = |path: &Path, rights| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & rights == rights);
    may(folder, 0o003) && folder.ancestors().all(|above| may(above, 0o001))
}

/// What a small program prints, trimmed.
async fn output(program: impl AsRef<OsStr>, argument: &str) -> io::Result<String> {
    let output = tokio::process::Command::new(program).arg(argument).stdin(Stdio::null()).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A name as SQL takes it, whatever is in it.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A word as a shell takes it, whatever is in it.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-@".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A text as one segment of an URL's path.
fn percent_encoded(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first_and_other_names_are_passed_over() {
        let root = std::env::temp_dir().join(format!("entraway-places-{:016x}", getrandom::u64().unwrap()));
        for folder in ["deb/9", "deb/15", "deb/common", "brew/postgresql@17", "brew/postgresql", "brew/openssl@3"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let places = [(&*root.join("deb"), ""), (&*root.join("brew"), "postgresql@"), (&*root.join("none"), "")];
        let found = newest_first(&places);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, ["brew/postgresql@17/bin", "deb/15/bin", "deb/9/bin"].map(|bin| root.join(bin)));
    }

    #[test]
    fn root_hands_postgres_to_postgres_or_else_to_nobody() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(account(passwd), Some((65534, 65533)));
        assert_eq!(account(&format!("{passwd}postgres:x:101:104:,,,:/var:/bin/sh\n")), Some((101, 104)));
        assert_eq!(account("nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n"), None);
    }

    #[test]
    fn a_folder_that_is_too_long_or_odd_or_closed_is_replaced_by_tmp() {
        let in_tmp = |temp: &str, for_another_user| {
            new_folder(Path::new(temp), for_another_user).unwrap().parent() == Some(Path::new("/tmp"))
        };
        assert!(!in_tmp("/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T", false), "macOS's own");
        assert!(in_tmp(&format!("/{}", "x".repeat(80)), false));
        assert!(in_tmp("/a folder", false));
        assert!(in_tmp("relative", false));
        assert!(in_tmp("/no/such/folder", true));
    }

    #[test]
    fn names_are_written_as_each_language_wants_them() {
        assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
        assert_eq!(quoted("litellm_1"), "litellm_1");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(percent_encoded("a/b ü"), "a%2Fb%20%C3%BC");
    }
}
