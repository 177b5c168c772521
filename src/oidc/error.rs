//! What can go wrong with Entra, by situation. `code()` is what logs, pages and JSON name it by.

use std::sync::Arc;

use oauth2::RequestTokenError;
use oauth2::basic::{BasicErrorResponse, BasicErrorResponseType};

use super::remedy;
use crate::client_auth::CredentialError;
use crate::config::ClientAuth;
use crate::domain::Identity;
use crate::util::http_client::HttpError;

type TokenRequestError = RequestTokenError<HttpError, BasicErrorResponse>;

/// Entra's discovery document or keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("Entra's {what} could not be read")]
    Unreachable { what: &'static str, source: HttpError },
    #[error("Entra answered {status} when asked for its {what}")]
    Status { what: &'static str, status: u16 },
    #[error("Entra's {what} is not what it should be")]
    Malformed { what: &'static str },
    #[error("Entra's discovery document names another issuer than the configured tenant's")]
    ForeignIssuer,
    /// OpenID Connect Discovery does not ask for this. Entra's own documents name endpoints of the login host alone, in
    /// each cloud; another origin would receive the app's credential, codes or browsers.
    #[error(
        "Entra's discovery document names a {endpoint} on {found}, and not on the login host {expected} \
         (entra.authority_url). Something between Entraway and Entra changes the document, or the URL is another cloud's"
    )]
    ForeignEndpoint { endpoint: &'static str, found: String, expected: String },
}

impl ProviderError {
    /// A word for the situation.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Status { .. } => "status",
            Self::Malformed { .. } => "malformed",
            Self::ForeignIssuer => "foreign_issuer",
            Self::ForeignEndpoint { .. } => "foreign_endpoint",
        }
    }

    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::ForeignEndpoint { .. } => {
                "set entra.authority_url (or entra.cloud) to the login host of your cloud, and look for a proxy that \
                 rewrites answers"
            }
            _ => "is entra.tenant right, and can this machine reach the login host?",
        }
    }
}

/// A token that Entra did not give.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token endpoint could not be reached")]
    Unreachable(#[source] HttpError),
    /// `error` is the OAuth error code. The description is Entra's own text and may name people.
    #[error("Entra refused: {error}")]
    Refused { error: String, description: Option<String> },
    #[error("Entra's token answer is not what it should be")]
    Malformed,
    /// The app has nothing to authenticate with; the file's name is what the configuration says.
    #[error("the app cannot authenticate: {file:?} {reason}")]
    Credential { file: String, reason: CredentialError },
}

impl TokenError {
    /// A word for the situation; Entra's own are not among them.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Malformed => "malformed",
            Self::Credential { .. } => "credential",
        }
    }

    /// Whether Entra did not take the app's own credential. It looks at that first, before it takes a code.
    pub(super) fn refuses_app(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error == "invalid_client")
    }

    /// What the operator can do, by Entra's number or, where that is missing or new, by how the app authenticates.
    #[must_use]
    pub fn remedy(&self, client_auth: &ClientAuth) -> &'static str {
        match self {
            Self::Credential { reason, .. } => reason.remedy(),
            Self::Refused { error, .. } => remedy::of_refusal(error, self.aadsts_number(), client_auth),
            Self::Unreachable(_) | Self::Malformed => "can this machine reach the login host?",
        }
    }

    /// Entra's own number for what is the matter, which can be looked up.
    #[must_use]
    pub fn aadsts_number(&self) -> Option<&str> {
        match self {
            Self::Refused { description, .. } => aadsts_number(description.as_deref()?),
            _ => None,
        }
    }
}

/// The number in Entra's descriptions, such as `7000222`; meant for people, so nothing may break where it is missing.
#[must_use]
pub fn aadsts_number(description: &str) -> Option<&str> {
    let (_, rest) = description.split_once("AADSTS")?;
    let number = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
    (!number.is_empty()).then_some(number)
}

/// No token for the app itself.
#[derive(Debug, thiserror::Error)]
pub enum AppTokenError {
    #[error(transparent)]
    Provider(#[from] Arc<ProviderError>),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the tenant's token endpoint has no valid address")]
    Endpoint,
}

/// A sign-in that came back from Entra and did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error(transparent)]
    Provider(#[from] Arc<ProviderError>),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the ID token was refused: {0}")]
    IdToken(#[from] IdTokenError),
    /// The ID token is valid in all but its tenant, so it proves whose it is.
    #[error("the user's tenant may not sign in here")]
    TenantNotAllowed(Identity),
}

impl SignInError {
    /// Entra's own number for what is the matter, if the token endpoint gave one.
    #[must_use]
    pub fn aadsts_number(&self) -> Option<&str> {
        match self {
            Self::Token(error) => error.aadsts_number(),
            _ => None,
        }
    }
}

/// Why an ID token is no proof of who came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    #[error("there is none")]
    Missing,
    #[error("it cannot be read")]
    Malformed,
    #[error("its signature algorithm is not RS256")]
    Algorithm,
    #[error("it is signed with a key that Entra does not publish")]
    UnknownKey,
    #[error("its signature is not Entra's")]
    Signature,
    #[error("its issuer is not the tenant's")]
    Issuer,
    #[error("it is for another app")]
    Audience,
    #[error("it has expired, or was issued in the future")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("it answers another attempt")]
    Nonce,
    #[error("it is no v2.0 token")]
    Version,
    #[error("it names no tenant")]
    NoTenant,
    #[error("it names no object id")]
    NoObjectId,
    #[error("its tenant may not sign in here")]
    TenantNotAllowed,
}

impl IdTokenError {
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "id_token_missing",
            Self::Malformed => "id_token_malformed",
            Self::Algorithm => "id_token_algorithm",
            Self::UnknownKey => "id_token_unknown_key",
            Self::Signature => "id_token_signature",
            Self::Issuer => "id_token_issuer",
            Self::Audience => "id_token_audience",
            Self::Expired => "id_token_expired",
            Self::NotYetValid => "id_token_not_yet_valid",
            Self::Nonce => "id_token_nonce",
            Self::Version => "id_token_version",
            Self::NoTenant => "id_token_no_tenant",
            Self::NoObjectId => "id_token_no_object_id",
            Self::TenantNotAllowed => "tenant_not_allowed",
        }
    }
}

impl From<TokenRequestError> for TokenError {
    fn from(error: TokenRequestError) -> Self {
        match error {
            RequestTokenError::Request(source) => Self::Unreachable(source),
            RequestTokenError::ServerResponse(response) => Self::Refused {
                error: match response.error() {
                    // Only what can be a code: the text may come from anybody.
                    BasicErrorResponseType::Extension(code) => {
                        code.chars().filter(char::is_ascii_graphic).take(64).collect()
                    }
                    known => known.as_ref().to_owned(),
                },
                description: response.error_description().cloned(),
            },
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => Self::Malformed,
        }
    }
}
