//! Sizes of URLs, headers, cookies and bodies.

use std::fmt::Write as _;

use tokio::io::AsyncWriteExt as _;

use super::{connect, raw, rest, status};
use crate::errors::shown;
use crate::support::{Browser, Service, World};

const KB: usize = 1024;

/// A request with exactly this many bytes of headers, line ends included. The headers begin with `first`.
fn with_headers(first: &str, bytes: usize) -> String {
    let mut headers = format!("Host: sso.example\r\nConnection: close\r\n{first}");
    let mut number = 0;
    while headers.len() < bytes {
        // 4 KB per header, so that the last one is neither too short nor too long.
        let left = bytes - headers.len();
        let line = if left < 6 * KB { left } else { 4 * KB };
        write!(headers, "X-{number:02}: {}\r\n", "x".repeat(line - "X-00: \r\n".len())).unwrap();
        number += 1;
    }
    assert_eq!(headers.len(), bytes);
    format!("GET /healthz HTTP/1.1\r\n{headers}\r\n")
}

#[tokio::test]
async fn request_target_over_8_kb_is_rejected() {
    let world = World::new().await;
    let service = world.service().await;
    let filled = |path: &str, bytes: usize| service.at(&format!("{path}{}", "x".repeat(bytes - path.len())));
    for path in ["/healthz?", "/sso/login?a="] {
        let answer = Browser::new().get(filled(path, 8 * KB)).await;
        assert!(answer.status.as_u16() < 400, "{path}: {answer:#?}");
        shown(&world, (414, "target_too_long"), async || (Browser::new(), filled(path, 8 * KB + 1))).await;
    }
    let answer = Browser::new().get(filled("/sso/callback?state=", 8 * KB)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "attempt_unknown"));
    shown(&world, (414, "target_too_long"), async || (Browser::new(), filled("/sso/callback?state=", 9 * KB))).await;
    shown(&world, (414, "target_too_long"), async || (Browser::new(), filled("/", 40 * KB))).await;
}

#[tokio::test]
async fn headers_over_32_kb_are_rejected() {
    let world = World::new().await;
    let service = world.service().await;
    let answer = raw(&service, &with_headers("", 32 * KB)).await;
    assert_eq!(status(&answer), 200, "{answer}");
    for bytes in [32 * KB + 1, 60 * KB] {
        let answer = raw(&service, &with_headers("Accept: application/json\r\n", bytes)).await;
        assert_eq!(status(&answer), 431, "{bytes} bytes: {answer}");
        assert!(answer.contains(r#""code":"headers_too_long""#), "{answer}");
        assert!(answer.contains("\r\ncontent-security-policy: "), "{answer}");
    }
    let page = raw(&service, &with_headers("", 32 * KB + 1)).await;
    assert!(page.contains("<h1>The request is too large</h1>"), "{page}");
}

#[tokio::test]
async fn oversized_header_is_rejected_before_it_is_complete() {
    let world = World::new().await;
    let service = world.service().await;
    let mut stream = connect(&service).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: sso.example\r\nX: ").await.unwrap();
    let megabyte = "x".repeat(1024 * KB);
    let _ = stream.write_all(megabyte.as_bytes()).await;
    // The rest was never read, so the response may be lost, but the connection is closed.
    let mut answer = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    let ended = tokio::time::timeout(super::PATIENCE, reading).await;
    assert!(ended.is_ok(), "an endless request is still being read");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
    assert_eq!(Browser::new().get(service.at("/healthz")).await.status, 200);
}

#[tokio::test]
async fn more_than_100_headers_are_rejected() {
    let world = World::new().await;
    let service = world.service().await;
    let request = |count: usize| {
        let headers = "X-Again: x\r\n".repeat(count - 2);
        format!("GET /healthz HTTP/1.1\r\nHost: sso.example\r\nConnection: close\r\n{headers}\r\n")
    };
    assert_eq!(status(&raw(&service, &request(100)).await), 200);
    assert_eq!(status(&raw(&service, &request(101)).await), 431);
}

#[tokio::test]
async fn cookies_over_16_kb_are_rejected_with_remedy() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut signed_in = world.sign_in(&service, alice).await;
    // Other applications' cookies beside the session cookie.
    let sent = |browser: &Browser| -> usize {
        browser.cookies.iter().map(|(name, value)| name.len() + 1 + value.len() + 2).sum::<usize>() - 2
    };
    let mut fill = |bytes: usize| {
        signed_in.cookies.insert("other".into(), String::new());
        let left = bytes - sent(&signed_in);
        signed_in.cookies.insert("other".into(), "x".repeat(left));
        assert_eq!(sent(&signed_in), bytes);
        signed_in.clone()
    };
    let answer = fill(16 * KB).me(&service).await;
    assert_eq!(answer.status, 200, "{answer:#?}");
    let too_many = fill(16 * KB + 1);
    let url = service.at("/");
    let page = shown(&world, (431, "cookies_too_long"), async || (too_many.clone(), url.clone())).await;
    assert!(page.body.contains("Delete the cookies of this site"), "{}", page.body);

    // The limit applies to the sum, not to the longest line.
    let line = format!("Cookie: a={}\r\n", "x".repeat(6 * KB));
    let headers = line.repeat(3);
    let answer = raw(&service, &format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await;
    assert_eq!(status(&answer), 431);
    assert!(answer.contains("cookies_too_long"), "{answer}");
}

/// A request that announces a body and sends only this many bytes of it.
async fn announcing(service: &Service, (method, path): (&str, &str), announced: &str, sent: usize) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\n");
    raw(service, &format!("{head}Content-Length: {announced}\r\n\r\n{}", "x".repeat(sent))).await
}

#[tokio::test]
async fn body_over_16_kb_is_rejected_by_content_length() {
    let world = World::new().await;
    let service = world.service().await;
    for (route, good) in
        [(("POST", "/sso/logout"), 303), (("GET", "/healthz"), 200), (("GET", "/api/me"), 401), (("PUT", "/"), 405)]
    {
        let answer = announcing(&service, route, "16384", 16 * KB).await;
        assert_eq!(status(&answer), good, "{route:?}: {answer}");
        // Rejected without waiting for the body.
        for announced in ["16385", "99999999999999"] {
            let answer = announcing(&service, route, announced, 0).await;
            assert_eq!(status(&answer), 413, "{route:?} with {announced}: {answer}");
            assert!(answer.contains("body_too_long"), "{route:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn endless_chunked_body_is_not_read() {
    let world = World::new().await;
    let service = world.service().await;
    let mut stream = connect(&service).await;
    let head =
        "POST /sso/logout HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 64 * KB, "x".repeat(64 * KB));
    let (mut reading, mut writing) = stream.split();
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut reading, &mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 303", "the response does not wait for the body");
    let endless = async { while writing.write_all(chunk.as_bytes()).await.is_ok() {} };
    let ended = tokio::time::timeout(super::PATIENCE, endless).await;
    assert!(ended.is_ok(), "an endless body is still being read");
}

#[tokio::test]
async fn invalid_http_is_rejected() {
    let world = World::new().await;
    let service = world.service().await;
    for request in
        ["hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"]
    {
        assert_eq!(status(&raw(&service, request).await), 400, "{request:?}");
    }
    let mut stream = connect(&service).await;
    // HTTP/2 is the job of the reverse proxy. The preface gets no response.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}
