//! The program as a separate process: its folder, environment, output and exit code; and a sign-in through it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entra_simulator::ObjectId;
use reqwest::Method;
use reqwest::header::LOCATION;
use serde_json::Value;
use url::Url;

use crate::support::{Answer, Browser, World};

/// Password in the database URL. The private Postgres uses trust authentication and accepts any.
pub(crate) const DATABASE_PASSWORD: &str = "db-Passw0rd-S3cret";

/// A folder for one program's configuration and temporary files. Deleted with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/entraway-cli-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        // If started by root, the demo's Postgres runs as another user, which needs access.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file; returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The exit code and the output of a program.
#[derive(Debug)]
pub(crate) struct Ended {
    /// As in a shell: 128 plus the signal number if a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn all(&self) -> String {
        self.stdout.clone() + &self.stderr
    }

    /// The lines of the log. Each must be JSON.
    #[track_caller]
    pub(crate) fn log(&self) -> Vec<Value> {
        let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"));
        self.stderr.lines().map(read).collect()
    }
}

/// A running program in its own process group, as a shell would start it.
pub(crate) struct Program {
    process: Child,
    said: [Arc<Mutex<Vec<u8>>>; 2],
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts it in a folder, with this environment only.
    pub(crate) fn start(folder: &Folder, args: &[&str], env: &[(&str, String)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entraway"));
        command
            .args(args)
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TMPDIR", folder.path())
            .envs(env.iter().map(|(name, value)| (name, value)));
        Self::spawn(command)
    }

    /// Starts another command that executes the program.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let said = [Arc::default(), Arc::default()];
        let (stdout, stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        let readers = vec![gather(stdout, &said[0]), gather(stderr, &said[1])];
        Self { process, said, readers }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.said[0].lock().unwrap()).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.said[1].lock().unwrap()).into_owned()
    }

    /// Waits until `look` returns a value; panics with the program's output if it does not.
    pub(crate) async fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.process.try_wait().unwrap();
            if ended.is_some() || start.elapsed() > Duration::from_secs(30) {
                // The last output may not have arrived yet.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let found = look(self);
                return found.unwrap_or_else(|| {
                    panic!("no {what}; ended: {ended:?}; output:\n{}\n{}", self.stdout(), self.stderr())
                });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The URL that a service logs when it is ready.
    pub(crate) async fn ready(&mut self) -> Url {
        let listen = self
            .until("line \"ready for sign-ins\"", |program| {
                let log = program.stderr();
                let line = log.lines().find(|line| line.contains("ready for sign-ins"))?.to_owned();
                let line: Value = serde_json::from_str(&line).ok()?;
                line["listen"].as_str().map(str::to_owned)
            })
            .await;
        Url::parse(&format!("http://{listen}")).unwrap()
    }

    /// Sends a signal to the whole process group, as a terminal does.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill -s {signal} -- -{}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Waits for the exit, at most this long.
    pub(crate) async fn end_within(mut self, limit: Duration) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < limit, "still running after {limit:?}\n{}\n{}", self.stdout(), self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        for reader in std::mem::take(&mut self.readers) {
            reader.join().unwrap();
        }
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        Ended { code, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Sends SIGTERM, as a container runtime does.
    pub(crate) async fn terminate(self) -> Ended {
        self.signal("TERM");
        self.end_within(Duration::from_secs(10)).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has usually exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn gather(mut from: impl Read + Send + 'static, to: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let to = to.clone();
    std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut part) {
            to.lock().unwrap().extend_from_slice(&part[..length]);
        }
    })
}

/// Runs a command until it exits.
pub(crate) async fn run(folder: &Folder, args: &[&str], env: &[(&str, String)]) -> Ended {
    Program::start(folder, args, env).end_within(Duration::from_secs(40)).await
}

/// A configuration that takes every value from the environment.
pub(crate) const CONFIG: &str = r#"
server: {public_url: "http://127.0.0.1:1", listen: "${LISTEN}", metrics_listen: null}
database: {url: "${DB}", max_connections: 4}
entra:
  tenant: ${TENANT}
  client_id: ${CLIENT}
  client_secret: "${SECRET}"
  service_principal_id: ${PRINCIPAL}
  authority_url: ${AUTHORITY}
  graph_url: ${GRAPH}
sync: {assigned_groups_ttl: 0s}
session: {cookie_keys: ["${KEY}"]}
litellm_settings:
  entra_groups_also_create_orgs: ${ORGS}
  default_team_params: {models: [gpt-4], max_budget: 100, budget_duration: 30d, tpm_limit: 10000}
  default_internal_user_params: {user_role: internal_user, max_budget: 10, budget_duration: 30d}
"#;

/// The environment variables that `CONFIG` uses.
pub(crate) fn environment(world: &World) -> Vec<(&'static str, String)> {
    let directory = world.simulator.edit(|directory| directory.clone());
    vec![
        ("LISTEN", "127.0.0.1:0".to_owned()),
        ("DB", database(world)),
        ("TENANT", directory.tenant_id.to_string()),
        ("CLIENT", directory.client_id),
        ("SECRET", directory.client_secret),
        ("PRINCIPAL", directory.service_principal_id),
        ("AUTHORITY", world.simulator.authority_url().to_string()),
        ("GRAPH", world.simulator.graph_url().to_string()),
        ("KEY", STANDARD.encode([7; 64])),
        ("ORGS", "true".to_owned()),
    ]
}

/// Changes one value.
pub(crate) fn with(mut env: Vec<(&'static str, String)>, name: &str, value: &str) -> Vec<(&'static str, String)> {
    env.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value.into();
    env
}

/// The database URL with a password.
pub(crate) fn database(world: &World) -> String {
    let address = world.database.replacen('@', &format!(":{DATABASE_PASSWORD}@"), 1);
    assert!(address.contains(DATABASE_PASSWORD), "{address}");
    address
}

/// A user's sign-in through Entra.
pub(crate) struct Journey {
    pub(crate) browser: Browser,
    /// Entra's URL to which the browser was redirected.
    pub(crate) entra: Url,
    base: Url,
}

impl Journey {
    /// Starts a sign-in and stops at Entra.
    pub(crate) async fn begin(base: &Url) -> Self {
        let mut browser = Browser::new();
        let answer = browser.get(base.join("/sso/login").unwrap()).await;
        assert_eq!(answer.status, 303, "the sign-in did not start: {answer:#?}");
        Self { browser, entra: answer.location(), base: base.clone() }
    }

    /// A parameter of Entra's URL.
    pub(crate) fn asked(&self, name: &str) -> String {
        let found = self.entra.query_pairs().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("no {name} in {}", self.entra)).1.into_owned()
    }

    /// Picks the user; returns the callback URL of this program.
    pub(crate) async fn pick(&self, world: &World, person: ObjectId) -> Url {
        let answer =
            self.browser.request(Method::GET, world.simulator.pick_url(&self.entra, person)).send().await.unwrap();
        let location = answer.headers().get(LOCATION).expect("Entra sends the browser back").to_str().unwrap();
        let mut callback = Url::parse(location).unwrap();
        callback.set_port(self.base.port()).unwrap();
        callback
    }

    /// The callback URL with these parameters and the `state` of this sign-in.
    pub(crate) fn answer(&self, parameters: &[(&str, &str)]) -> Url {
        let mut callback = self.base.join("/sso/callback").unwrap();
        callback.query_pairs_mut().extend_pairs(parameters).append_pair("state", &self.asked("state"));
        callback
    }

    /// Completes the sign-in.
    pub(crate) async fn whole(world: &World, base: &Url, person: ObjectId) -> (Self, Answer) {
        let mut journey = Self::begin(base).await;
        let callback = journey.pick(world, person).await;
        let answer = journey.browser.get(callback).await;
        (journey, answer)
    }
}
