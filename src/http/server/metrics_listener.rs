//! The metrics listener: `GET /metrics` and nothing else, on an address that is not public.

use std::sync::Arc;
use std::time::Duration;

use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{ConnectionTimeouts, accept, serve_connection};
use crate::http::router;
use crate::http::state::App;

/// Maximum number of connections: a few scrapers with one or two each.
const MAX_CONNECTIONS: usize = 16;
/// Prometheus scrapes at least once a minute, usually on an open connection.
const TIMEOUTS: ConnectionTimeouts = ConnectionTimeouts {
    request: Duration::from_secs(75),
    connection: Duration::from_mins(10),
    last: Duration::from_secs(10),
};

/// Serves the metrics until `stop`, which is canceled after the service has stopped, so that the shutdown can be
/// observed.
pub async fn serve_metrics(app: Arc<App>, listener: TcpListener, stop: CancellationToken) {
    let router = TowerToHyperService::new(router::metrics_router(&app));
    let answer = move |request| router.call(request);
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let on_full = || {
        tracing::warn!(
            limit = MAX_CONNECTIONS,
            "connection limit of the metrics listener reached; new connections wait"
        );
    };
    accept(listener, &permits, &stop, on_full, |stream, peer, permit| {
        let connection = serve_connection(stream, peer, answer.clone(), stop.clone(), TIMEOUTS);
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    })
    .await;
    connections.close();
    connections.wait().await;
}
