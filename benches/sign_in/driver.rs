//! Starts the release binary and signs people in through it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use entraway::domain::{ObjectId, StoreKind};
use entraway::fake::Fake;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response};
use tokio::task::JoinSet;

/// The service in a process of its own; it ends with this value.
pub(crate) struct Binary {
    child: Child,
    address: String,
    public_url: String,
    client: Client,
    _folder: Folder,
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Binary {
    pub(crate) async fn start(database: &str, store: StoreKind, fake: &Fake) -> anyhow::Result<Self> {
        let directory = fake.edit(|directory| directory.clone());
        let folder = Folder(std::env::temp_dir().join(format!("entraway-bench-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0)?;
        let file = folder.0.join("config.yaml");
        let public_url = "http://127.0.0.1:1".to_owned();
        std::fs::write(
            &file,
            format!(
                "server: {{public_url: '{public_url}', listen: '127.0.0.1:0'}}\n\
                 database: {{url: '{database}'}}\n\
                 store: {}\n\
                 limits: {{sign_ins_per_address: 0}}\n\
                 entra:\n  tenant: {}\n  client_id: {}\n  client_secret: {}\n  service_principal_id: {}\n  \
                 authority_url: {}\n  graph_url: {}\n\
                 litellm_settings:\n  entra_groups_also_create_orgs: true\n  \
                 default_team_params: {{models: [gpt-4], max_budget: 100.0, budget_duration: 30d}}\n",
                if store == StoreKind::Native { "native" } else { "litellm" },
                directory.tenant_id,
                directory.client_id,
                directory.client_secret,
                directory.service_principal_id,
                fake.authority_url(),
                fake.graph_url(),
            ),
        )?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_entraway"))
            .args(["serve", "--log-format", "json", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("no standard error")?;
        let (tell, address) = std::sync::mpsc::channel();
        // Reads to the end, so that logging never waits for us.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("\"listen\":\"") {
                    let _ = tell.send(rest.split('"').next().unwrap_or_default().to_owned());
                }
            }
        });
        let address = tokio::task::spawn_blocking(move || address.recv_timeout(Duration::from_secs(30))).await??;
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        Ok(Self { child, address, public_url, client, _folder: folder })
    }

    /// A page, with a session's cookie.
    pub(crate) async fn get(&self, path: &str, cookie: &str) -> anyhow::Result<Response> {
        Ok(self.client.get(format!("http://{}{path}", self.address)).header(COOKIE, cookie).send().await?)
    }

    /// In MiB; what Linux calls `VmRSS`.
    pub(crate) fn resident_memory(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

/// What a storm of sign-ins gave.
pub(crate) struct Storm {
    pub(crate) a_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// The whole way of one browser: begin, pick, come back.
pub(crate) async fn sign_in(fake: &Fake, binary: &Binary, person: ObjectId) -> anyhow::Result<()> {
    session(fake, binary, person).await.map(drop)
}

/// The same; gives the session's cookie.
pub(crate) async fn session(fake: &Fake, binary: &Binary, person: ObjectId) -> anyhow::Result<String> {
    let begun = binary.client.get(format!("http://{}/sso/login", binary.address)).send().await?;
    let cookie = begun.headers().get(SET_COOKIE).context("no cookie")?.to_str()?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let picked = binary.client.get(fake.pick_url(&location(&begun)?.parse()?, person)).send().await?;
    let callback = location(&picked)?.replacen(&binary.public_url, &format!("http://{}", binary.address), 1);
    let done = binary.client.get(callback).header(COOKIE, cookie).send().await?;
    ensure!(done.status() == 303, "a sign-in ended with {}", done.status());
    let cookies =
        done.headers().get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
    cookies.into_iter().find(|cookie| cookie.starts_with("entraway=")).map(str::to_owned).context("no session")
}

fn location(response: &Response) -> anyhow::Result<&str> {
    Ok(response.headers().get(LOCATION).context("no redirect")?.to_str()?)
}

/// Signs people in, one after another, so many at a time.
pub(crate) async fn storm(
    fake: &Fake,
    binary: &Arc<Binary>,
    people: &Arc<[ObjectId]>,
    count: usize,
    at_once: usize,
) -> anyhow::Result<Storm> {
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (fake, binary, people, next) = (fake.clone(), binary.clone(), people.clone(), next.clone());
        workers.spawn(async move {
            let mut times = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return anyhow::Ok(times);
                }
                let begin = Instant::now();
                sign_in(&fake, &binary, people[n % people.len()]).await?;
                times.push(begin.elapsed().as_secs_f64() * 1_000.0);
            }
        });
    }
    let mut times = Vec::new();
    while let Some(worker) = workers.join_next().await {
        times.extend(worker??);
    }
    let a_second = f64::from(u32::try_from(times.len())?) / begin.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    Ok(Storm { a_second, p50_ms: times[times.len() / 2], p99_ms: times[times.len() * 99 / 100] })
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
