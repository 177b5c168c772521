//! `GET /sso/callback`: finishes a sign-in. Opens the login state, redeems the authorization code, verifies the ID
//! token, syncs, and then opens a session.
//!
//! Every failure offers a way on: an expired login state is restarted once, and Back after a successful sign-in leads
//! to the destination.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::login_state::LoginState;
use super::{failed_sign_in, login};
use crate::http::error::WebError;
use crate::http::extract::SsoParams;
use crate::http::middleware::{ClientIp, RequestId};
use crate::http::query::{Parameters, Query, QueryError};
use crate::http::return_to::ReturnTo;
use crate::http::state::App;
use crate::http::{metrics, session_cookie};
use crate::observability::metrics::SignIn;
use crate::oidc::{CompletedSignIn, SignInError, aadsts_number};
use crate::sync::{SyncError, sync};
use crate::sync_run::{Denial, SyncRun};
use crate::util::random;
use crate::util::sanitize::error_chain;

/// Entra's response: `state` with a code (RFC 6749, section 4.1.2) or an error (section 4.1.2.1).
pub(in crate::http) struct CallbackQuery {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    error_subcode: Option<String>,
}

impl Parameters for CallbackQuery {
    const NAMES: &'static [&'static str] = &["state", "code", "error", "error_description", "error_subcode"];

    fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self {
            state: query.owned("state"),
            code: query.owned("code"),
            error: query.owned("error"),
            error_description: query.owned("error_description"),
            error_subcode: query.owned("error_subcode"),
        })
    }
}

impl CallbackQuery {
    /// The error that Entra sent instead of a code.
    fn error(&self) -> Option<WebError> {
        let error = self.error.as_deref()?;
        Some(WebError::from_entra(error, self.error_description.as_deref(), self.error_subcode.as_deref()))
    }
}

/// A request, as all steps of a sign-in need it.
struct Callback<'a> {
    app: &'a App,
    headers: &'a HeaderMap,
    query: CallbackQuery,
    request_id: RequestId,
    client: ClientIp,
}

pub(in crate::http) async fn finish(
    State(app): State<Arc<App>>,
    request_id: RequestId,
    client: ClientIp,
    query: Result<SsoParams<CallbackQuery>, WebError>,
    headers: HeaderMap,
) -> Response {
    let begin = Instant::now();
    let response = match query {
        Ok(SsoParams(query)) => {
            let callback = Callback { app: &app, headers: &headers, query, request_id, client };
            callback.answer().await.into_response()
        }
        Err(error) => error.into_response(),
    };
    metrics::record_sign_in(&app.metrics, &response, begin.elapsed());
    response
}

impl Callback<'_> {
    async fn answer(&self) -> Result<Response, WebError> {
        let Self { app, headers, query, .. } = self;
        let Some(login_state) = query.state.as_deref().and_then(|state| LoginState::find(app, headers, state)) else {
            let already = self.already_signed_in(&ReturnTo::home(&app.config.server.public_url)).await?;
            return already.ok_or(WebError::LoginStateUnknown);
        };
        if login_state.is_expired(app.clock.now()) {
            return Ok(self.restart(login_state).await);
        }
        // Acquire the permit first, so that a full service does not consume the login state.
        let _permit = match app.limits.sign_in_permit() {
            Ok(permit) => permit,
            Err(error) => return Ok(error.returning_to(login_state.return_to.as_str())),
        };
        // Consume the state before all other side effects. If the database fails here, the state stays valid.
        if let Err(error) = login_state.consume(app).await {
            if matches!(error, WebError::LoginStateReused)
                && let Some(response) = self.already_signed_in(&login_state.return_to).await?
            {
                return Ok(response);
            }
            return Ok(error.returning_to(login_state.return_to.as_str()));
        }
        Ok(match self.sign_in(&login_state).await {
            Ok(session) => {
                let to = login_state.return_to.url(&app.config.server.public_url);
                let mut response = Redirect::to(to.as_str()).into_response();
                response.headers_mut().append(SET_COOKIE, session);
                response.headers_mut().append(SET_COOKIE, login_state.delete_cookie(app));
                response
            }
            // Keep the consumed state in the browser, so that Back from the error page to Entra keeps the destination.
            Err(error) => {
                if matches!(error, WebError::NotAssigned) {
                    self.end_own_session().await;
                }
                error.returning_to(login_state.return_to.as_str())
            }
        })
    }

    /// Restarts an expired sign-in once, with the same destination. An error that Entra sent is shown instead, since the
    /// user may have canceled.
    async fn restart(&self, login_state: LoginState) -> Response {
        let Self { app, headers, query, .. } = self;
        let return_to = login_state.return_to.clone();
        if let Some(error) = query.error() {
            return error.returning_to(return_to.as_str());
        }
        let delete_cookie = login_state.delete_cookie(app);
        let Some((fresh, cookies)) = login_state.restart(app, headers) else {
            return WebError::LoginStateExpired.returning_to(return_to.as_str());
        };
        match login::redirect_to_entra(app, &fresh, cookies).await {
            Ok(mut response) => {
                tracing::info!("expired sign-in restarted");
                response.headers_mut().append(SET_COOKIE, delete_cookie);
                response.extensions_mut().insert(SignIn::Restarted);
                response
            }
            Err(error) => error.returning_to(return_to.as_str()),
        }
    }

    /// Redirect for Back after a successful sign-in: the state cannot be used twice, but this browser has a session.
    async fn already_signed_in(&self, to: &ReturnTo) -> Result<Option<Response>, WebError> {
        if session_cookie::signed_in(self.app, self.headers).await?.is_none() {
            return Ok(None);
        }
        let mut response = Redirect::to(to.url(&self.app.config.server.public_url).as_str()).into_response();
        response.extensions_mut().insert(SignIn::AlreadySignedIn);
        Ok(Some(response))
    }

    /// Redeems the code and verifies the ID token. A failure is recorded as one of an unknown user.
    async fn authenticate(&self, login_state: &LoginState) -> Result<CompletedSignIn, WebError> {
        let Self { app, query, .. } = self;
        let (error, aadsts) = if let Some(error) = query.error() {
            (error, query.error_description.as_deref().and_then(aadsts_number).map(ToOwned::to_owned))
        } else if let Some(code) = query.code.as_ref().filter(|code| !code.is_empty()) {
            match app.entra.complete_sign_in(code.clone(), &login_state.secrets).await {
                Ok(signed_in) => return Ok(signed_in),
                Err(error) => {
                    if let SignInError::TenantNotAllowed(identity) = &error
                        && let Err(error) = app.sessions.end_denied(*identity).await
                    {
                        tracing::error!(
                            error = error_chain(&error),
                            "failed to end the sessions of a user of a denied tenant"
                        );
                    }
                    let aadsts = error.aadsts_number().map(ToOwned::to_owned);
                    (WebError::from_sign_in(error, &app.config.entra.client_auth), aadsts)
                }
            }
        } else {
            (WebError::CodeMissing, None)
        };
        failed_sign_in::record(app, &error, aadsts, &self.request_id, self.client.address).await;
        Err(error)
    }

    /// Ends this browser's session. AADSTS50105 ("not assigned") does not identify the user, so no other session can be
    /// ended. Another site cannot trigger this, since the `state` is bound to this browser.
    async fn end_own_session(&self) {
        if let Err(error) = session_cookie::revoke(self.app, self.headers, "not_assigned").await {
            tracing::error!(error = error_chain(&error), "failed to end the session of a denied sign-in");
        }
    }

    /// Authenticates and syncs the user and opens a session. Returns the session cookie.
    async fn sign_in(&self, login_state: &LoginState) -> Result<HeaderValue, WebError> {
        let Self { app, headers, .. } = self;
        let begin = Instant::now();
        let signed_in = self.authenticate(login_state).await?;
        let entra_time = begin.elapsed();
        let user = &signed_in.user;
        tracing::Span::current().record("user_id", tracing::field::display(user.identity.object_id));
        app.limits.count_user(user.identity)?;
        let policy = &app.config.policy;
        let now = app.clock.now();
        let outcome = if policy.admits_email(user.sign_in_address.as_ref()) {
            sync(&app.directory_reader, &app.db, app.cache.as_ref(), policy, user, &signed_in.access_token, now).await
        } else {
            let run = SyncRun::new(random::uuid(), now, Some(Denial::EmailDomain), None);
            Err(SyncError::Denied(Denial::EmailDomain, Box::new(run)))
        };
        let run = match outcome {
            Ok(run) => {
                let run = SyncRun { entra_time, ..run };
                metrics::record_sync(&app.metrics, &run);
                run
            }
            Err(SyncError::Denied(denial, run)) => {
                let run = SyncRun { entra_time, ..*run };
                metrics::record_sync(&app.metrics, &run);
                if let Err(error) = app.sessions.record_denial(user.identity, &run).await {
                    tracing::error!(
                        error = error_chain(&error),
                        "failed to record a denied sign-in and to end the user's sessions"
                    );
                }
                return Err(WebError::denied(denial, &run));
            }
            Err(SyncError::Db(error)) => return Err(error.into()),
        };
        let cookie = session_cookie::issue(app, headers, user, signed_in.sid.clone(), &run).await?;
        tracing::info!(
            tenant_id = %user.identity.tenant_id,
            organizations_created = run.applied.organizations_created.len(),
            teams_created = run.applied.teams_created.len(),
            organizations_joined = run.applied.organizations_joined.len(),
            teams_joined = run.applied.teams_joined.len(),
            removed_from_teams = run.applied.removed_from_teams.len(),
            removed_from_organizations = run.applied.removed_from_organizations.len(),
            keys_blocked = run.applied.keys_blocked.values().map(BTreeSet::len).sum::<usize>(),
            team_models_updated = run.applied.team_models_updated.len(),
            failures = run.applied.failures.len(),
            graph_ms = run.graph_time.as_secs_f64() * 1_000.0,
            store_ms = run.store_time.as_secs_f64() * 1_000.0,
            "signed in"
        );
        Ok(cookie)
    }
}
