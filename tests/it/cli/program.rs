//! The program as another process: its folder, its environment, what it says, how it ends; and a sign-in through it.

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

/// In the database's address. The private Postgres asks for no password, and takes any.
pub(crate) const DATABASE_PASSWORD: &str = "db-Passw0rd-S3cret";

/// A folder for one program's configuration and temporary files, gone with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/entraway-cli-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        // Started by root, the demo's Postgres runs as another user, who has to get in.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file; gives its path.
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

/// How a program ended, and all it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// As a shell has it: 128 and the signal's number where one ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn all(&self) -> String {
        self.stdout.clone() + &self.stderr
    }

    /// The log, a line at a time. Each of them has to be JSON.
    #[track_caller]
    pub(crate) fn log(&self) -> Vec<Value> {
        let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"));
        self.stderr.lines().map(read).collect()
    }
}

/// A program at work, in a process group of its own, as a shell would start it.
pub(crate) struct Program {
    process: Child,
    said: [Arc<Mutex<Vec<u8>>>; 2],
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts it in a folder, with this environment and no other.
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

    /// Starts another command, which becomes the program.
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

    /// Waits until this gives something; says what the program said if it does not.
    pub(crate) async fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.process.try_wait().unwrap();
            if ended.is_some() || start.elapsed() > Duration::from_secs(30) {
                // What it said last may still be on its way to us.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let found = look(self);
                return found.unwrap_or_else(|| {
                    panic!("no {what}; ended: {ended:?}; it said\n{}\n{}", self.stdout(), self.stderr())
                });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The address that a service logs when it is ready.
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

    /// Waits for the end, but no longer than this.
    pub(crate) async fn end_within(mut self, limit: Duration) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < limit, "not ended within {limit:?}\n{}\n{}", self.stdout(), self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        for reader in std::mem::take(&mut self.readers) {
            reader.join().unwrap();
        }
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        Ended { code, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Asks it to end as a container's runtime does.
    pub(crate) async fn terminate(self) -> Ended {
        self.signal("TERM");
        self.end_within(Duration::from_secs(10)).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Gone already, as a rule.
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

/// Runs a command to its end.
pub(crate) async fn run(folder: &Folder, args: &[&str], env: &[(&str, String)]) -> Ended {
    Program::start(folder, args, env).end_within(Duration::from_secs(40)).await
}

/// A configuration of which every value comes from the environment.
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

/// The environment that `CONFIG` names.
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

/// With one value changed.
pub(crate) fn with(mut env: Vec<(&'static str, String)>, name: &str, value: &str) -> Vec<(&'static str, String)> {
    env.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value.into();
    env
}

/// The database's address, with a password in it.
pub(crate) fn database(world: &World) -> String {
    let address = world.database.replacen('@', &format!(":{DATABASE_PASSWORD}@"), 1);
    assert!(address.contains(DATABASE_PASSWORD), "{address}");
    address
}

/// A person on the way through Entra and back.
pub(crate) struct Journey {
    pub(crate) browser: Browser,
    /// Where Entraway sent the browser to.
    pub(crate) entra: Url,
    base: Url,
}

impl Journey {
    /// As far as Entra's door.
    pub(crate) async fn begin(base: &Url) -> Self {
        let mut browser = Browser::new();
        let answer = browser.get(base.join("/sso/login").unwrap()).await;
        assert_eq!(answer.status, 303, "the sign-in did not begin: {answer:#?}");
        Self { browser, entra: answer.location(), base: base.clone() }
    }

    /// What a parameter of Entra's address holds.
    pub(crate) fn asked(&self, name: &str) -> String {
        let found = self.entra.query_pairs().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("no {name} in {}", self.entra)).1.into_owned()
    }

    /// Picks the person; gives the callback's address at this very program.
    pub(crate) async fn pick(&self, world: &World, person: ObjectId) -> Url {
        let answer =
            self.browser.request(Method::GET, world.simulator.pick_url(&self.entra, person)).send().await.unwrap();
        let location = answer.headers().get(LOCATION).expect("Entra sends the browser back").to_str().unwrap();
        let mut callback = Url::parse(location).unwrap();
        callback.set_port(self.base.port()).unwrap();
        callback
    }

    /// The callback with these parameters, and this attempt's `state`.
    pub(crate) fn answer(&self, parameters: &[(&str, &str)]) -> Url {
        let mut callback = self.base.join("/sso/callback").unwrap();
        callback.query_pairs_mut().extend_pairs(parameters).append_pair("state", &self.asked("state"));
        callback
    }

    /// All the way.
    pub(crate) async fn whole(world: &World, base: &Url, person: ObjectId) -> (Self, Answer) {
        let mut journey = Self::begin(base).await;
        let callback = journey.pick(world, person).await;
        let answer = journey.browser.get(callback).await;
        (journey, answer)
    }
}
