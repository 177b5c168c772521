//! `GET /sso/callback`: the browser comes back from Entra. Open the attempt, redeem the code, verify who it is, sync,
//! and only then open a session.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::App;
use super::attempt::Attempt;
use super::error::WebError;
use super::query::Query;
use super::{session, watch};
use crate::store::{Refusal, SyncRun};
use crate::sync::{SyncError, sync};
use crate::text::chain;

pub(super) async fn finish(State(app): State<Arc<App>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let begin = Instant::now();
    let response = answer(&app, query.as_deref(), &headers).await.into_response();
    watch::came_back(&app.metrics, &response, begin.elapsed());
    response
}

async fn answer(app: &App, query: Option<&str>, headers: &HeaderMap) -> Result<Response, WebError> {
    let query = Query::parse(query, &["state", "code", "error", "error_description", "error_subcode"])?;
    let attempt = Attempt::find(app, headers, query.get("state").ok_or(WebError::AttemptUnknown)?)?;
    // The attempt is not used up by having to wait.
    let _place = match app.limits.enter() {
        Ok(place) => place,
        Err(error) => return Ok(error.returning_to(attempt.return_to.as_str())),
    };
    // Before anything else that counts. If this fails for want of a database, the attempt is still good.
    if let Err(error) = attempt.use_up(app).await {
        return Ok(error.returning_to(attempt.return_to.as_str()));
    }

    let mut response = match sign_in(app, headers, &query, &attempt).await {
        Ok(session) => {
            let to = attempt.return_to.url(&app.config.server.public_url);
            let mut response = Redirect::to(to.as_str()).into_response();
            response.headers_mut().append(SET_COOKIE, session);
            response
        }
        Err(error) => error.returning_to(attempt.return_to.as_str()),
    };
    response.headers_mut().append(SET_COOKIE, attempt.forget(app));
    Ok(response)
}

/// Everything between a good attempt and a session; gives the session's cookie.
async fn sign_in(app: &App, headers: &HeaderMap, query: &Query, attempt: &Attempt) -> Result<HeaderValue, WebError> {
    if let Some(error) = query.get("error") {
        return Err(WebError::from_entra(error, query.get("error_description"), query.get("error_subcode")));
    }
    let code = query.get("code").filter(|code| !code.is_empty()).ok_or(WebError::CodeMissing)?;
    let begin = Instant::now();
    let signed_in = app.entra.finish(code.to_owned(), &attempt.proof).await?;
    let entra_time = begin.elapsed();
    let person = &signed_in.person;
    tracing::Span::current().record("user_id", tracing::field::display(person.identity.object_id));
    let policy = &app.config.policy;
    let now = app.clock.now();
    let outcome = if policy.admits_email(person.sign_in_address.as_ref()) {
        sync(&app.reader, &app.store, app.cache.as_ref(), policy, person, &signed_in.access_token, now).await
    } else {
        Err(SyncError::Refused(Refusal::EmailDomain, Box::new(SyncRun::new(now, Some(Refusal::EmailDomain), None))))
    };
    let run = match outcome {
        Ok(run) => {
            let run = SyncRun { entra_time, ..run };
            watch::synced(&app.metrics, &run);
            run
        }
        Err(SyncError::Refused(refusal, run)) => {
            let run = SyncRun { entra_time, ..*run };
            watch::synced(&app.metrics, &run);
            if let Err(error) = app.store.keep_refusal(person.identity, &run).await {
                tracing::warn!("the record of a refused sign-in was not kept: {}", chain(&error));
            }
            return Err(WebError::refused(refusal, &run));
        }
        Err(SyncError::Store(error)) => return Err(error.into()),
    };
    let cookie = session::open(app, headers, person.identity, signed_in.sid.clone(), &run).await?;
    tracing::info!(
        tenant_id = %person.identity.tenant_id,
        organizations_created = run.applied.organizations_created.len(),
        teams_created = run.applied.teams_created.len(),
        organizations_joined = run.applied.organizations_joined.len(),
        teams_joined = run.applied.teams_joined.len(),
        team_models_updated = run.applied.team_models_updated.len(),
        failures = run.applied.failures.len(),
        graph_ms = run.graph_time.as_secs_f64() * 1_000.0,
        store_ms = run.store_time.as_secs_f64() * 1_000.0,
        "signed in"
    );
    Ok(cookie)
}
