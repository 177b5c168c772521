//! Limits: just below and just above each one, and recovery after a rejection.

mod database;
mod per_address;
mod per_user;
mod sign_ins;
mod sizes;
mod slow;

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::Service;

/// Maximum wait for any response.
const PATIENCE: Duration = Duration::from_secs(10);

async fn connect(service: &Service) -> TcpStream {
    let url = service.at("/");
    TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await.unwrap()
}

/// Everything received until the connection is closed.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection was not closed; received so far: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends this; returns everything received until the connection is closed.
async fn raw(service: &Service, request: &str) -> String {
    let mut stream = connect(service).await;
    // The server may reject it before everything is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    rest(&mut stream).await
}

/// The status of a response.
#[track_caller]
fn status(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
    status.unwrap_or_else(|| panic!("no response but {answer:?}"))
}
