//! The service in a separate process, and its resource usage as reported by Linux.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use entraway::domain::StoreKind;
use reqwest::header::COOKIE;
use reqwest::{Client, Response};

use crate::browser;
use crate::simulator::Facts;

/// The service's URL for browsers.
pub(crate) const PUBLIC_URL: &str = "http://127.0.0.1:1";

/// A running service. It stops on drop.
pub(crate) struct Service {
    child: Child,
    address: String,
    /// URL of the bare route, if the program has one.
    bare: Option<String>,
    client: Client,
    _folder: Folder,
}

/// A temporary folder, removed on drop.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> anyhow::Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = Self(std::env::temp_dir().join(format!("entraway-bench-{}-{n}", std::process::id())));
        std::fs::create_dir_all(&folder.0)?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    /// Starts the program, optimized as in the image, and waits until it is ready.
    pub(crate) async fn start(database: &str, store: StoreKind, entra: &Facts) -> anyhow::Result<Self> {
        Self::run(Command::new(env!("CARGO_BIN_EXE_entraway")).arg("serve"), database, store, entra).await
    }

    /// Runs a program that accepts the options of `entraway serve`.
    pub(crate) async fn run(
        command: &mut Command,
        database: &str,
        store: StoreKind,
        entra: &Facts,
    ) -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let file = folder.file("config.yaml", &config(database, store, entra, 0))?;
        let mut child = command.args(["--log-format", "json", "--config"]).arg(&file).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().context("no standard error")?;
        let (tell, told) = mpsc::channel();
        // Reads to the end, so that logging never blocks.
        std::thread::spawn(move || {
            let mut bare = None;
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = value(&line, "bare") {
                    bare = Some(address);
                } else if let Some(address) = value(&line, "listen") {
                    let _ = tell.send((address, bare.take()));
                } else if !line.contains("\"INFO\"") {
                    eprintln!("{line}");
                }
            }
        });
        let ready = move || told.recv_timeout(Duration::from_mins(1));
        let (address, bare) = tokio::task::spawn_blocking(ready).await?.context("the service did not start")?;
        let client = browser::client()?;
        Ok(Self { child, address, bare, client, _folder: folder })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// `http://` with host and port.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// URL of the bare route.
    pub(crate) fn bare_url(&self) -> anyhow::Result<String> {
        Ok(format!("http://{}", self.bare.as_ref().context("this program has no bare route")?))
    }

    /// Requests a page with a cookie.
    pub(crate) async fn get(&self, path: &str, cookie: &str) -> anyhow::Result<Response> {
        Ok(self.client.get(format!("{}{path}", self.url())).header(COOKIE, cookie).send().await?)
    }

    /// Resident memory in bytes: `VmRSS` is the current value, `VmHWM` the peak.
    pub(crate) fn memory(&self, what: &str) -> anyhow::Result<f64> {
        memory(self.child.id(), what)
    }

    /// CPU time of the process so far, in milliseconds, with a resolution of ten.
    pub(crate) fn processor_ms(&self) -> anyhow::Result<f64> {
        processor_ms(self.child.id())
    }
}

/// Peak of a process's resident memory in bytes.
pub(crate) fn peak_memory(process: u32) -> anyhow::Result<f64> {
    memory(process, "VmHWM")
}

fn memory(process: u32, what: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kib: f64 = line.with_context(|| format!("no {what}"))?.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0)
}

/// CPU time of a process so far, in milliseconds, with a resolution of ten.
pub(crate) fn processor_ms(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    // User and system time: fields 14 and 15.
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? * 10.0)
}

/// Value of a key in a log line.
fn value(line: &str, key: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
    rest.split('"').next().map(str::to_owned)
}

/// A configuration. Port 0 selects any free port.
pub(crate) fn config(database: &str, store: StoreKind, entra: &Facts, port: u16) -> String {
    let Facts { tenant_id, client_id, client_secret, service_principal_id, authority_url, graph_url, .. } = entra;
    format!(
        "server: {{public_url: '{PUBLIC_URL}', listen: '127.0.0.1:{port}', metrics_listen: null}}\n\
         database: {{url: '{database}'}}\n\
         store: {}\n\
         sync: {{reconcile: {{interval: 0s}}}}\n\
         limits: {{sign_ins_per_address: 0, sign_ins_per_user: 0}}\n\
         entra:\n  tenant: {tenant_id}\n  client_id: {client_id}\n  client_secret: {client_secret}\n  \
         service_principal_id: {service_principal_id}\n  authority_url: {authority_url}\n  graph_url: {graph_url}\n\
         litellm_settings:\n  entra_groups_also_create_orgs: true\n  \
         default_team_params: {{models: [gpt-4], max_budget: 100.0, budget_duration: 30d}}\n",
        name(store),
    )
}

/// Name of the store in the configuration.
pub(crate) fn name(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Native => "native",
        StoreKind::LiteLlm => "litellm",
    }
}
