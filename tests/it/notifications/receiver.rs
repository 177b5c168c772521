//! A receiver of webhooks that records requests and answers with given statuses.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::LOCATION;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// A received request.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) path: String,
    pub(super) content_type: String,
    pub(super) id: String,
    pub(super) timestamp: i64,
    pub(super) signatures: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether one of the signatures is that of this secret.
    pub(super) fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = [format!("{}.{}.", self.id, self.timestamp).as_bytes(), &self.body].concat();
        let expected = format!("v1,{}", STANDARD.encode(hmac(&key, &signed)));
        self.signatures.contains(&expected)
    }
}

/// HMAC-SHA256 as RFC 2104 defines it, for keys of at most 64 bytes.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| (0..64).map(|at| key.get(at).unwrap_or(&0) ^ byte).collect::<Vec<u8>>();
    let inner = Sha256::digest([&pad(0x36), text].concat());
    Sha256::digest([&pad(0x5C)[..], &inner[..]].concat()).to_vec()
}

#[derive(Default)]
struct Script {
    received: Vec<Received>,
    /// Statuses of the next responses; then 204.
    statuses: VecDeque<u16>,
    /// Target of redirects.
    location: String,
}

type Shared = Arc<Mutex<Script>>;

pub(super) struct Receiver {
    pub(super) url: Url,
    script: Shared,
    _stop: DropGuard,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let script = Shared::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook/T0KEN", listener.local_addr().unwrap()).parse().unwrap();
        let stop = CancellationToken::new();
        let app = Router::new().fallback(record).with_state(script.clone());
        let serving = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(async move { serving.await.unwrap() });
        Self { url, script, _stop: stop.drop_guard() }
    }

    /// Answers with these statuses, then with 204.
    pub(super) fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        self.script.lock().unwrap().statuses = statuses.into_iter().collect();
    }

    /// Sets the target of redirects.
    pub(super) fn redirect_to(&self, url: &Url) {
        self.script.lock().unwrap().location = url.to_string();
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.script.lock().unwrap().received.clone()
    }

    /// Waits for this number of requests, and returns all.
    pub(super) async fn until(&self, count: usize) -> Vec<Received> {
        let seen = async {
            while self.received().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), seen).await;
        assert!(waited.is_ok(), "{} requests instead of {count}: {:#?}", self.received().len(), self.received());
        self.received()
    }
}

async fn record(State(script): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
    let header = |name: &str| head.headers.get(name).map_or_else(String::new, |v| v.to_str().unwrap().to_owned());
    let received = Received {
        path: head.uri.path().to_owned(),
        content_type: header("content-type"),
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp").parse().unwrap(),
        signatures: header("webhook-signature").split(' ').map(str::to_owned).collect(),
        body,
    };
    let mut script = script.lock().unwrap();
    script.received.push(received);
    let status = script.statuses.pop_front().unwrap_or(204);
    let status = StatusCode::from_u16(status).unwrap();
    if status.is_redirection() {
        (status, [(LOCATION, script.location.clone())]).into_response()
    } else {
        status.into_response()
    }
}
