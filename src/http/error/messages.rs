//! Texts of error pages: what happened, and what the user can do. No internal details.

use std::borrow::Cow;

use http::StatusCode;

use super::WebError;

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

const CONTACT_ADMINISTRATOR: &str = "Contact your administrator with the request ID below.";

impl WebError {
    pub(in crate::http) fn message(&self) -> ErrorMessage {
        let (status, title, detail, help) = match self {
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "Page not found",
                "This page does not exist, or you have no access to it.",
                "Go to the home page.",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed",
                "This address does not accept this kind of request.",
                "Go to the home page.",
            ),
            Self::NotSignedIn => (
                StatusCode::UNAUTHORIZED,
                "Not signed in",
                "You are not signed in, or your session has ended.",
                "Sign in.",
            ),
            Self::CrossOrigin => (
                StatusCode::FORBIDDEN,
                "Request rejected",
                "This request came from another site.",
                "Open the home page and try again from there.",
            ),
            Self::ReturnTo => (
                StatusCode::BAD_REQUEST,
                "Invalid link",
                "The link that brought you here has a destination that is not allowed.",
                "Sign in from the home page.",
            ),
            Self::DuplicateParameter(_) => (
                StatusCode::BAD_REQUEST,
                "Invalid link",
                "The address has the same parameter twice.",
                "Sign in again from the home page.",
            ),
            // Replaced below: these texts name the parameter.
            Self::Query(_) | Self::Requirement(_) => (StatusCode::BAD_REQUEST, "Invalid parameter", "", ""),
            Self::Sid => (
                StatusCode::BAD_REQUEST,
                "No session specified",
                "The address does not specify the Microsoft session that has ended.",
                "Sign out on the home page.",
            ),
            Self::NotInAny => (
                StatusCode::FORBIDDEN,
                "Access denied",
                "You are signed in, but only members of certain groups or users with certain roles have access.",
                "Ask your administrator for access, then sign in again.",
            ),
            Self::AdministratorOnly => (
                StatusCode::FORBIDDEN,
                "Access denied",
                "Only administrators (proxy_admin) can do this.",
                "Ask an administrator to do it.",
            ),
            Self::PlanNotFound => (
                StatusCode::NOT_FOUND,
                "Plan not found",
                "There is no held plan with this hash.",
                "Open Changes: it shows the plan that is held now.",
            ),
            Self::PlanNotHeld { status } => (
                StatusCode::CONFLICT,
                "This plan no longer waits for a decision",
                if status == "applied" {
                    "It was approved, and its changes were made."
                } else {
                    "It lapsed: a later run found other changes."
                },
                "Open Changes: it shows the plan that is held now.",
            ),
            Self::LoginStateUnknown => (
                StatusCode::BAD_REQUEST,
                "This sign-in cannot be finished",
                "It was started in another browser or more than a day ago, or cookies are blocked.",
                "Sign in again. If this page returns, allow cookies for this site.",
            ),
            Self::LoginStateExpired => (
                StatusCode::BAD_REQUEST,
                "This sign-in took too long",
                "A sign-in must be completed within ten minutes.",
                "Sign in again.",
            ),
            Self::LoginStateReused => (
                StatusCode::BAD_REQUEST,
                "This sign-in was already finished",
                "A sign-in can be completed once. The page may have been loaded twice.",
                "Sign in again.",
            ),
            Self::CodeMissing => (
                StatusCode::BAD_REQUEST,
                "This sign-in cannot be finished",
                "Microsoft returned neither a code nor an error.",
                "Sign in again.",
            ),
            Self::CodeRefused { .. } => (
                StatusCode::BAD_REQUEST,
                "This sign-in cannot be finished",
                "Microsoft did not accept it. Usually it took too long or was already finished.",
                "Sign in again. If this error persists, contact your administrator with the request ID below.",
            ),
            Self::Canceled => (
                StatusCode::FORBIDDEN,
                "You canceled the sign-in",
                "You left Microsoft's page before you were signed in.",
                "To continue, sign in again.",
            ),
            Self::ConsentDeclined => (
                StatusCode::FORBIDDEN,
                "You canceled the sign-in",
                "You left Microsoft's page, or did not accept the permissions that it showed.",
                "To continue, sign in again. If Microsoft asks for permissions, accept them.",
            ),
            Self::ConsentRequired => (
                StatusCode::FORBIDDEN,
                "Consent is missing",
                "Your organization has not consented to the permissions that this application needs.",
                "Ask your administrator to grant consent for the organization, then sign in again.",
            ),
            Self::InteractionRequired => (
                StatusCode::FORBIDDEN,
                "Microsoft requires another step",
                "Your organization requires another step before you can sign in, such as a second factor.",
                "Sign in again and follow Microsoft's steps.",
            ),
            Self::NotAssigned => (
                StatusCode::FORBIDDEN,
                "You have no access yet",
                "Your account is not assigned to this application.",
                "Ask your administrator to assign you, or a group that you are directly in, to the application in Microsoft Entra.",
            ),
            Self::EntraRefused { .. } => (
                StatusCode::FORBIDDEN,
                "Microsoft refused the sign-in",
                "Microsoft did not let you sign in.",
                CONTACT_ADMINISTRATOR,
            ),
            Self::AppRefused { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Sign-in is not available",
                "Microsoft does not accept this service's settings. Its operator has to fix the configuration.",
                CONTACT_ADMINISTRATOR,
            ),
            Self::CredentialUnusable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Sign-in is not available",
                "This service cannot authenticate to Microsoft. Its operator has to fix the configuration.",
                CONTACT_ADMINISTRATOR,
            ),
            Self::EntraUnavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Microsoft is not available",
                "Microsoft's sign-in service cannot be reached or returned an error.",
                "Try again in a moment.",
            ),
            Self::TenantNotAllowed => (
                StatusCode::FORBIDDEN,
                "Wrong organization",
                "Your account belongs to an organization that may not sign in here.",
                "Sign in with the account of the right organization.",
            ),
            Self::IdToken(_) => (
                StatusCode::FORBIDDEN,
                "The sign-in could not be verified",
                "Microsoft's response does not prove your identity.",
                "Sign in again. If this error persists, contact your administrator with the request ID below.",
            ),
            Self::EmailDomainNotAllowed => (
                StatusCode::FORBIDDEN,
                "This e-mail address has no access",
                "Your e-mail address does not belong to a domain that may sign in here.",
                "Sign in with another account, or ask your administrator.",
            ),
            Self::NoGroup => (
                StatusCode::FORBIDDEN,
                "You are in no group yet",
                "Only members of certain groups have access, and you are not a direct member of any of them.",
                "Ask your administrator to add you to a group that is assigned to the application, then sign in again.",
            ),
            Self::GroupsUnknown(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Your groups are unknown",
                "Only members of certain groups have access, and Microsoft did not report your groups.",
                "Try again in a moment. If this error persists, contact your administrator with the request ID below.",
            ),
            Self::OtherTenant => (
                StatusCode::FORBIDDEN,
                "This account cannot be used",
                "The ID of your account already belongs to a user of another organization.",
                CONTACT_ADMINISTRATOR,
            ),
            Self::DatabaseUnavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Service temporarily unavailable",
                "The database of this service is not available.",
                "Try again in a moment.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many requests",
                "This service is busy.",
                "Try again in a moment.",
            ),
            Self::TargetTooLong => (
                StatusCode::URI_TOO_LONG,
                "The address is too long",
                "This address is longer than this service accepts.",
                "Go to the home page.",
            ),
            Self::HeadersTooLong => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The request is too large",
                "Your browser or a proxy sent more headers than this service accepts.",
                CONTACT_ADMINISTRATOR,
            ),
            Self::CookiesTooLong => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Too many cookies",
                "Your browser sent more cookies than this service accepts.",
                "Delete the cookies of this site in your browser's settings, then load this page again.",
            ),
            Self::BodyTooLong => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request is too large",
                "The request is larger than this service accepts.",
                "Go to the home page.",
            ),
            Self::TooManySignIns => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many sign-ins right now",
                "Your sign-in has to wait. It is not lost.",
                "Reload this page in a few seconds.",
            ),
            Self::TooManyRequests { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many sign-in attempts",
                "There were too many sign-in attempts from your network.",
                "Reload this page in a minute.",
            ),
            Self::TooManySignInsOfUser { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many sign-ins",
                "You have signed in too many times within a minute.",
                "Wait a minute, then sign in again.",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong",
                "An internal error occurred.",
                CONTACT_ADMINISTRATOR,
            ),
            Self::Refused(status) => {
                (*status, "Request rejected", "This service cannot answer the request.", "Go to the home page.")
            }
        };
        let cannot_sign_in = matches!(
            self,
            Self::NotFound
                | Self::MethodNotAllowed
                | Self::AdministratorOnly
                | Self::PlanNotFound
                | Self::PlanNotHeld { .. }
                | Self::CrossOrigin
                | Self::Sid
                | Self::Query(_)
                | Self::Requirement(_)
                | Self::TargetTooLong
                | Self::HeadersTooLong
                | Self::CookiesTooLong
                | Self::BodyTooLong
                | Self::Refused(_)
                | Self::Internal(_)
        );
        let retry_after = match self {
            Self::TooManyRequests { seconds, .. } | Self::TooManySignInsOfUser { seconds } => Some(*seconds),
            // An operator has to act.
            Self::AppRefused { .. } | Self::CredentialUnusable(_) => Some(60),
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
            code: self.code(),
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
