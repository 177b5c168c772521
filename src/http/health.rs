//! Health checks: `/healthz` (liveness) and `/readyz` (readiness).

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::log_once::LogOnce;
use crate::db::{Db, DbError};
use crate::oidc::Entra;
use crate::util::clock::{Clock, Moment};
use crate::util::sanitize::error_chain;

/// How long a result is shared. The database is queried once in this time, however many clients ask.
const TTL: Duration = Duration::from_secs(1);
/// Less than the five seconds that load balancers and Kubernetes probes usually wait.
const TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Serialize)]
pub(super) struct Alive {
    status: &'static str,
}

/// Whether users can sign in. The route is public, so it only says whether each part works. Reasons are in the log, on
/// the settings page and in the output of `entraway check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    ready: bool,
    postgres: ComponentState,
    entra: ComponentState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum ComponentState {
    Ok,
    Failing,
}

/// Checks the parts that a sign-in needs, and caches the last result. Clones share it.
#[derive(Clone)]
pub(super) struct ReadinessCheck {
    pub(super) db: Db,
    pub(super) entra: Arc<Entra>,
    pub(super) clock: Clock,
    pub(super) database_log: Arc<LogOnce>,
    pub(super) last: Arc<Mutex<Option<(Moment, Readiness)>>>,
}

impl ReadinessCheck {
    /// Returns the last result or a new one. Concurrent requests share one check.
    async fn get(&self) -> Readiness {
        let mut last = self.last.lock().await;
        if let Some((at, readiness)) = *last
            && at.age(self.clock.moment()) < TTL
        {
            return readiness;
        }
        let readiness = self.check(last.map(|(_, readiness)| readiness)).await;
        *last = Some((self.clock.moment(), readiness));
        readiness
    }

    async fn check(&self, before: Option<Readiness>) -> Readiness {
        let postgres = async { timeout(TIMEOUT, self.db.ready()).await.unwrap_or(Err(DbError::Timeout)) };
        let (postgres, entra) = tokio::join!(postgres, self.entra.ready());
        // With help for the operator, and once a minute: requests of users report the same failure.
        if let Err(error) = &postgres {
            self.database_log.database(error);
        }
        let postgres = if postgres.is_ok() { ComponentState::Ok } else { ComponentState::Failing };
        let entra = entra_state(before.map(|before| before.entra), entra.err());
        Readiness { ready: postgres == ComponentState::Ok && entra == ComponentState::Ok, postgres, entra }
    }
}

/// Logs changes of Entra's state.
fn entra_state(before: Option<ComponentState>, error: Option<impl Error>) -> ComponentState {
    match (error, before) {
        (Some(error), None | Some(ComponentState::Ok)) => {
            tracing::warn!(error = error_chain(&error), "Entra is not ready");
            ComponentState::Failing
        }
        (Some(_), Some(ComponentState::Failing)) => ComponentState::Failing,
        (None, Some(ComponentState::Failing)) => {
            tracing::info!("Entra is ready again");
            ComponentState::Ok
        }
        (None, _) => ComponentState::Ok,
    }
}

/// `GET /healthz`: the process responds. Checks no dependencies.
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// `GET /readyz`: 200 if users can sign in; otherwise 503 with the state of each part.
pub(super) async fn ready(State(readiness): State<ReadinessCheck>) -> (StatusCode, Json<Readiness>) {
    // In a task, so that a canceled probe does not cancel the check. Otherwise a failure to fetch Entra's keys would
    // never be cached, and each probe would wait for it.
    let check = tokio::spawn(async move { readiness.get().await });
    let failing = Readiness { ready: false, postgres: ComponentState::Failing, entra: ComponentState::Failing };
    let readiness = check.await.unwrap_or(failing);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}
