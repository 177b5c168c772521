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
const EXPIRY_INTERVAL: Duration = Duration::from_mins(5);
/// A request without its body. More than `web` takes, which answers in words; what is even longer gets a bare 431.
const MAX_HEAD: usize = 64 * 1024;

/// What a connection gets for a request.
type ResponseResult = Result<Response, Infallible>;

/// How long a connection may keep its permit.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimeouts {
    /// Until the next request is there as a whole, be it that nothing comes or that it trickles in.
    pub request: Duration,
    /// Until the request under way is the last one.
    pub connection: Duration,
    /// Until that one is answered and the answer taken.
    pub last: Duration,
}

impl Default for ConnectionTimeouts {
    /// Load balancers keep idle connections for a minute, and do not like to find one closed. No request takes as long as
    /// the last one may.
    fn default() -> Self {
        Self { request: Duration::from_secs(75), connection: Duration::from_mins(10), last: Duration::from_secs(75) }
    }
}

/// Serves until `stop` is cancelled; then takes no new connection, finishes the requests under way, and closes the pool.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: CancellationToken) -> Result<(), StartError> {
    serve_with(app, listener, stop, ConnectionTimeouts::default()).await
}

/// As `serve`, with another timeouts.
pub async fn serve_with(
    app: Arc<App>,
    listener: TcpListener,
    stop: CancellationToken,
    timeouts: ConnectionTimeouts,
) -> Result<(), StartError> {
    let router = TowerToHyperService::new(super::router(&app)?);
    let shared = app.clone();
    let answer = move |mut request: Request<Incoming>| {
        let (app, router) = (shared.clone(), router.clone());
        async move {
            match super::fast_path(&app, &mut request).await {
                Some(response) => Ok(response),
                None => router.call(request).await,
            }
        }
    };
    let expiry_job = tokio::spawn(delete_expired(app.clone(), stop.clone()));
    let listener_job = tokio::spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { app.sessions().follow(stop).await }
    });
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(app.connections()));
    let on_full = || {
        app.metrics().connections_waited.add(());
        tracing::warn!("as many connections are open as may be (limits.connections): the next one waits");
    };
    accept(listener, &permits, &stop, on_full, |stream, peer, permit| {
        let open = app.metrics().connections_open.hold(());
        let connection = serve_connection(stream, peer, answer.clone(), stop.clone(), timeouts);
        connections.spawn(async move {
            connection.await;
            drop((permit, open));
        });
    })
    .await;
    connections.close();
    // An idle or stuck connection must not keep the process alive.
    if timeout(GRACE, connections.wait()).await.is_err() {
        tracing::warn!("requests were still under way after {GRACE:?} and were cut");
    }
    expiry_job.abort();
    // It ends by itself, its connection in good order.
    let _ = timeout(GRACE, listener_job).await;
    // A connection that hangs must not keep the process either.
    let _ = timeout(GRACE, app.store().close()).await;
    Ok(())
}

/// Hands over connections until it is told to stop. Where all permits are taken, the next ones wait with the operating
/// system: a proxy has timeouts, and would make a failure of a connection that is closed at once.
async fn accept(
    mut listener: TcpListener,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
    on_full: impl Fn(),
    on_accept: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) {
    loop {
        let next = async {
            if permits.available_permits() == 0 {
                on_full();
            }
            let permit = permits.clone().acquire_owned().await;
            (permit, Listener::accept(&mut listener).await)
        };
        tokio::select! {
            (Ok(permit), (stream, peer)) = next => on_accept(stream, peer, permit),
            () = stop.cancelled() => return,
            // Nobody closes the semaphore.
            else => return,
        }
    }
}

/// One connection, from its first request to its end.
async fn serve_connection<A: Future<Output = ResponseResult>>(
    stream: TcpStream,
    peer: SocketAddr,
    answer: impl Fn(Request<Incoming>) -> A,
    stop: CancellationToken,
    timeouts: ConnectionTimeouts,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        answer(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(timeouts.request).max_buf_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // What went wrong with it is the client's matter: it broke off, was too slow, or spoke no HTTP.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = sleep(timeouts.connection) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(timeouts.last, connection).await;
}

async fn delete_expired(app: Arc<App>, stop: CancellationToken) {
    while timeout(EXPIRY_INTERVAL, stop.cancelled()).await.is_err() {
        // The database has its own time-outs, but may be beyond a network that swallows everything.
        match timeout(EXPIRY_INTERVAL, app.delete_expired()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(rows)) => tracing::debug!(rows, "purged what is over"),
            Ok(Err(error)) => tracing::warn!("what is over could not be purged: {}", chain(&error)),
            Err(_) => tracing::warn!("what is over could not be purged: no answer within {EXPIRY_INTERVAL:?}"),
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
