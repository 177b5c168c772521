//! Errors of communication with Entra. `code()` is the stable code in logs, pages and JSON.

use std::sync::Arc;

use oauth2::RequestTokenError;
use oauth2::basic::{BasicErrorResponse, BasicErrorResponseType};

use super::help;
use crate::client_auth::CredentialError;
use crate::config::ClientAuth;
use crate::domain::Identity;
use crate::util::http_client::HttpError;

type TokenRequestError = RequestTokenError<HttpError, BasicErrorResponse>;

/// Why Entra's discovery document or signing keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("Entra's {what} could not be read")]
    Unreachable { what: &'static str, source: HttpError },
    #[error("Entra answered {status} to the request for its {what}")]
    Status { what: &'static str, status: u16 },
    #[error("Entra's {what} cannot be parsed")]
    Malformed { what: &'static str },
    #[error("Entra's discovery document names an issuer other than the configured tenant")]
    ForeignIssuer,
    /// An endpoint on another origin, which would receive the app's credentials, codes or browsers. Stricter than OpenID
    /// Connect Discovery: in every cloud, Entra's documents name only endpoints on the login host.
    #[error(
        "Entra's discovery document names a {endpoint} on {found}, not on the login host {expected} \
         (entra.authority_url). A proxy changes the document, or the URL belongs to another cloud"
    )]
    ForeignEndpoint { endpoint: &'static str, found: String, expected: String },
}

impl ProviderError {
    /// Stable code.
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
    pub fn help(&self) -> &'static str {
        match self {
            Self::ForeignEndpoint { .. } => {
                "set entra.authority_url (or entra.cloud) to the login host of your cloud, and look for a proxy that \
                 rewrites responses"
            }
            _ => "check entra.tenant, and that this machine can reach the login host",
        }
    }
}

/// Why the token endpoint issued no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token endpoint could not be reached")]
    Unreachable(#[source] HttpError),
    /// `error` is the OAuth error code. The description is Entra's text and may name users.
    #[error("Entra refused: {error}")]
    Refused { error: String, description: Option<String> },
    #[error("Entra's token response cannot be parsed")]
    Malformed,
    /// The app's credential file cannot be used. `file` is the path in the configuration.
    #[error("the app cannot authenticate: {file:?} {reason}")]
    Credential { file: String, reason: CredentialError },
}

impl TokenError {
    /// Stable code, independent of Entra's error codes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Malformed => "malformed",
            Self::Credential { .. } => "credential",
        }
    }

    /// Whether Entra rejected the app's credential. Entra checks it before it consumes the code.
    pub(super) fn rejects_app(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error == "invalid_client")
    }

    /// What the operator can do, by AADSTS number or, if that is missing or unknown, by client authentication method.
    #[must_use]
    pub fn help(&self, client_auth: &ClientAuth) -> &'static str {
        match self {
            Self::Credential { reason, .. } => reason.help(),
            Self::Refused { error, .. } => help::for_refusal(error, self.aadsts_number(), client_auth),
            Self::Unreachable(_) | Self::Malformed => "check that this machine can reach the login host",
        }
    }

    /// Entra's AADSTS number, which can be looked up.
    #[must_use]
    pub fn aadsts_number(&self) -> Option<&str> {
        match self {
            Self::Refused { description, .. } => aadsts_number(description.as_deref()?),
            _ => None,
        }
    }
}

/// The AADSTS number in an error description, such as `7000222`. The text is not a stable interface, so the number may be
/// missing.
#[must_use]
pub fn aadsts_number(description: &str) -> Option<&str> {
    let (_, rest) = description.split_once("AADSTS")?;
    let number = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
    (!number.is_empty()).then_some(number)
}

/// Why there is no app-only token.
#[derive(Debug, thiserror::Error)]
pub enum AppTokenError {
    #[error(transparent)]
    Provider(#[from] Arc<ProviderError>),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the tenant's token endpoint is not a valid URL")]
    Endpoint,
}

/// Why a sign-in failed after Entra redirected the browser back.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error(transparent)]
    Provider(#[from] Arc<ProviderError>),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the ID token was rejected: {0}")]
    IdToken(#[from] IdTokenError),
    /// The ID token is valid except for its tenant, so it proves the identity.
    #[error("the user's tenant may not sign in here")]
    TenantNotAllowed(Identity),
}

impl SignInError {
    /// Entra's AADSTS number, if the token endpoint sent one.
    #[must_use]
    pub fn aadsts_number(&self) -> Option<&str> {
        match self {
            Self::Token(error) => error.aadsts_number(),
            _ => None,
        }
    }
}

/// Why an ID token is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    #[error("it is missing")]
    Missing,
    #[error("it cannot be parsed")]
    Malformed,
    #[error("its signature algorithm is not RS256")]
    Algorithm,
    #[error("it is signed with a key that Entra does not publish")]
    UnknownKey,
    #[error("its signature is not Entra's")]
    Signature,
    #[error("its issuer is not the tenant")]
    Issuer,
    #[error("it is for another app")]
    Audience,
    #[error("it has expired or was issued in the future")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("its nonce is not from this sign-in")]
    Nonce,
    #[error("it is not a v2.0 token")]
    Version,
    #[error("it has no valid tenant ID (tid)")]
    NoTenant,
    #[error("it has no valid object ID (oid)")]
    NoObjectId,
    #[error("its tenant may not sign in here")]
    TenantNotAllowed,
}

impl IdTokenError {
    /// Stable code.
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
                    // External text: reduced to the characters of a code.
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
