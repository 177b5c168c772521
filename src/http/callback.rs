//! `GET /sso/callback`: the browser comes back from Entra. Open the attempt, redeem the code, verify who it is, sync,
//! and only then open a session. An attempt that cannot be finished never ends in a dead end: an expired one is started
//! again, once, and Back after a successful sign-in leads home.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::App;
use super::error::WebError;
use super::login_state::LoginState;
use super::middleware::{ClientAddress, RequestId};
use super::query::Query;
use super::return_to::ReturnTo;
use super::{failed_sign_in, login, request_metrics, session_cookie};
use crate::db::{Denial, SyncRun};
use crate::observability::metrics::{SessionEnd, SignIn};
use crate::oidc::{CompletedSignIn, SignInError, aadsts_number};
use crate::sync::{SyncError, sync};
use crate::util::sanitize::chain;

/// What tells one request from another.
struct ClientInfo {
    id: RequestId,
    client: ClientAddress,
}

pub(super) async fn finish(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    Extension(client): Extension<ClientAddress>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let begin = Instant::now();
    let response = answer(&app, query.as_deref(), &headers, &ClientInfo { id, client }).await.into_response();
    request_metrics::came_back(&app.metrics, &response, begin.elapsed());
    response
}

async fn answer(
    app: &App,
    query: Option<&str>,
    headers: &HeaderMap,
    caller: &ClientInfo,
) -> Result<Response, WebError> {
    let query = Query::parse(query, &["state", "code", "error", "error_description", "error_subcode"])?;
    let Some(attempt) = query.get("state").and_then(|state| LoginState::find(app, headers, state)) else {
        let home = ReturnTo::home(&app.config.server.public_url);
        let already = already_signed_in(app, headers, &home).await?;
        return already.ok_or(WebError::AttemptUnknown);
    };
    if attempt.is_expired(app.clock.now()) {
        return Ok(expired(app, headers, &query, attempt).await);
    }
    // The attempt is not used up by having to wait.
    let _place = match app.limits.enter() {
        Ok(place) => place,
        Err(error) => return Ok(error.returning_to(attempt.return_to.as_str())),
    };
    // Before anything else that counts. If this fails for want of a database, the attempt is still good.
    if let Err(error) = attempt.consume(app).await {
        if matches!(error, WebError::AttemptUsed)
            && let Some(response) = already_signed_in(app, headers, &attempt.return_to).await?
        {
            return Ok(response);
        }
        return Ok(error.returning_to(attempt.return_to.as_str()));
    }

    Ok(match sign_in(app, headers, &query, &attempt, caller).await {
        Ok(session) => {
            let to = attempt.return_to.url(&app.config.server.public_url);
            let mut response = Redirect::to(to.as_str()).into_response();
            response.headers_mut().append(SET_COOKIE, session);
            response.headers_mut().append(SET_COOKIE, attempt.forget(app));
            response
        }
        // The browser keeps the consumed attempt, so that Back from the error page to Entra keeps the destination.
        Err(error) => {
            if matches!(error, WebError::NotAssigned) {
                end_own_session(app, headers).await;
            }
            error.returning_to(attempt.return_to.as_str())
        }
    })
}

/// The answer to an expired attempt: a new one with the same destination, the first time. What Entra reported instead of
/// a code is shown, since the user may have canceled.
async fn expired(app: &App, headers: &HeaderMap, query: &Query, attempt: LoginState) -> Response {
    let return_to = attempt.return_to.clone();
    if let Some(error) = from_entra(query) {
        return error.returning_to(return_to.as_str());
    }
    let forget = attempt.forget(app);
    let Some((fresh, cookies)) = attempt.restart(app, headers) else {
        return WebError::AttemptExpired.returning_to(return_to.as_str());
    };
    match login::redirect_to_entra(app, &fresh, cookies).await {
        Ok(mut response) => {
            tracing::info!("expired sign-in restarted");
            response.headers_mut().append(SET_COOKIE, forget);
            response.extensions_mut().insert(SignIn::Restarted);
            response
        }
        Err(error) => error.returning_to(return_to.as_str()),
    }
}

/// Where Back after a successful sign-in leads: the attempt cannot be finished twice, but this browser has a session.
async fn already_signed_in(app: &App, headers: &HeaderMap, to: &ReturnTo) -> Result<Option<Response>, WebError> {
    if session_cookie::signed_in(app, headers).await?.is_none() {
        return Ok(None);
    }
    let mut response = Redirect::to(to.url(&app.config.server.public_url).as_str()).into_response();
    response.extensions_mut().insert(SignIn::AlreadySignedIn);
    Ok(Some(response))
}

/// What Entra sent with the browser instead of a code (RFC 6749, section 4.1.2.1).
fn from_entra(query: &Query) -> Option<WebError> {
    let error = query.get("error")?;
    Some(WebError::from_entra(error, query.get("error_description"), query.get("error_subcode")))
}

/// Redeems the code and verifies the ID token. A failure here is of a user who is not known; it is recorded as such.
async fn authenticate(
    app: &App,
    query: &Query,
    attempt: &LoginState,
    caller: &ClientInfo,
) -> Result<CompletedSignIn, WebError> {
    let (error, aadsts) = if let Some(error) = from_entra(query) {
        (error, query.get("error_description").and_then(aadsts_number).map(ToOwned::to_owned))
    } else if let Some(code) = query.get("code").filter(|code| !code.is_empty()) {
        match app.entra.complete_sign_in(code.to_owned(), &attempt.proof).await {
            Ok(signed_in) => return Ok(signed_in),
            Err(error) => {
                if let SignInError::TenantNotAllowed(identity) = &error
                    && let Err(error) = app.sessions.revoke_of_identity(*identity).await
                {
                    tracing::error!(error = chain(&error), "failed to end the sessions of a user of a denied tenant");
                }
                let aadsts = error.aadsts_number().map(ToOwned::to_owned);
                (WebError::from_sign_in(error, &app.config.entra.client_auth), aadsts)
            }
        }
    } else {
        (WebError::CodeMissing, None)
    };
    failed_sign_in::record(app, &error, aadsts, &caller.id, caller.client.address).await;
    Err(error)
}

/// AADSTS50105 ("not assigned") does not identify the user, so only this browser's session ends. A successful sign-in would
/// end it too. The `state` is this browser's own, so another site cannot trigger this.
async fn end_own_session(app: &App, headers: &HeaderMap) {
    if let Err(error) = session_cookie::end(app, headers, SessionEnd::Denied).await {
        tracing::error!(error = chain(&error), "failed to end the session of a denied sign-in");
    }
}

/// Everything between a good attempt and a session; gives the session's cookie.
async fn sign_in(
    app: &App,
    headers: &HeaderMap,
    query: &Query,
    attempt: &LoginState,
    caller: &ClientInfo,
) -> Result<HeaderValue, WebError> {
    let begin = Instant::now();
    let signed_in = authenticate(app, query, attempt, caller).await?;
    let entra_time = begin.elapsed();
    let person = &signed_in.user;
    tracing::Span::current().record("user_id", tracing::field::display(person.identity.object_id));
    app.limits.count_user(person.identity)?;
    let policy = &app.config.policy;
    let now = app.clock.now();
    let outcome = if policy.admits_email(person.sign_in_address.as_ref()) {
        sync(&app.reader, &app.store, app.cache.as_ref(), policy, person, &signed_in.access_token, now).await
    } else {
        Err(SyncError::Denied(Denial::EmailDomain, Box::new(SyncRun::new(now, Some(Denial::EmailDomain), None))))
    };
    let run = match outcome {
        Ok(run) => {
            let run = SyncRun { entra_time, ..run };
            request_metrics::synced(&app.metrics, &run);
            run
        }
        Err(SyncError::Denied(refusal, run)) => {
            let run = SyncRun { entra_time, ..*run };
            request_metrics::synced(&app.metrics, &run);
            if let Err(error) = app.sessions.record_denial(person.identity, &run).await {
                tracing::error!(
                    error = chain(&error),
                    "failed to record a denied sign-in and to end the user's sessions"
                );
            }
            return Err(WebError::refused(refusal, &run));
        }
        Err(SyncError::Store(error)) => return Err(error.into()),
    };
    let cookie = session_cookie::open(app, headers, person, signed_in.sid.clone(), &run).await?;
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
