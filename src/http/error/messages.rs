//! Texts of error pages: what happened, and what the user can do. No internal details.

use std::borrow::Cow;

use http::StatusCode;

use super::WebError;
use crate::oidc::IdTokenError;

/// An error as shown to users and programs.
pub(in crate::http) struct ErrorMessage {
    pub(in crate::http) status: StatusCode,
    /// Stable name for programs, logs and operators.
    pub(in crate::http) code: &'static str,
    pub(in crate::http) title: &'static str,
    pub(in crate::http) detail: Cow<'static, str>,
    pub(in crate::http) help: Cow<'static, str>,
    /// The invalid query parameter.
    pub(in crate::http) parameter: Option<String>,
    /// Whether to offer a link to the same page without its query.
    pub(in crate::http) without_query: bool,
    /// Whether to offer to sign in again or with another account.
    pub(in crate::http) offers_sign_in: bool,
    /// Seconds.
    pub(in crate::http) retry_after: Option<u64>,
}

const TELL_THE_ADMINISTRATOR: &str = "Please tell your administrator, with the request id below.";

impl WebError {
    pub(in crate::http) fn message(&self) -> ErrorMessage {
        let (status, code, title, detail, help) = match self {
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "No such page",
                "There is nothing at this address, or nothing that you may see.",
                "Go to the front page.",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Not this way",
                "This address does not answer this kind of request.",
                "Go to the front page.",
            ),
            Self::NotSignedIn => (
                StatusCode::UNAUTHORIZED,
                "not_signed_in",
                "Not signed in",
                "You are not signed in, or your session has ended.",
                "Sign in.",
            ),
            Self::CrossOrigin => (
                StatusCode::FORBIDDEN,
                "cross_origin",
                "Refused",
                "This request came from another site.",
                "Go to the front page and try again from there.",
            ),
            Self::ReturnTo => (
                StatusCode::BAD_REQUEST,
                "return_to",
                "Bad link",
                "The link that brought you here names a page that you cannot be sent to after signing in.",
                "Sign in from the front page instead.",
            ),
            Self::DuplicateParameter(_) => (
                StatusCode::BAD_REQUEST,
                "duplicate_parameter",
                "Bad link",
                "The address holds the same parameter twice.",
                "Sign in again from the front page.",
            ),
            // Replaced below: these texts name the parameter.
            Self::Query(error) | Self::Requirement(error) => {
                (StatusCode::BAD_REQUEST, error.code(), "Invalid parameter", "", "")
            }
            Self::Sid => (
                StatusCode::BAD_REQUEST,
                "sid",
                "No session is named",
                "The address does not say which of Microsoft's sessions has ended.",
                "Sign out on the front page instead.",
            ),
            Self::NotInAny => (
                StatusCode::FORBIDDEN,
                "not_in_any",
                "You have no access to this",
                "You are signed in, but this is only for others: for members of certain groups, or for another role.",
                "Ask your administrator for access, then sign in again.",
            ),
            Self::LoginStateUnknown => (
                StatusCode::BAD_REQUEST,
                "attempt_unknown",
                "This sign-in cannot be finished",
                "This browser did not start this sign-in, or started it more than a day ago. Cookies may be blocked.",
                "Sign in again. If this page returns, allow cookies for this site.",
            ),
            Self::LoginStateExpired => (
                StatusCode::BAD_REQUEST,
                "attempt_expired",
                "This sign-in took too long",
                "A sign-in must be completed within ten minutes.",
                "Sign in again.",
            ),
            Self::LoginStateReused => (
                StatusCode::BAD_REQUEST,
                "attempt_used",
                "This sign-in was finished already",
                "A sign-in can be completed once. The page may have been loaded twice.",
                "Sign in again.",
            ),
            Self::CodeMissing => (
                StatusCode::BAD_REQUEST,
                "code_missing",
                "This sign-in cannot be finished",
                "Microsoft sent you back without an answer.",
                "Sign in again.",
            ),
            Self::CodeRefused { .. } => (
                StatusCode::BAD_REQUEST,
                "code_refused",
                "This sign-in cannot be finished",
                "Microsoft did not accept it, most often because it took too long or was finished before.",
                "Sign in again. If this stays, please tell your administrator, with the request id below.",
            ),
            Self::Canceled => (
                StatusCode::FORBIDDEN,
                "canceled",
                "You canceled the sign-in",
                "You left Microsoft's page before you were signed in.",
                "To continue, sign in again.",
            ),
            Self::ConsentDeclined => (
                StatusCode::FORBIDDEN,
                "consent_declined",
                "You canceled the sign-in",
                "You left Microsoft's page, or did not accept the permissions that it showed.",
                "To continue, sign in again. If Microsoft asks for permissions, accept them.",
            ),
            Self::ConsentRequired => (
                StatusCode::FORBIDDEN,
                "consent_required",
                "Consent is missing",
                "Your organization has not consented to the permissions that this application needs.",
                "Ask your administrator to grant consent for the organization, then sign in again.",
            ),
            Self::InteractionRequired => (
                StatusCode::FORBIDDEN,
                "interaction_required",
                "Microsoft asks for one more step",
                "Your organization asks for more before you may sign in, such as a second factor.",
                "Sign in again and follow Microsoft's steps.",
            ),
            Self::NotAssigned => (
                StatusCode::FORBIDDEN,
                "not_assigned",
                "You have no access yet",
                "Your account is not assigned to this application.",
                "Ask your administrator to assign you, or a group that you are directly in, to the application in Microsoft Entra.",
            ),
            Self::EntraRefused { .. } => (
                StatusCode::FORBIDDEN,
                "entra_refused",
                "Microsoft refused the sign-in",
                "Microsoft did not let you sign in.",
                TELL_THE_ADMINISTRATOR,
            ),
            Self::AppRefused { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "app_refused",
                "Sign-in is not available",
                "Microsoft does not accept how this service is set up. Its operator has to fix the configuration.",
                TELL_THE_ADMINISTRATOR,
            ),
            Self::Credential(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "credential_unusable",
                "Sign-in is not available",
                "This service cannot authenticate to Microsoft. Its operator has to fix the configuration.",
                TELL_THE_ADMINISTRATOR,
            ),
            Self::EntraUnavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "entra_unavailable",
                "Microsoft does not answer",
                "The sign-in at Microsoft cannot be reached, or does not answer as it should.",
                "Try again in a moment.",
            ),
            Self::TenantNotAllowed => (
                StatusCode::FORBIDDEN,
                "tenant_not_allowed",
                "Wrong organization",
                "Your account belongs to an organization that may not sign in here.",
                "Sign in with the account of the right organization.",
            ),
            Self::IdToken(error) => (
                StatusCode::FORBIDDEN,
                IdTokenError::code(*error),
                "The sign-in could not be verified",
                "What came back as Microsoft's answer does not prove who you are.",
                "Sign in again. If this stays, please tell your administrator, with the request id below.",
            ),
            Self::EmailDomain => (
                StatusCode::FORBIDDEN,
                "email_domain_not_allowed",
                "This address has no access",
                "Your e-mail address is not of a domain that may sign in here.",
                "Sign in with another account, or ask your administrator.",
            ),
            Self::NoGroup => (
                StatusCode::FORBIDDEN,
                "no_group",
                "You are in no group yet",
                "Only members of certain groups may enter, and you are directly in none of them.",
                "Ask your administrator to put you into a group that is assigned to the application, then sign in again.",
            ),
            Self::GroupsUnknown(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "groups_unknown",
                "Your groups are not known",
                "Only members of certain groups may enter, and Microsoft did not tell which groups you are in.",
                "Try again in a moment. If this stays, please tell your administrator, with the request id below.",
            ),
            Self::OtherTenant => (
                StatusCode::FORBIDDEN,
                "other_tenant",
                "This account cannot be used",
                "The account's id belongs to a person of another organization already.",
                TELL_THE_ADMINISTRATOR,
            ),
            Self::DatabaseUnavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "database_unavailable",
                "We cannot sign you in right now",
                "Our own database does not answer.",
                "Try again in a moment.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many at once",
                "Very many people are here at this moment.",
                "Try again in a moment.",
            ),
            Self::TargetTooLong => (
                StatusCode::URI_TOO_LONG,
                "target_too_long",
                "The address is too long",
                "This address is longer than any that leads somewhere here.",
                "Go to the front page.",
            ),
            Self::HeadersTooLong => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers_too_long",
                "The request is too large",
                "Your browser, or something on the way from it, sends more along than can be read.",
                TELL_THE_ADMINISTRATOR,
            ),
            Self::CookiesTooLong => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "cookies_too_long",
                "Too many cookies",
                "Your browser holds so many cookies for this site that they cannot be read.",
                "Delete the cookies of this site in your browser's settings, then load this page again.",
            ),
            Self::BodyTooLong => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_long",
                "The request is too large",
                "Nothing of this size can be sent here.",
                "Go to the front page.",
            ),
            Self::TooManySignIns => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_sign_ins",
                "Very many people are signing in right now",
                "Your sign-in has to wait a little. Nothing of it is lost.",
                "Load this page again in a few seconds.",
            ),
            Self::TooManyRequests { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many sign-ins from your network",
                "From where you are, more sign-ins come than we take at a time.",
                "Load this page again in a minute.",
            ),
            Self::TooManySignInsOfUser { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_sign_ins_of_user",
                "Too many sign-ins",
                "You have signed in too many times within a minute.",
                "Wait a minute, then sign in again.",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong here",
                "It is our fault, not yours.",
                TELL_THE_ADMINISTRATOR,
            ),
            Self::Status(status) => (
                *status,
                "refused",
                "The request was refused",
                "The request is not one that can be answered.",
                "Go to the front page.",
            ),
        };
        let cannot_sign_in = matches!(
            self,
            Self::NotFound
                | Self::MethodNotAllowed
                | Self::CrossOrigin
                | Self::Sid
                | Self::Query(_)
                | Self::Requirement(_)
                | Self::TargetTooLong
                | Self::HeadersTooLong
                | Self::CookiesTooLong
                | Self::BodyTooLong
                | Self::Status(_)
                | Self::Internal(_)
        );
        let retry_after = match self {
            Self::TooManyRequests { seconds, .. } | Self::TooManySignInsOfUser { seconds } => Some(*seconds),
            // An operator has to act.
            Self::AppRefused { .. } | Self::Credential(_) => Some(60),
            _ => (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5),
        };
        let (detail, help): (Cow<'_, str>, Cow<'_, str>) = match self {
            Self::Query(error) => (error.detail().into(), error.help().into()),
            Self::Requirement(error) => {
                let help = format!("{} Your administrator has to correct the proxy's configuration.", error.help());
                (error.detail().into(), help.into())
            }
            _ => (detail.into(), help.into()),
        };
        let parameter = match self {
            Self::Query(error) | Self::Requirement(error) => error.parameter().map(str::to_owned),
            _ => None,
        };
        let without_query = matches!(self, Self::Query(_));
        ErrorMessage {
            status,
            code,
            title,
            detail,
            help,
            parameter,
            without_query,
            offers_sign_in: !cannot_sign_in,
            retry_after,
        }
    }
}
