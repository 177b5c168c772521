//! A Redis with a password, as a LiteLLM proxy's operator has one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// In the Redis' address.
pub(super) const REDIS_PASSWORD: &str = "redis-Passw0rd-S3cret";

/// A `redis-server` on loopback that keeps nothing; it goes with the test.
pub(super) struct Redis {
    port: u16,
    process: Child,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    pub(super) fn start() -> Self {
        // Another process may take the port between our looking and its starting.
        (0..10).find_map(|_| Self::on(free_port())).expect("redis-server starts on one of ten free ports")
    }

    fn on(port: u16) -> Option<Self> {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--requirepass", REDIS_PASSWORD]).stdin(Stdio::null()).stdout(Stdio::piped());
        let process = command.spawn().expect("redis-server is installed: script/setup --redis does that");
        let mut server = Self { port, process };
        let log = BufReader::new(server.process.stdout.take().unwrap());
        let ready = log.lines().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
        ready.then_some(server)
    }

    pub(super) fn url(&self) -> String {
        address(self.port)
    }

    /// A proxy's worker that listens, as long as this is kept.
    pub(super) fn listener(&self, channel: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "AUTH {REDIS_PASSWORD}\r\nSUBSCRIBE {channel}\r\n").unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let last = answers.take(7).last();
        assert_eq!(last.as_deref(), Some(":1"), "Redis does not tell of a subscription");
        stream
    }
}

/// The address of a Redis on this machine, with the password.
pub(super) fn address(port: u16) -> String {
    format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{port}")
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
