//! Connections: time limits and the maximum number.

use std::time::{Duration, Instant};

use entraway::http::server::ConnectionTimeouts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::limits::{PATIENCE, connect, raw, rest, status};
use crate::support::{Browser, Service, World};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_mins(5);
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const ALIVE: &str = r#"{"status":"alive"}"#;

async fn service(world: &World, timeouts: ConnectionTimeouts, connections: usize) -> Service {
    let mut config = world.config();
    config.limits.connections = connections;
    world.patient_service(config, timeouts).await
}

/// Requests `/healthz`, which must succeed; returns the response.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(HEALTH).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(ALIVE) {
        let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("a response").unwrap();
        assert!(read > 0, "the connection ended with {}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn slow_request_is_closed_after_request_timeout() {
    let world = World::new().await;
    let service = service(&world, ConnectionTimeouts { request: SHORT, connection: LONG, last: LONG }, 100).await;
    let begin = Instant::now();
    let mut stream = connect(&service).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    // Each byte arrives within the limit.
    let trickling = async {
        while stream.write_all(b"a").await.is_ok() {
            sleep(SHORT / 10).await;
        }
    };
    assert!(timeout(PATIENCE, trickling).await.is_ok(), "a slow request is never timed out");
    assert!(begin.elapsed() >= SHORT, "closed too early");
    // In two parts, within the limit.
    let mut stream = connect(&service).await;
    stream.write_all(&HEALTH[..10]).await.unwrap();
    stream.write_all(&HEALTH[10..]).await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn idle_connection_is_closed_before_and_after_first_request() {
    let world = World::new().await;
    let service = service(&world, ConnectionTimeouts { request: SHORT, connection: LONG, last: LONG }, 100).await;
    let mut silent = connect(&service).await;
    rest(&mut silent).await;
    let mut idle = connect(&service).await;
    ask(&mut idle).await;
    ask(&mut idle).await;
    assert_eq!(rest(&mut idle).await, "", "no request, no response");
}

#[tokio::test]
async fn connection_closes_gracefully_at_maximum_lifetime() {
    let world = World::new().await;
    let service = service(&world, ConnectionTimeouts { request: LONG, connection: SHORT, last: LONG }, 100).await;
    let mut stream = connect(&service).await;
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        // The connection may be closed between two requests; requests sent before are answered.
        if stream.write_all(HEALTH).await.is_err() {
            break;
        }
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains(ALIVE) {
            match stream.read_buf(&mut answer).await {
                Ok(read) if read > 0 => {}
                _ => break,
            }
        }
        if answer.is_empty() {
            break;
        }
        assert!(String::from_utf8_lossy(&answer).contains(ALIVE), "an incomplete response");
        sleep(SHORT / 30).await;
    }
    assert!(begin.elapsed() >= SHORT, "closed too early");
    assert!(begin.elapsed() < PATIENCE, "a busy connection is never closed");
}

#[tokio::test]
async fn connection_is_closed_when_client_stops_reading() {
    let world = World::new().await;
    let timeouts = ConnectionTimeouts { request: LONG, connection: Duration::from_secs(4), last: SHORT };
    let service = service(&world, timeouts, 1).await;
    // A client with a small receive buffer.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let url = service.at("/");
    let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap()).parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let page = "GET /assets/entraway.css HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let stuck = loop {
        match timeout(SHORT, stream.write_all(page.as_bytes())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => break Err(error),
            Err(_) => break Ok(()),
        }
    };
    stuck.expect("the responses fit into the socket buffers: send more requests");
    let next = raw(&service, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&next), 200, "the only connection slot is free again");
}

#[tokio::test]
async fn connection_over_limit_waits_for_free_slot() {
    let world = World::new().await;
    let service = service(&world, ConnectionTimeouts::default(), 2).await;
    let (mut first, mut second) = (connect(&service).await, connect(&service).await);
    ask(&mut first).await;
    ask(&mut second).await;
    let mut third = connect(&service).await;
    third.write_all(HEALTH).await.unwrap();
    let mut answer = Vec::new();
    assert!(timeout(SHORT, third.read_buf(&mut answer)).await.is_err(), "a response was sent: {answer:?}");
    ask(&mut first).await;
    drop(second);
    timeout(PATIENCE, third.read_buf(&mut answer)).await.expect("a connection slot became free").unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&answer)), 200);
}

#[tokio::test]
async fn signin_succeeds_with_connection_limit_of_one() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = service(&world, ConnectionTimeouts::default(), 1).await;
    // This browser opens one connection per request, and the limit is one.
    let mut browser = Browser::new();
    let answer = browser.sign_in(&world.simulator, &service, alice).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
}
