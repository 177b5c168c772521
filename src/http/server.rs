//! The HTTP server: connections and their time limits, background jobs, graceful shutdown.

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

use super::{forward_auth, router};
use crate::http::state::{App, StartError};
use crate::notifications;
use crate::util::sanitize::error_chain;

pub use metrics_listener::serve_metrics;

/// Time for requests in flight to finish after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);
/// Interval of the expiry job.
const EXPIRY_INTERVAL: Duration = Duration::from_mins(5);
/// Interval at which the expiry of the app's certificate is checked for notifications.
const CREDENTIAL_INTERVAL: Duration = Duration::from_hours(1);
/// Maximum size of a request without its body. More than the limits of the router, which answers with an error page;
/// beyond this, hyper answers with a bare 431.
const MAX_HEAD: usize = 64 * 1024;

/// The response to a request.
type ResponseResult = Result<Response, Infallible>;

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimeouts {
    /// Until the next request has arrived completely, whether the connection is idle or slow.
    pub request: Duration,
    /// Until the request in flight is the last one.
    pub connection: Duration,
    /// Until the last request is answered and the response is read.
    pub last: Duration,
}

impl Default for ConnectionTimeouts {
    /// Load balancers keep idle connections for a minute and expect them to stay open. No request takes as long as
    /// `last`.
    fn default() -> Self {
        Self { request: Duration::from_secs(75), connection: Duration::from_mins(10), last: Duration::from_secs(75) }
    }
}

/// Serves until `stop` is canceled. Then accepts no new connections, finishes requests in flight, and closes the pool.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: CancellationToken) -> Result<(), StartError> {
    serve_with(app, listener, stop, ConnectionTimeouts::default()).await
}

/// Like `serve`, with other time limits.
pub async fn serve_with(
    app: Arc<App>,
    listener: TcpListener,
    stop: CancellationToken,
    timeouts: ConnectionTimeouts,
) -> Result<(), StartError> {
    let router = TowerToHyperService::new(router::router(&app)?);
    let shared = app.clone();
    let answer = move |request: Request<Incoming>| {
        let (app, router) = (shared.clone(), router.clone());
        async move {
            match forward_auth::fast_path_answer(&app, &request) {
                Some(response) => Ok(response),
                None => router.call(request).await,
            }
        }
    };
    let expiry_job = tokio::spawn(delete_expired(app.clone(), stop.clone()));
    let reconcile_job = tokio::spawn(reconcile(app.clone(), stop.clone()));
    let listener_job = tokio::spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { app.sessions().listen(stop).await }
    });
    // Ends after the reconciliation, which may still notify.
    let stop_notifications = CancellationToken::new();
    let notifications_job = tokio::spawn({
        let (app, stop) = (app.clone(), stop_notifications.clone());
        async move { app.notifier().deliver(stop).await }
    });
    let credential_job = tokio::spawn(report_expiry(app.clone()));
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(app.connections()));
    let on_full = || {
        app.metrics().connections_waited.add(());
        tracing::warn!(
            limit = app.connections(),
            help = "Raise limits.connections",
            "connection limit reached; new connections wait"
        );
    };
    accept(listener, &permits, &stop, on_full, |stream, peer, permit| {
        let open = app.metrics().connections_open.guard(());
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
        tracing::warn!(grace_seconds = GRACE.as_secs(), "canceled requests that were still in flight at shutdown");
    }
    expiry_job.abort();
    credential_job.abort();
    // A run stops at once, and gives the lease to another replica.
    let _ = timeout(GRACE, reconcile_job).await;
    // Sends what is queued, and then ends by itself.
    stop_notifications.cancel();
    let _ = timeout(notifications::GRACE, notifications_job).await;
    // The listener stops by itself and closes its connection properly.
    let _ = timeout(GRACE, listener_job).await;
    // A stuck database connection must not keep the process alive.
    let _ = timeout(GRACE, app.db().close()).await;
    Ok(())
}

/// Accepts connections until `stop`. At the limit, new connections wait in the backlog of the operating system: proxies
/// wait for them, but would report a connection that is closed at once as a failure.
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
            // The semaphore is never closed.
            else => return,
        }
    }
}

/// Serves one connection.
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
        // A failed connection is not logged: the client disconnected, was too slow, or sent no HTTP.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = sleep(timeouts.connection) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(timeouts.last, connection).await;
}

/// Runs the reconciliation at intervals, unless it is switched off.
async fn reconcile(app: Arc<App>, stop: CancellationToken) {
    if let Some(interval) = app.reconcile_interval() {
        app.metrics().reconciliation_interval.set((), i64::try_from(interval.as_secs()).unwrap_or(i64::MAX));
        app.reconciliation().run_at_intervals(interval, &stop).await;
    }
}

async fn delete_expired(app: Arc<App>, stop: CancellationToken) {
    while timeout(EXPIRY_INTERVAL, stop.cancelled()).await.is_err() {
        // The database has time limits of its own, but a network may drop all packets.
        match timeout(EXPIRY_INTERVAL, app.delete_expired()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(rows)) => tracing::debug!(rows, "deleted expired rows"),
            Ok(Err(error)) => tracing::warn!(error = error_chain(&error), "failed to delete expired rows"),
            Err(_) => tracing::warn!(error = "no response from the database in time", "failed to delete expired rows"),
        }
    }
}

async fn report_expiry(app: Arc<App>) {
    let mut last = None;
    loop {
        last = app.report_expiry(last).await;
        sleep(CREDENTIAL_INTERVAL).await;
    }
}

/// Canceled by the first SIGTERM or Ctrl-C. The handlers exist when it returns: a signal that arrives earlier would end the
/// process at once.
#[must_use]
pub fn stop_on_signals() -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};

    let stop = CancellationToken::new();
    let cancel = stop.clone();
    if let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            cancel.cancel();
        });
    }
    stop
}
