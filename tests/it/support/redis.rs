//! A private Redis, and a plain connection to it that shares no code with the product.

use std::io::{BufRead as _, BufReader as Lines};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Maximum wait, long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A `redis-server` on this machine's loopback without persistence. Stopped with the test.
pub(crate) struct Redis {
    pub(crate) port: u16,
    process: Child,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    /// Starts one on a free port, with command-line settings.
    pub(crate) fn start(settings: &[&str]) -> Self {
        // Another process may take the port before it starts.
        (0..10).find_map(|_| Self::on(free_port(), settings)).expect("redis-server starts on one of ten free ports")
    }

    /// Starts one on this port; `None` if the port is taken. A `--port` in the settings is for TLS.
    pub(crate) fn on(port: u16, settings: &[&str]) -> Option<Self> {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let process = command.args(settings).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let process = process.expect("redis-server is installed: script/setup --redis does that");
        let mut server = Self { port, process };
        // Reads its log, since another process may respond on the port. Ends when the server does.
        let log = Lines::new(server.process.stdout.take().unwrap());
        let ready = log.lines().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
        ready.then_some(server)
    }

    /// The URL with credentials such as `:password@`, or without.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("redis://{user}127.0.0.1:{}", self.port)
    }

    pub(crate) async fn connect(&self) -> RedisConnection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("the test's Redis accepts connections");
        RedisConnection(BufReader::new(stream))
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A connection that speaks RESP2.
pub(crate) struct RedisConnection(BufReader<TcpStream>);

impl RedisConnection {
    /// Sends a command; returns its reply, with the elements of an array.
    pub(crate) async fn ask(&mut self, command: &str) -> Vec<String> {
        self.0.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        self.answer().await
    }

    /// The next reply or message.
    pub(crate) async fn answer(&mut self) -> Vec<String> {
        let first = self.line().await;
        let Some(elements) = first.strip_prefix('*') else { return vec![self.value(first).await] };
        let mut answer = Vec::new();
        for _ in 0..elements.parse().unwrap() {
            let line = self.line().await;
            answer.push(self.value(line).await);
        }
        answer
    }

    /// Whether no message is pending: sends a command and checks that its reply comes next.
    pub(crate) async fn is_silent(&mut self) -> bool {
        self.ask("PING").await == ["pong", ""]
    }

    async fn value(&mut self, line: String) -> String {
        let Some(length) = line.strip_prefix('$').map(|length| length.parse::<i64>().unwrap()) else { return line };
        let Ok(length) = usize::try_from(length) else { return "nothing".to_owned() };
        let mut bytes = vec![0; length + 2];
        timeout(LIMIT, self.0.read_exact(&mut bytes)).await.expect("Redis continues").unwrap();
        String::from_utf8(bytes).unwrap().trim_end_matches("\r\n").to_owned()
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(LIMIT, self.0.read_line(&mut line)).await.expect("Redis responds").unwrap();
        line.trim_end().to_owned()
    }
}
