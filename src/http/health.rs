//! For those who run the service: is it alive, is it ready.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::App;
use crate::db::StoreError;
use crate::util::clock::Moment;
use crate::util::sanitize::chain;

/// How long a result is shared. However many ask, the database is asked once in this time.
const TTL: Duration = Duration::from_secs(1);
/// Less than the five seconds that load balancers and Kubernetes' probes usually wait.
const TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Serialize)]
pub(super) struct Alive {
    status: &'static str,
}

/// Whether people can sign in. Says of each part only whether it works: the route needs no session. Reasons are in the
/// log, on the settings page and in the output of `entraway check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    ready: bool,
    postgres: Part,
    entra: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Ok,
    Failing,
}

/// The last result, and when it was found.
#[derive(Default)]
pub(super) struct ReadinessCheck {
    last: Mutex<Option<(Moment, Readiness)>>,
}

impl ReadinessCheck {
    /// The last result, or a new one. Requests that arrive meanwhile wait for the same one.
    async fn get(&self, app: &App) -> Readiness {
        let mut last = self.last.lock().await;
        if let Some((at, readiness)) = *last
            && at.age(app.clock.moment()) < TTL
        {
            return readiness;
        }
        let before = last.map(|(_, readiness)| readiness);
        let readiness = check(app, before).await;
        *last = Some((app.clock.moment(), readiness));
        readiness
    }
}

async fn check(app: &App, before: Option<Readiness>) -> Readiness {
    let postgres = async { timeout(TIMEOUT, app.store.ready()).await.unwrap_or(Err(StoreError::Timeout)) };
    let (postgres, entra) = tokio::join!(postgres, app.entra.ready());
    // With the remedy, and once a minute: requests of users meet the same failure.
    if let Err(error) = &postgres {
        app.database_log.database(error);
    }
    let postgres = if postgres.is_ok() { Part::Ok } else { Part::Failing };
    let entra = entra_part(before.map(|before| before.entra), entra.err());
    Readiness { ready: postgres == Part::Ok && entra == Part::Ok, postgres, entra }
}

/// Logs when the state changes.
fn entra_part(before: Option<Part>, error: Option<impl Error>) -> Part {
    match (error, before) {
        (Some(error), None | Some(Part::Ok)) => {
            tracing::warn!(error = chain(&error), "Entra is not ready");
            Part::Failing
        }
        (Some(_), Some(Part::Failing)) => Part::Failing,
        (None, Some(Part::Failing)) => {
            tracing::info!("Entra is ready again");
            Part::Ok
        }
        (None, _) => Part::Ok,
    }
}

/// `GET /healthz`: this process answers. Says nothing of what it depends on.
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// `GET /readyz`: people can sign in; 503 with the state of each part otherwise.
pub(super) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    // In a task of its own: a probe that gives up must not cancel the check, or a failed reading of Entra's keys would never
    // be remembered, and each probe would wait for the next one.
    let check = tokio::spawn(async move { app.readiness.get(&app).await });
    let failing = Readiness { ready: false, postgres: Part::Failing, entra: Part::Failing };
    let readiness = check.await.unwrap_or(failing);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}
