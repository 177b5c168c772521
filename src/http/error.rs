//! Errors of handlers. Each becomes a status, a page or `application/problem+json`, and one log line, all of which the
//! middleware `errors` writes.

mod messages;

use std::any::Any;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use strum::{Display, EnumDiscriminants, IntoStaticStr, VariantNames};
use tower_http::csrf::ProtectionError;

use super::query::QueryError;
use crate::assertion::AssertionError;
use crate::config::ClientAuth;
use crate::db::DbError;
use crate::oidc::{IdTokenError, ProviderError, SignInError, TokenError, aadsts_number};
use crate::plan::Directory;
use crate::sync_run::{Denial, SyncRun};
use crate::util::sanitize::{error_chain, sanitize_for_log, with_help};

pub(super) use messages::ErrorMessage;

/// Why a request failed. `Display` is the log line; `message` has the text for users.
///
/// `ErrorCode` has the stable names of the variants, for error pages, the API, the log, metrics and records of failed
/// sign-ins. Clients rely on them: a renamed variant has to keep its name by `serialize`.
#[derive(Debug, thiserror::Error, EnumDiscriminants)]
#[strum_discriminants(
    name(ErrorCode),
    vis(pub(super)),
    doc = "The stable name of an error.",
    derive(Display, IntoStaticStr, VariantNames),
    strum(serialize_all = "snake_case")
)]
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
    /// An operator who may see the page, but not change anything.
    #[error("the user is not an administrator (proxy_admin)")]
    AdministratorOnly,
    #[error("no held plan has this hash")]
    PlanNotFound,
    /// The plan is `applied` or `lapsed`.
    #[error("the held plan no longer waits for a decision: it is {status}")]
    PlanNotHeld { status: String },
    #[error("login state unknown: this browser has no cookie for it")]
    #[strum_discriminants(strum(serialize = "attempt_unknown"))]
    LoginStateUnknown,
    #[error("login state expired")]
    #[strum_discriminants(strum(serialize = "attempt_expired"))]
    LoginStateExpired,
    #[error("login state already used")]
    #[strum_discriminants(strum(serialize = "attempt_used"))]
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
    CredentialUnusable(String),
    #[error("Entra is not available: {0}")]
    EntraUnavailable(String),
    #[error("the tenant is not allowed (entra.allowed_tenants)")]
    TenantNotAllowed,
    #[error("ID token rejected: {0}")]
    IdToken(IdTokenError),
    #[error("the e-mail domain is not allowed")]
    EmailDomainNotAllowed,
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
    Refused(StatusCode),
}

fn proxy_hint(untrusted_forwarded_for: bool) -> &'static str {
    if untrusted_forwarded_for {
        "; it sent X-Forwarded-For: if it is your proxy, add it to server.trusted_proxies"
    } else {
        ""
    }
}

impl ErrorCode {
    /// The name, as in an error page.
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An error in a response's extensions, and where the user was going. The middleware `errors` writes it.
#[derive(Clone)]
pub(super) struct PendingError {
    pub(super) error: Arc<WebError>,
    pub(super) return_to: Option<String>,
}

impl PendingError {
    pub(super) fn new(error: WebError) -> Self {
        Self { error: Arc::new(error), return_to: None }
    }
}

impl IntoResponse for PendingError {
    fn into_response(self) -> Response {
        let mut response = self.error.message().status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        PendingError::new(self).into_response()
    }
}

/// The error in a response that the middleware `errors` has not written yet.
pub(super) fn code(response: &Response) -> Option<ErrorCode> {
    response.extensions().get::<PendingError>().map(|pending| (&*pending.error).into())
}

impl WebError {
    /// The error as a response whose sign-in link leads to `path`.
    pub(super) fn returning_to(self, path: &str) -> Response {
        PendingError { return_to: Some(path.to_owned()), ..PendingError::new(self) }.into_response()
    }

    /// The stable name. More specific than `ErrorCode` for rejected ID tokens and queries.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::IdToken(error) => error.code(),
            Self::Query(error) | Self::Requirement(error) => error.code(),
            other => ErrorCode::from(other).as_str(),
        }
    }

    /// The error for a user that the policy denies.
    pub(super) fn denied(denial: Denial, run: &SyncRun) -> Self {
        match denial {
            Denial::NoGroup => Self::NoGroup,
            Denial::GroupsUnknown => {
                let unknown = run.directory.as_ref().and_then(Directory::unknown);
                Self::GroupsUnknown(unknown.map(|unknown| unknown.code.clone()).unwrap_or_default())
            }
            Denial::EmailDomain => Self::EmailDomainNotAllowed,
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
            TokenError::Credential { .. } => {
                return Self::CredentialUnusable(format!("{}; {help}", error_chain(&error)));
            }
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

impl From<&DbError> for WebError {
    fn from(error: &DbError) -> Self {
        match error {
            DbError::OtherTenant => Self::OtherTenant,
            DbError::Busy => Self::Busy,
            _ if error.is_unavailable() => Self::DatabaseUnavailable(with_help(error, error.help())),
            _ => Self::Internal(error_chain(error)),
        }
    }
}

impl From<DbError> for WebError {
    fn from(error: DbError) -> Self {
        Self::from(&error)
    }
}

/// For results that several requests share.
impl From<Arc<DbError>> for WebError {
    fn from(error: Arc<DbError>) -> Self {
        Self::from(&*error)
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
