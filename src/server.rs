//! The running service: a listener, the routes, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::text::chain;
use crate::web::{self, App, StartError};

/// After a signal, requests that are under way get this long to finish.
const GRACE: Duration = Duration::from_secs(15);
/// How often sessions, attempts and records that are over are deleted.
const PURGE_EVERY: Duration = Duration::from_mins(5);

/// Why the service ended otherwise than asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the listener failed")]
    Listener(#[from] std::io::Error),
}

/// Serves until `stop` is cancelled; then takes no new connection, finishes the requests under way, and closes the pool.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: CancellationToken) -> Result<(), ServeError> {
    let router = web::router(&app)?.into_make_service_with_connect_info::<SocketAddr>();
    let purging = tokio::spawn(purge(app.clone(), stop.clone()));
    let following = tokio::spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { app.sessions().follow(stop).await }
    });
    let graceful = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = graceful => ended?,
        // An idle or stuck connection must not keep the process alive.
        () = late => tracing::warn!("requests were still under way after {GRACE:?} and were cut"),
    }
    purging.abort();
    following.abort();
    // A connection that hangs must not keep the process either.
    let _ = tokio::time::timeout(GRACE, app.store().close()).await;
    Ok(())
}

async fn purge(app: Arc<App>, stop: CancellationToken) {
    while tokio::time::timeout(PURGE_EVERY, stop.cancelled()).await.is_err() {
        match app.purge().await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "purged what is over"),
            Err(error) => tracing::warn!("what is over could not be purged: {}", chain(&error)),
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
