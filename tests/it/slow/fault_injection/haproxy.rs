//! A private HAProxy with the settings of docs/how-to/make-highly-available.md.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use url::Url;

use crate::cli::program::Folder;
use crate::docs::markdown::document;

/// Generous time limit, because the machine may be busy.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

/// HAProxy settings below a heading of docs/how-to/make-highly-available.md.
pub(super) fn settings(heading: &str) -> String {
    let page = document("docs/how-to/make-highly-available.md");
    let mut blocks = page.blocks().into_iter().filter(|block| block.language == "haproxy");
    let block = blocks.find(|block| block.headings.last().is_some_and(|last| last == heading));
    block.unwrap_or_else(|| panic!("docs/how-to/make-highly-available.md has no HAProxy settings below {heading}")).text
}

/// Replaces each first string by the second. Panics if one is missing.
#[track_caller]
pub(super) fn replaced(mut text: String, pairs: &[(&str, &str)]) -> String {
    for (theirs, ours) in pairs {
        assert!(text.contains(theirs), "{theirs} is not among the settings:\n{text}");
        text = text.replace(theirs, ours);
    }
    text
}

/// A running HAProxy. Stopped on drop.
pub(super) struct HaProxy {
    folder: Folder,
    process: Child,
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl HaProxy {
    /// Starts HAProxy and waits until all of these servers (`backend/server`) are up.
    pub(super) async fn start(settings: &str, servers: &[&str]) -> Self {
        let folder = Folder::new();
        let socket = folder.path().join("socket");
        let file = folder.file("haproxy.cfg", &format!("global\n    stats socket {}\n{settings}", socket.display()));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let program = if std::path::Path::new("/usr/sbin/haproxy").exists() { "/usr/sbin/haproxy" } else { "haproxy" };
        let process = Command::new(program)
            .args(["-db", "-f", &file])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("haproxy is installed: script/setup --proxies does that");
        let mut started = Self { folder, process };
        for server in servers {
            started.until(server, "UP").await;
        }
        started
    }

    /// Waits until HAProxy reports this state (UP or DOWN) for a server (`backend/server`).
    pub(super) async fn until(&mut self, server: &str, state: &str) {
        let begin = Instant::now();
        loop {
            let found = self.state(server).await;
            if found.as_deref().is_some_and(|found| found.starts_with(state)) {
                return;
            }
            let ended = self.process.try_wait().unwrap();
            assert!(
                ended.is_none() && begin.elapsed() < LIMIT,
                "{server} is {found:?}, not {state}; HAProxy's log:\n{}",
                fs::read_to_string(self.folder.path().join("log")).unwrap()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn state(&self, server: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.folder.path().join("socket")).await.ok()?;
        stream.write_all(b"show stat\n").await.ok()?;
        let mut table = String::new();
        stream.read_to_string(&mut table).await.ok()?;
        let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let status = lines.next()?.iter().position(|name| *name == "status")?;
        let row = lines.find(|row| row.len() > status && format!("{}/{}", row[0], row[1]) == server)?;
        Some(row[status].to_owned())
    }
}

/// `host:port` of a URL.
pub(super) fn authority(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
}
