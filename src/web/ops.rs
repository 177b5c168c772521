//! For those who run the service: is it alive, is it ready.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::App;
use crate::text::count;

#[derive(Serialize)]
pub(super) struct Alive {
    status: &'static str,
}

#[derive(Serialize)]
pub(super) struct Readiness {
    ready: bool,
    postgres: Part,
    entra: Part,
    /// What has to be done soon; it does not keep people from signing in yet.
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Part {
    ready: bool,
    /// What is the matter, or what was found.
    reason: String,
}

/// `GET /healthz`: this process answers. Says nothing of what it depends on.
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// `GET /readyz`: people can sign in; 503 with the reason for each part otherwise.
pub(super) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    let (postgres, entra, warnings) = tokio::join!(app.store.ready(), app.entra.ready(), app.warnings());
    let postgres = match postgres {
        Ok(()) => Part { ready: true, reason: "the database answers and holds our tables".to_owned() },
        Err(error) => {
            app.database_log.database(&error);
            Part { ready: false, reason: error.to_string() }
        }
    };
    let entra = match entra {
        Ok(keys) => {
            let keys = count(keys, "signing key");
            Part { ready: true, reason: format!("Entra's endpoints and {keys} are known") }
        }
        Err(error) => Part { ready: false, reason: error.to_string() },
    };
    let ready = postgres.ready && entra.ready;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, postgres, entra, warnings }))
}
