//! The running service: connections and how long each may keep us, the routes, and an orderly end.

mod metrics_listener;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::response::Response;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::{App, StartError};
use crate::util::sanitize::chain;

pub use metrics_listener::serve_metrics;

/// After a signal, requests that are under way get this long to finish.
const GRACE: Duration = Duration::from_secs(15);
/// How often sessions, attempts and records that are over are deleted.
const PURGE_EVERY: Duration = Duration::from_mins(5);
/// A request without its body. More than `web` takes, which answers in words; what is even longer gets a bare 431.
const LONGEST_HEAD: usize = 64 * 1024;

/// What a connection gets for a request.
type Answered = Result<Response, Infallible>;

/// How long a connection may keep its place.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the next request is there as a whole, be it that nothing comes or that it trickles in.
    pub request: Duration,
    /// Until the request under way is the last one.
    pub connection: Duration,
    /// Until that one is answered and the answer taken.
    pub last: Duration,
}

impl Default for Patience {
    /// Load balancers keep idle connections for a minute, and do not like to find one closed. No request takes as long as
    /// the last one may.
    fn default() -> Self {
        Self { request: Duration::from_secs(75), connection: Duration::from_mins(10), last: Duration::from_secs(75) }
    }
}

/// Serves until `stop` is cancelled; then takes no new connection, finishes the requests under way, and closes the pool.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: CancellationToken) -> Result<(), StartError> {
    serve_with(app, listener, stop, Patience::default()).await
}

/// As `serve`, with another patience.
pub async fn serve_with(
    app: Arc<App>,
    listener: TcpListener,
    stop: CancellationToken,
    patience: Patience,
) -> Result<(), StartError> {
    let router = TowerToHyperService::new(super::router(&app)?);
    let asked = app.clone();
    let answer = move |mut request: Request<Incoming>| {
        let (app, router) = (asked.clone(), router.clone());
        async move {
            match super::answer_at_once(&app, &mut request).await {
                Some(response) => Ok(response),
                None => router.call(request).await,
            }
        }
    };
    let purging = tokio::spawn(purge(app.clone(), stop.clone()));
    let following = tokio::spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { app.sessions().listen(stop).await }
    });
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(app.connections()));
    let full = || {
        app.metrics().connections_waited.add(());
        tracing::warn!("as many connections are open as may be (limits.connections): the next one waits");
    };
    accept(listener, &places, &stop, full, |stream, peer, place| {
        let open = app.metrics().connections_open.guard(());
        let connection = converse(stream, peer, answer.clone(), stop.clone(), patience);
        connections.spawn(async move {
            connection.await;
            drop((place, open));
        });
    })
    .await;
    connections.close();
    // An idle or stuck connection must not keep the process alive.
    if timeout(GRACE, connections.wait()).await.is_err() {
        tracing::warn!("requests were still under way after {GRACE:?} and were cut");
    }
    purging.abort();
    // It ends by itself, its connection in good order.
    let _ = timeout(GRACE, following).await;
    // A connection that hangs must not keep the process either.
    let _ = timeout(GRACE, app.store().close()).await;
    Ok(())
}

/// Hands over connections until it is told to stop. Where all places are taken, the next ones wait with the operating
/// system: a proxy has patience, and would make a failure of a connection that is closed at once.
async fn accept(
    mut listener: TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
    full: impl Fn(),
    begin: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) {
    loop {
        let next = async {
            if places.available_permits() == 0 {
                full();
            }
            let place = places.clone().acquire_owned().await;
            (place, Listener::accept(&mut listener).await)
        };
        tokio::select! {
            (Ok(place), (stream, peer)) = next => begin(stream, peer, place),
            () = stop.cancelled() => return,
            // Nobody closes the semaphore.
            else => return,
        }
    }
}

/// One connection, from its first request to its end.
async fn converse<A: Future<Output = Answered>>(
    stream: TcpStream,
    peer: SocketAddr,
    answer: impl Fn(Request<Incoming>) -> A,
    stop: CancellationToken,
    patience: Patience,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        answer(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.request).max_buf_size(LONGEST_HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // What went wrong with it is the client's matter: it broke off, was too slow, or spoke no HTTP.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = sleep(patience.connection) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(patience.last, connection).await;
}

async fn purge(app: Arc<App>, stop: CancellationToken) {
    while timeout(PURGE_EVERY, stop.cancelled()).await.is_err() {
        // The database has its own time-outs, but may be beyond a network that swallows everything.
        match timeout(PURGE_EVERY, app.purge()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(rows)) => tracing::debug!(rows, "purged what is over"),
            Ok(Err(error)) => tracing::warn!("what is over could not be purged: {}", chain(&error)),
            Err(_) => tracing::warn!("what is over could not be purged: no answer within {PURGE_EVERY:?}"),
        }
    }
}

/// Cancelled by the first SIGTERM or Ctrl-C.
#[must_use]
pub fn stop_on_signals() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        signal().await;
        cancel.cancel();
    });
    stop
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        }
        _ => std::future::pending().await,
    }
}
