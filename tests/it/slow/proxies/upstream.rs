//! An application behind a proxy. Accepts every request and records it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// A received request.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
}

type All = Arc<Mutex<Vec<Reached>>>;

pub(super) struct Upstream {
    pub(super) url: Url,
    all: All,
    _stop: DropGuard,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let all = All::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let stop = CancellationToken::new();
        let app = Router::new().fallback(remember).with_state(all.clone());
        let serving = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(async move { serving.await.unwrap() });
        Self { url, all, _stop: stop.drop_guard() }
    }

    /// Number of received requests.
    pub(super) fn count(&self) -> usize {
        self.all.lock().unwrap().len()
    }

    #[track_caller]
    pub(super) fn last(&self) -> Reached {
        self.all.lock().unwrap().last().cloned().expect("a request reached the application")
    }
}

async fn remember(State(all): State<All>, request: Request) -> &'static str {
    let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    all.lock().unwrap().push(Reached { method, path, headers });
    "reached"
}
