//! How much is too much: each limit just below and just above it, and that whoever was refused can come again.

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

/// Long enough for anything that comes at all.
const PATIENCE: Duration = Duration::from_secs(10);

async fn connect(service: &Service) -> TcpStream {
    let url = service.at("/");
    TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await.unwrap()
}

/// All that comes until the connection ends, which it has to.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection was not closed; so far came: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends this; gives the answer up to the end of the connection.
async fn raw(service: &Service, request: &str) -> String {
    let mut stream = connect(service).await;
    // It may be refused before it is sent as a whole.
    let _ = stream.write_all(request.as_bytes()).await;
    rest(&mut stream).await
}

/// The status of an answer.
#[track_caller]
fn status(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
    status.unwrap_or_else(|| panic!("no answer but {answer:?}"))
}
