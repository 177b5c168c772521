//! Errors as people and programs see them: a status, a page or `application/problem+json`, and one log line.

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
use crate::db::{Denial, StoreError, SyncRun};
use crate::oidc::{IdTokenError, ProviderError, SignInError, TokenError, aadsts_number};
use crate::plan::Directory;
use crate::util::sanitize::{chain, sanitize_for_log, with_remedy};

/// Every way in which a request can end other than well. What a person is told of each stands in `message`.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    #[error("no such page")]
    NotFound,
    #[error("the method is not allowed here")]
    MethodNotAllowed,
    #[error("no session")]
    NotSignedIn,
    #[error("the request came from another site")]
    CrossOrigin,
    #[error("return_to is no path under the public URL")]
    ReturnTo,
    #[error("the parameter {0} came twice")]
    DuplicateParameter(&'static str),
    /// A page or an API route rejects its query.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Forward auth rejects the access requirement that the proxy sends.
    #[error(transparent)]
    Requirement(QueryError),
    #[error("sid is missing, or none of Entra's")]
    Sid,
    #[error("the person is in none of what is asked for")]
    NotInAny,
    #[error("the attempt is unknown to this browser")]
    LoginStateUnknown,
    #[error("the attempt is too old")]
    LoginStateExpired,
    #[error("the attempt was used up before")]
    LoginStateReused,
    #[error("neither a code nor an error came back")]
    CodeMissing,
    /// `access_denied` with `error_subcode=cancel`, or without any of Entra's numbers.
    #[error("the user canceled the sign-in at Entra")]
    Canceled,
    /// AADSTS65004: the user pressed Cancel on the consent page.
    #[error("the user did not accept the app's permissions (AADSTS65004)")]
    ConsentDeclined,
    /// AADSTS65001, 90094 and 90095: consent is missing, and an administrator may have to grant it.
    #[error("the app lacks consent: grant it in Enterprise applications > Permissions > Grant admin consent")]
    ConsentRequired,
    #[error("Entra asks the person for one more step")]
    InteractionRequired,
    #[error("the person is not assigned to the app")]
    NotAssigned,
    /// An error that Entra sent with the browser: its code, and its description without addresses.
    #[error("Entra answered {error}: {description}")]
    EntraRefused { error: String, description: String },
    #[error("Entra refused the code ({error}): {description}")]
    CodeRefused { error: String, description: String },
    /// `remedy` is for the operator, as is Entra's own description.
    #[error(
        "Entra rejects the app's client authentication or what it asks for ({error}). {help}. Entra: {description}"
    )]
    AppRefused { error: String, description: String, help: &'static str },
    #[error("{0}")]
    Credential(String),
    #[error("Entra is not available: {0}")]
    EntraUnavailable(String),
    #[error("the tenant may not sign in")]
    TenantNotAllowed,
    #[error("the ID token was refused: {0}")]
    IdToken(IdTokenError),
    #[error("the e-mail domain is not allowed")]
    EmailDomain,
    #[error("the person is in no assigned group")]
    NoGroup,
    #[error("a group is required, and the groups are not known: {0}")]
    GroupsUnknown(String),
    #[error("the user id belongs to a person of another tenant")]
    OtherTenant,
    #[error("{0}")]
    DatabaseUnavailable(String),
    #[error("too many requests wait for the database")]
    Busy,
    #[error("the address with its query is too long")]
    TargetTooLong,
    #[error("the headers are too long")]
    HeadersTooLong,
    #[error("the cookies are too long")]
    CookiesTooLong,
    #[error("the body is too long")]
    BodyTooLong,
    #[error("as many sign-ins are under way as may be at a time (limits.concurrent_sign_ins)")]
    TooManySignIns,
    /// `untrusted_forwarded_for`: the client may be another one than we think.
    #[error("too many requests from one address (limits.sign_ins_per_address){}", proxy_hint(*untrusted_forwarded_for))]
    TooManyRequests { seconds: u64, untrusted_forwarded_for: bool },
    #[error("too many sign-ins of one user (limits.sign_ins_per_user)")]
    TooManySignInsOfUser { seconds: u64 },
    #[error("{0}")]
    Internal(String),
    /// A layer's refusal that has no message of its own.
    #[error("the request was refused")]
    Status(StatusCode),
}

fn proxy_hint(untrusted_forwarded_for: bool) -> &'static str {
    if untrusted_forwarded_for {
        "; it sent X-Forwarded-For: if it is a proxy of yours, name it in server.trusted_proxies"
    } else {
        ""
    }
}

/// An error on its way out, and where the person was going.
#[derive(Clone)]
struct Raised {
    error: Arc<WebError>,
    return_to: Option<String>,
}

impl WebError {
    /// The answer to this error, with a way to try again that leads to where the person was going.
    pub(super) fn returning_to(self, path: &str) -> Response {
        raise(Raised { error: Arc::new(self), return_to: Some(path.to_owned()) })
    }

    /// Whether users and crawlers cause this in normal operation, so that it is no warning.
    fn is_expected(&self) -> bool {
        matches!(self, Self::NotFound | Self::Canceled | Self::ConsentDeclined)
    }

    /// A person whom Entra vouched for, and who may not enter.
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

    /// What Entra sent with the browser instead of a code.
    pub(super) fn from_entra(error: &str, description: Option<&str>, subcode: Option<&str>) -> Self {
        let description = description.unwrap_or_default();
        match error {
            "temporarily_unavailable" | "server_error" => Self::EntraUnavailable(sanitize_for_log(description)),
            "interaction_required" | "login_required" => Self::InteractionRequired,
            // The number first: `error_subcode=cancel` comes with AADSTS65004 as well.
            _ => Self::by_number(description).unwrap_or_else(|| match error {
                "consent_required" => Self::ConsentRequired,
                _ if subcode == Some("cancel") => Self::Canceled,
                "access_denied" if aadsts_number(description).is_none() => Self::Canceled,
                _ => Self::EntraRefused { error: sanitize_for_log(error), description: sanitize_for_log(description) },
            }),
        }
    }

    /// Why a sign-in that came back from Entra did not succeed. `client_auth`: how the app authenticates, for the operator's
    /// remedy.
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

    /// What the token endpoint said instead of giving a token.
    fn from_token_endpoint(error: TokenError, client_auth: &ClientAuth) -> Self {
        let help = error.remedy(client_auth);
        let (error, description) = match error {
            TokenError::Refused { error, description } => (error, description),
            TokenError::Credential { .. } => return Self::Credential(format!("{}; {help}", chain(&error))),
            error => return Self::EntraUnavailable(chain(&error)),
        };
        let description = description.as_deref().unwrap_or_default();
        match error.as_str() {
            "temporarily_unavailable" | "server_error" => Self::EntraUnavailable(sanitize_for_log(description)),
            "interaction_required" => Self::InteractionRequired,
            "consent_required" => Self::ConsentRequired,
            "invalid_client" | "unauthorized_client" | "invalid_scope" | "invalid_resource" => {
                Self::AppRefused { error, description: sanitize_for_log(description), help }
            }
            // The app's own assertion, though OAuth's code says something else: no federated credential fits, or it is bad.
            _ if matches!(aadsts_number(description), Some("70021" | "700211" | "700212" | "700213" | "50013")) => {
                Self::AppRefused { error, description: sanitize_for_log(description), help }
            }
            _ => Self::by_number(description)
                .unwrap_or_else(|| Self::CodeRefused { error, description: sanitize_for_log(description) }),
        }
    }

    /// Only `error` is meant for programs, but it is `access_denied` or `invalid_grant` for matters that a person has to
    /// tell apart. So the number in the description is looked for, and nothing breaks where it is missing or new.
    fn by_number(description: &str) -> Option<Self> {
        let number = aadsts_number(description)?;
        match number {
            "50105" => Some(Self::NotAssigned),
            "65004" => Some(Self::ConsentDeclined),
            "65001" | "90094" | "90095" => Some(Self::ConsentRequired),
            "50072" | "50074" | "50076" | "50079" => Some(Self::InteractionRequired),
            // Conditional Access, and accounts that are locked, disabled, or missing in the tenant.
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
        raise(Raised { error: Arc::new(self), return_to: None })
    }
}

/// The error travels in the response's extensions; `render` writes it once the request is known.
fn raise(raised: Raised) -> Response {
    let mut response = raised.error.message().status.into_response();
    response.extensions_mut().insert(raised);
    response
}

/// The code of the error that an answer is, before it is written.
pub(super) fn code(response: &Response) -> Option<&'static str> {
    response.extensions().get::<Raised>().map(|raised| raised.error.message().code)
}

/// Writes errors: a page for a browser, `application/problem+json` (RFC 9457) for who asks for JSON. Logs each, once.
pub(super) async fn render(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let wants_json = wants_json(request.uri().path(), request.headers());
    let through_proxy = forward_auth::is_verify(request.uri().path());
    // Whoever opens a page without a session comes back to it.
    let here = request.uri().path_and_query().filter(|_| request.method() == Method::GET && !through_proxy);
    let here = here.map(ToString::to_string);
    let uri = request.uri().clone();
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let mut response = next.run(request).await;
    let raised = match response.extensions_mut().remove::<Raised>() {
        Some(raised) => raised,
        None if (response.status().is_client_error() || response.status().is_server_error())
            && !response.headers().contains_key(CONTENT_TYPE) =>
        {
            Raised { error: Arc::new(WebError::Status(response.status())), return_to: None }
        }
        None => return response,
    };
    let return_to = raised.return_to.or_else(|| here.filter(|_| matches!(*raised.error, WebError::NotSignedIn)));
    let message = raised.error.message();
    metrics::record_error(&app.metrics, &raised.error);
    // In the line itself: the line of the whole request may be below the configured level.
    let path = sanitize_for_log(uri.path());
    // One outage is not one error for each request: the line "answered" has them all.
    let repeated = matches!(&*raised.error, WebError::DatabaseUnavailable(text) if !app.database_log.is_new(text));
    if repeated {
        tracing::debug!(code = message.code, path, "{}", raised.error);
    } else if message.status.is_server_error() {
        tracing::error!(code = message.code, path, "{}", raised.error);
    } else if message.status == StatusCode::UNAUTHORIZED {
        // How everybody begins.
        tracing::debug!(code = message.code, path, "{}", raised.error);
    } else if raised.error.is_expected() {
        tracing::info!(code = message.code, path, "{}", raised.error);
    } else {
        tracing::warn!(code = message.code, path, "{}", raised.error);
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

/// For `CsrfLayer`.
pub(super) fn cross_origin(_error: ProtectionError) -> Response {
    WebError::CrossOrigin.into_response()
}

/// For `CatchPanicLayer`: the panic's text stays in the log.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the payload over")]
pub(super) fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    WebError::Internal(format!("a handler panicked: {}", text.unwrap_or_default())).into_response()
}

impl From<StoreError> for WebError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::OtherTenant => Self::OtherTenant,
            StoreError::Busy => Self::Busy,
            _ if error.is_unavailable() => Self::DatabaseUnavailable(with_remedy(&error, error.remedy())),
            _ => Self::Internal(chain(&error)),
        }
    }
}

/// What is shared by several has one error for all of them.
impl From<Arc<StoreError>> for WebError {
    fn from(error: Arc<StoreError>) -> Self {
        match &*error {
            StoreError::Busy => Self::Busy,
            _ if error.is_unavailable() => Self::DatabaseUnavailable(with_remedy(&*error, error.remedy())),
            _ => Self::Internal(chain(&*error)),
        }
    }
}

impl From<Arc<AssertionError>> for WebError {
    fn from(error: Arc<AssertionError>) -> Self {
        match &*error {
            AssertionError::Store(cause) if cause.is_unavailable() => {
                Self::DatabaseUnavailable(with_remedy(&*error, cause.remedy()))
            }
            AssertionError::Store(StoreError::Busy) => Self::Busy,
            _ => Self::Internal(chain(&*error)),
        }
    }
}

impl From<Arc<ProviderError>> for WebError {
    fn from(error: Arc<ProviderError>) -> Self {
        Self::EntraUnavailable(chain(&*error))
    }
}
