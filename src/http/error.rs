//! Errors of handlers. Each becomes a status, a page or `application/problem+json`, and one log line.

mod log_once;
mod messages;
mod page;

pub(super) use log_once::LogOnce;

use messages::ErrorMessage;
use page::ProblemPage;

use std::any::Any;
use std::sync::Arc;

use askama::Template as _;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use tower_http::csrf::ProtectionError;

use super::layout::Layout;
use super::middleware::RequestId;
use super::query::QueryError;
use super::{App, forward_auth, metrics};
use crate::assertion::AssertionError;
use crate::config::ClientAuth;
use crate::db::DbError;
use crate::oidc::{IdTokenError, ProviderError, SignInError, TokenError, aadsts_number};
use crate::plan::Directory;
use crate::sync_run::{Denial, SyncRun};
use crate::util::sanitize::{error_chain, sanitize_for_log, with_help};

/// Why a request failed. `Display` is the log line; `message` has the text for users.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    #[error("no such page")]
    NotFound,
    #[error("method not allowed")]
    MethodNotAllowed,
    #[error("no session")]
    NotSignedIn,
    #[error("the request came from another site")]
    CrossOrigin,
    #[error("return_to: neither a path under the public URL nor an address on an allowed host")]
    ReturnTo,
    #[error("parameter {0}: given more than once")]
    DuplicateParameter(&'static str),
    /// A page or API route rejects its query.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Forward auth rejects the access requirement in the proxy's configuration.
    #[error(transparent)]
    Requirement(QueryError),
    #[error("sid: missing or invalid")]
    Sid,
    #[error("the user does not meet the access requirement")]
    NotInAny,
    #[error("login state unknown: this browser has no cookie for it")]
    LoginStateUnknown,
    #[error("login state expired")]
    LoginStateExpired,
    #[error("login state already used")]
    LoginStateReused,
    #[error("the callback has neither a code nor an error")]
    CodeMissing,
    /// `access_denied` with `error_subcode=cancel`, or without an AADSTS number.
    #[error("the user canceled the sign-in at Entra")]
    Canceled,
    /// AADSTS65004: the user pressed Cancel on the consent page.
    #[error("the user did not accept the app's permissions (AADSTS65004)")]
    ConsentDeclined,
    /// AADSTS65001, 90094 and 90095: consent is missing. An administrator may have to grant it.
    #[error("the app lacks consent: grant it in Enterprise applications > Permissions > Grant admin consent")]
    ConsentRequired,
    #[error("Entra requires interaction by the user")]
    InteractionRequired,
    #[error("the user is not assigned to the app (AADSTS50105)")]
    NotAssigned,
    /// An error that Entra sent with the browser: its code, and its description without e-mail addresses.
    #[error("Entra refused the sign-in ({error}): {description}")]
    EntraRefused { error: String, description: String },
    #[error("Entra refused the authorization code ({error}): {description}")]
    CodeRefused { error: String, description: String },
    /// `help` and Entra's description are for the operator.
    #[error("Entra rejects the app's client authentication or scopes ({error}). {help}. Entra: {description}")]
    AppRefused { error: String, description: String, help: &'static str },
    #[error("{0}")]
    Credential(String),
    #[error("Entra is not available: {0}")]
    EntraUnavailable(String),
    #[error("the tenant is not allowed (entra.allowed_tenants)")]
    TenantNotAllowed,
    #[error("ID token rejected: {0}")]
    IdToken(IdTokenError),
    #[error("the e-mail domain is not allowed")]
    EmailDomain,
    #[error("the user is in no assigned group")]
    NoGroup,
    #[error("a group is required, but the user's groups are unknown: {0}")]
    GroupsUnknown(String),
    #[error("the user ID belongs to a user of another tenant")]
    OtherTenant,
    #[error("{0}")]
    DatabaseUnavailable(String),
    #[error("too many requests wait for the database")]
    Busy,
    #[error("the request target is too long")]
    TargetTooLong,
    #[error("the headers are too long")]
    HeadersTooLong,
    #[error("the cookies are too long")]
    CookiesTooLong,
    #[error("the body is too long")]
    BodyTooLong,
    #[error("too many concurrent sign-ins (limits.concurrent_sign_ins)")]
    TooManySignIns,
    /// With `untrusted_forwarded_for`, the peer may be a proxy that is missing from `server.trusted_proxies`.
    #[error("too many requests from one address (limits.sign_ins_per_address){}", proxy_hint(*untrusted_forwarded_for))]
    TooManyRequests { seconds: u64, untrusted_forwarded_for: bool },
    #[error("too many sign-ins of one user (limits.sign_ins_per_user)")]
    TooManySignInsOfUser { seconds: u64 },
    #[error("{0}")]
    Internal(String),
    /// A rejection by a layer that has no error of its own.
    #[error("rejected with status {0}")]
    Status(StatusCode),
}

fn proxy_hint(untrusted_forwarded_for: bool) -> &'static str {
    if untrusted_forwarded_for {
        "; it sent X-Forwarded-For: if it is your proxy, add it to server.trusted_proxies"
    } else {
        ""
    }
}

/// An error in a response's extensions, and where the user was going.
#[derive(Clone)]
struct PendingError {
    error: Arc<WebError>,
    return_to: Option<String>,
}

impl WebError {
    /// The error as a response whose sign-in link leads to `path`.
    pub(super) fn returning_to(self, path: &str) -> Response {
        into_pending_response(PendingError { error: Arc::new(self), return_to: Some(path.to_owned()) })
    }

    /// Whether users and crawlers cause this in normal operation, so that it is not a warning.
    fn is_expected(&self) -> bool {
        matches!(self, Self::NotFound | Self::Canceled | Self::ConsentDeclined)
    }

    /// The error for a user that the policy denies.
    pub(super) fn denied(denial: Denial, run: &SyncRun) -> Self {
        match denial {
            Denial::NoGroup => Self::NoGroup,
            Denial::GroupsUnknown => {
                let unknown = run.directory.as_ref().and_then(Directory::unknown);
                Self::GroupsUnknown(unknown.map(|unknown| unknown.code.clone()).unwrap_or_default())
            }
            Denial::EmailDomain => Self::EmailDomain,
            Denial::OtherTenant => Self::OtherTenant,
        }
    }

    /// The error that Entra sent with the browser instead of a code.
    pub(super) fn from_entra(error: &str, description: Option<&str>, subcode: Option<&str>) -> Self {
        let description = description.unwrap_or_default();
        match error {
            "temporarily_unavailable" | "server_error" => Self::EntraUnavailable(sanitize_for_log(description)),
            "interaction_required" | "login_required" => Self::InteractionRequired,
            // The number first, since `error_subcode=cancel` comes with AADSTS65004, too.
            _ => Self::by_number(description).unwrap_or_else(|| match error {
                "consent_required" => Self::ConsentRequired,
                _ if subcode == Some("cancel") => Self::Canceled,
                "access_denied" if aadsts_number(description).is_none() => Self::Canceled,
                _ => Self::EntraRefused { error: sanitize_for_log(error), description: sanitize_for_log(description) },
            }),
        }
    }

    /// The error of a sign-in that failed at the token endpoint or at verification. `client_auth` selects the help for
    /// the operator.
    pub(super) fn from_sign_in(error: SignInError, client_auth: &ClientAuth) -> Self {
        match error {
            SignInError::Provider(error) => error.into(),
            SignInError::IdToken(IdTokenError::TenantNotAllowed) | SignInError::TenantNotAllowed(_) => {
                Self::TenantNotAllowed
            }
            SignInError::IdToken(error) => Self::IdToken(error),
            SignInError::Token(error) => Self::from_token_endpoint(error, client_auth),
        }
    }

    /// The error for a response of the token endpoint.
    fn from_token_endpoint(error: TokenError, client_auth: &ClientAuth) -> Self {
        let help = error.help(client_auth);
        let (error, description) = match error {
            TokenError::Refused { error, description } => (error, description),
            TokenError::Credential { .. } => return Self::Credential(format!("{}; {help}", error_chain(&error))),
            error => return Self::EntraUnavailable(error_chain(&error)),
        };
        let description = description.as_deref().unwrap_or_default();
        match error.as_str() {
            "temporarily_unavailable" | "server_error" => Self::EntraUnavailable(sanitize_for_log(description)),
            "interaction_required" => Self::InteractionRequired,
            "consent_required" => Self::ConsentRequired,
            "invalid_client" | "unauthorized_client" | "invalid_scope" | "invalid_resource" => {
                Self::AppRefused { error, description: sanitize_for_log(description), help }
            }
            // A rejected client assertion has another OAuth error code: no federated credential matches, or it is
            // invalid.
            _ if matches!(aadsts_number(description), Some("70021" | "700211" | "700212" | "700213" | "50013")) => {
                Self::AppRefused { error, description: sanitize_for_log(description), help }
            }
            _ => Self::by_number(description)
                .unwrap_or_else(|| Self::CodeRefused { error, description: sanitize_for_log(description) }),
        }
    }

    /// Maps the AADSTS number in a description. `error` alone is `access_denied` or `invalid_grant` for situations that
    /// users have to tell apart. An unknown or missing number is not an error.
    fn by_number(description: &str) -> Option<Self> {
        let number = aadsts_number(description)?;
        match number {
            "50105" => Some(Self::NotAssigned),
            "65004" => Some(Self::ConsentDeclined),
            "65001" | "90094" | "90095" => Some(Self::ConsentRequired),
            "50072" | "50074" | "50076" | "50079" => Some(Self::InteractionRequired),
            // Conditional Access; accounts that are locked, disabled or missing in the tenant.
            "53000" | "53001" | "53002" | "53003" | "53004" | "53011" | "50020" | "50034" | "50053" | "50057"
            | "90072" => {
                let description = sanitize_for_log(description);
                Some(Self::EntraRefused { error: format!("AADSTS{number}"), description })
            }
            _ => None,
        }
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        into_pending_response(PendingError { error: Arc::new(self), return_to: None })
    }
}

/// Puts the error into the response's extensions. `render` writes it once the request is known.
fn into_pending_response(pending: PendingError) -> Response {
    let mut response = pending.error.message().status.into_response();
    response.extensions_mut().insert(pending);
    response
}

/// The error code of a response that `render` has not written yet.
pub(super) fn code(response: &Response) -> Option<&'static str> {
    response.extensions().get::<PendingError>().map(|pending| pending.error.message().code)
}

/// Middleware that writes and logs errors: a page for browsers, `application/problem+json` (RFC 9457) for clients that
/// accept JSON.
pub(super) async fn render(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let wants_json = wants_json(request.uri().path(), request.headers());
    let through_proxy = forward_auth::is_verify(request.uri().path());
    // After signing in, the user returns to the page that they opened.
    let current_path = request.uri().path_and_query().filter(|_| request.method() == Method::GET && !through_proxy);
    let current_path = current_path.map(ToString::to_string);
    let uri = request.uri().clone();
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let mut response = next.run(request).await;
    let pending = match response.extensions_mut().remove::<PendingError>() {
        Some(pending) => pending,
        None if (response.status().is_client_error() || response.status().is_server_error())
            && !response.headers().contains_key(CONTENT_TYPE) =>
        {
            PendingError { error: Arc::new(WebError::Status(response.status())), return_to: None }
        }
        None => return response,
    };
    let return_to =
        pending.return_to.or_else(|| current_path.filter(|_| matches!(*pending.error, WebError::NotSignedIn)));
    let (error, message) = (&*pending.error, pending.error.message());
    let code = message.code;
    metrics::record_error(&app.metrics, error);
    // The path is a field because the request's access-log line may be below the configured level.
    let path = sanitize_for_log(uri.path());
    // An outage is logged once a minute. The access log has every failed request.
    let repeated = matches!(error, WebError::DatabaseUnavailable(text) if !app.database_log.is_new(text));
    if repeated {
        tracing::debug!(code, path, %error, "request failed");
    } else if message.status.is_server_error() {
        tracing::error!(code, path, %error, "request failed");
    } else if message.status == StatusCode::UNAUTHORIZED {
        // Normal before every sign-in.
        tracing::debug!(code, path, %error, "request failed");
    } else if error.is_expected() {
        tracing::info!(code, path, %error, "request failed");
    } else {
        tracing::warn!(code, path, %error, "request failed");
    }
    let (kind, body) = if wants_json {
        let mut problem = json!({
            "type": format!("urn:entraway:problem:{}", message.code), "code": message.code, "title": message.title,
            "status": message.status.as_u16(), "detail": message.detail, "remedy": message.help, "request_id": &*id,
        });
        if let Some(parameter) = &message.parameter {
            problem["parameter"] = json!(parameter);
        }
        ("application/problem+json", problem.to_string())
    } else {
        let layout = if through_proxy { Layout::with_absolute_urls(&app) } else { Layout::new(&app) };
        let page = ProblemPage::new(layout, &message, &id, return_to.as_deref());
        ("text/html; charset=utf-8", page.render().unwrap_or_else(|_| message.detail.to_string()))
    };
    *response.status_mut() = message.status;
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(seconds) = message.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn wants_json(path: &str, headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let json = accept.contains("application/json") || accept.contains("application/problem+json");
    path.contains("/api/") || (json && !accept.contains("text/html"))
}

/// Response of `CsrfLayer` to a request of another site.
pub(super) fn cross_origin(_error: ProtectionError) -> Response {
    WebError::CrossOrigin.into_response()
}

/// Response of `CatchPanicLayer`. The text of the panic is only logged.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the payload over")]
pub(super) fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    WebError::Internal(format!("a handler panicked: {}", text.unwrap_or_default())).into_response()
}

impl From<DbError> for WebError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::OtherTenant => Self::OtherTenant,
            DbError::Busy => Self::Busy,
            _ if error.is_unavailable() => Self::DatabaseUnavailable(with_help(&error, error.help())),
            _ => Self::Internal(error_chain(&error)),
        }
    }
}

/// For results that several requests share.
impl From<Arc<DbError>> for WebError {
    fn from(error: Arc<DbError>) -> Self {
        match &*error {
            DbError::Busy => Self::Busy,
            _ if error.is_unavailable() => Self::DatabaseUnavailable(with_help(&*error, error.help())),
            _ => Self::Internal(error_chain(&*error)),
        }
    }
}

impl From<Arc<AssertionError>> for WebError {
    fn from(error: Arc<AssertionError>) -> Self {
        match &*error {
            AssertionError::Db(cause) if cause.is_unavailable() => {
                Self::DatabaseUnavailable(with_help(&*error, cause.help()))
            }
            AssertionError::Db(DbError::Busy) => Self::Busy,
            _ => Self::Internal(error_chain(&*error)),
        }
    }
}

impl From<Arc<ProviderError>> for WebError {
    fn from(error: Arc<ProviderError>) -> Self {
        Self::EntraUnavailable(error_chain(&*error))
    }
}
