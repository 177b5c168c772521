//! The listener for those who run the service: `GET /metrics` and nothing else, out of the public's reach.

use std::sync::Arc;
use std::time::Duration;

use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{ConnectionTimeouts, accept, serve_connection};
use crate::http::App;

/// Some who read, each with a connection or two.
const CONNECTIONS: usize = 16;
/// Prometheus asks every minute at the longest, mostly on the connection that it has.
const TIMEOUTS: ConnectionTimeouts = ConnectionTimeouts {
    request: Duration::from_secs(75),
    connection: Duration::from_mins(10),
    last: Duration::from_secs(10),
};

/// Serves the metrics until `stop`, which comes after the service's own end: how it ends can be watched.
pub async fn serve_metrics(app: Arc<App>, listener: TcpListener, stop: CancellationToken) {
    let router = TowerToHyperService::new(crate::http::metrics_router(&app));
    let answer = move |request| router.call(request);
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let on_full = || tracing::warn!("{CONNECTIONS} connections read the metrics: the next one waits");
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
