//! A recipe of the documentation, and a private proxy that runs it.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use url::Url;

use super::client::Client;
use crate::docs::markdown;
use crate::support::pem;

/// Generous time limit, because the machine may be busy.
const LIMIT: Duration = Duration::from_secs(30);

/// The only code block of this language in a document.
pub(super) fn recipe(document: &str, language: &str) -> String {
    let document = markdown::document(document);
    let mut blocks = document.blocks().into_iter().filter(|block| block.language == language);
    let block = blocks.next().expect("the document has a recipe");
    assert!(blocks.next().is_none(), "{} has one recipe", document.name);
    block.text
}

/// `host:port` of a URL.
pub(super) fn authority(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
}

/// A folder for a proxy's files. Deleted on drop.
pub(super) struct Workplace(PathBuf);

impl Workplace {
    pub(super) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/entraway-proxy-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub(super) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Creates a certificate for the recipes' hosts. Returns the paths of certificate and key.
    pub(super) fn certificate(&self) -> (String, String) {
        let names = ["sso", "app", "other"].map(|host| format!("{host}.example.com"));
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = pem("CERTIFICATE", made.cert.der());
        (
            self.file("tls.pem", &certificate),
            self.file("tls.key", &pem("PRIVATE KEY", &made.signing_key.serialize_der())),
        )
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running proxy. Stopped on drop.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    process: Child,
    place: Workplace,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxy {
    /// Starts the proxy on a free port and waits until it responds.
    pub(super) async fn start(place: Workplace, command: impl Fn(&Workplace, u16) -> Command) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = command(&place, port);
        let log = fs::File::create(place.path().join("log")).unwrap();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let process = process.expect("nginx and caddy are installed: script/setup --proxies does that");
        let mut proxy = Self { port, process, place };
        let begin = Instant::now();
        // Caddy listens before it has its certificates.
        while !Client::new(port).is_answered().await {
            let ended = proxy.process.try_wait().unwrap();
            assert!(ended.is_none() && begin.elapsed() < LIMIT, "the proxy did not start: {}", proxy.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy
    }

    /// The proxy's log.
    pub(super) fn log(&self) -> String {
        let mut log = String::new();
        fs::File::open(self.place.path().join("log")).unwrap().read_to_string(&mut log).unwrap();
        log
    }
}
