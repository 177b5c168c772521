//! Client authentication: what proves to the token endpoint that a request is from this app.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use oauth2::ClientSecret;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use url::Url;

use super::error::TokenError;
use crate::client_auth::{self, Certificate, CredentialError, federated_token};
use crate::config;
use crate::util::clock::Clock;
use crate::util::random;
use crate::util::sanitize::pluralize;

/// Start (`nbf`) of an assertion's validity, relative to now. In the past, in case this machine's clock is fast.
const ASSERTION_NOT_BEFORE: TimeDelta = TimeDelta::minutes(-1);
/// End (`exp`) of an assertion's validity, relative to now. Entra recommends five to ten minutes.
const ASSERTION_EXPIRES_IN: TimeDelta = TimeDelta::minutes(9);
/// A certificate that expires within this time causes a warning.
const WARN_BEFORE_EXPIRY: TimeDelta = TimeDelta::days(30);

/// The app's configured credentials.
pub(super) struct ClientAuth {
    method: config::ClientAuth,
    client_id: String,
    clock: Clock,
    /// Whether the second of two secrets worked last and is tried first.
    swapped: AtomicBool,
}

/// The credential of one token request.
#[derive(Clone)]
pub(super) enum Credential {
    Secret(ClientSecret),
    /// A JWT, signed with the certificate or issued by another identity provider.
    Assertion(SecretString),
}

impl Credential {
    fn secret(secret: &SecretString) -> Self {
        Self::Secret(ClientSecret::new(secret.expose_secret().to_owned()))
    }

    /// Request parameters of an assertion (RFC 7523 2.2). None for a secret, which the library sends.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Secret(_) => Vec::new(),
            Self::Assertion(token) => vec![
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()),
                ("client_assertion", token.expose_secret().to_owned()),
            ],
        }
    }
}

/// The credential to try first, and the fallback if Entra rejects it.
pub(super) struct CredentialChoice {
    pub(super) first: Credential,
    pub(super) fallback: Option<Credential>,
    /// Whether `first` is the second secret of the configuration.
    pub(super) swapped: bool,
}

/// Description of the app's current credentials, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    OneSecret,
    TwoSecrets,
    Certificate { thumbprint: String, expires_at: DateTime<Utc> },
    FederatedToken,
}

impl Credentials {
    /// A warning if the certificate has expired or expires soon.
    #[must_use]
    pub fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let Self::Certificate { expires_at, .. } = self else { return None };
        let day = expires_at.format("%Y-%m-%d");
        match *expires_at - now {
            left if left <= TimeDelta::zero() => Some(format!("the client certificate expired on {day}")),
            left if left <= WARN_BEFORE_EXPIRY => {
                Some(format!("the client certificate expires on {day}, in {}", pluralize(left.num_days(), "day")))
            }
            _ => None,
        }
    }
}

/// Claims of the client assertion: <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>.
#[derive(Serialize)]
struct Assertion {
    aud: Url,
    iss: String,
    sub: String,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl ClientAuth {
    pub(super) fn new(settings: &config::Entra, clock: Clock) -> Self {
        let (method, client_id) = (settings.client_auth.clone(), settings.client_id.clone());
        Self { method, client_id, clock, swapped: AtomicBool::new(false) }
    }

    /// Chooses the credentials for a request to this token endpoint. Of two secrets, the one that worked last is first.
    pub(super) async fn choose(&self, endpoint: &Url) -> Result<CredentialChoice, TokenError> {
        let swapped = self.swapped.load(Ordering::Relaxed);
        Ok(match self.two_secrets() {
            None => CredentialChoice { first: self.credential(endpoint).await?, fallback: None, swapped },
            Some([one, other]) if swapped => CredentialChoice { first: other, fallback: Some(one), swapped },
            Some([one, other]) => CredentialChoice { first: one, fallback: Some(other), swapped },
        })
    }

    /// Returns the outcome of the first credential, or runs the fallback if Entra rejected the first one. Entra checks the
    /// secret before it consumes the code, so the code can still be redeemed.
    pub(super) async fn or_fallback<T>(
        &self,
        swapped: bool,
        outcome: Result<T, TokenError>,
        fallback: Option<impl Future<Output = Result<T, TokenError>>>,
    ) -> Result<T, TokenError> {
        let (rejection, fallback) = match (outcome, fallback) {
            (Err(error), Some(fallback)) if error.rejects_app() => (error, fallback),
            (outcome, _) => return outcome,
        };
        let outcome = fallback.await;
        match &outcome {
            Err(error) if error.rejects_app() => return Err(rejection),
            // Entra accepted the secret, even if it then refused the request.
            Ok(_) | Err(TokenError::Refused { .. }) => {
                if self.swapped.swap(!swapped, Ordering::Relaxed) == swapped {
                    let rejected = if swapped { "second" } else { "first" };
                    let aadsts = rejection.aadsts_number();
                    tracing::warn!(rejected, aadsts, "Entra rejects one of the two client secrets");
                }
            }
            Err(_) => {}
        }
        outcome
    }

    /// Both secrets, if two are configured.
    pub(super) fn two_secrets(&self) -> Option<[Credential; 2]> {
        match &self.method {
            config::ClientAuth::Secrets { primary, secondary: Some(other) } => {
                Some([primary, other].map(Credential::secret))
            }
            _ => None,
        }
    }

    async fn credential(&self, endpoint: &Url) -> Result<Credential, TokenError> {
        let token = match &self.method {
            config::ClientAuth::Secrets { primary, .. } => return Ok(Credential::secret(primary)),
            config::ClientAuth::Certificate(path) => self.sign(path, endpoint).await.map_err(unusable(path))?,
            config::ClientAuth::FederatedToken(path) => {
                read_file(path, federated_token).await.map_err(unusable(path))?
            }
        };
        Ok(Credential::Assertion(token))
    }

    async fn sign(&self, path: &Path, endpoint: &Url) -> Result<SecretString, CredentialError> {
        let now = self.clock.now();
        let assertion = Assertion {
            aud: endpoint.clone(),
            iss: self.client_id.clone(),
            sub: self.client_id.clone(),
            jti: random::uuid().to_string(),
            iat: now.timestamp(),
            nbf: (now + ASSERTION_NOT_BEFORE).timestamp(),
            exp: (now + ASSERTION_EXPIRES_IN).timestamp(),
        };
        Ok(read_file(path, move |content| Certificate::parse(content)?.sign(&assertion)).await?.into())
    }

    /// Reads the credentials and describes them.
    pub(super) async fn describe(&self) -> Result<Credentials, CredentialError> {
        Ok(match &self.method {
            config::ClientAuth::Secrets { secondary: None, .. } => Credentials::OneSecret,
            config::ClientAuth::Secrets { secondary: Some(_), .. } => Credentials::TwoSecrets,
            config::ClientAuth::Certificate(path) => {
                let certificate = read_file(path, Certificate::parse).await?;
                let thumbprint = certificate.thumbprint().to_owned();
                Credentials::Certificate { thumbprint, expires_at: certificate.ends() }
            }
            config::ClientAuth::FederatedToken(path) => {
                read_file(path, federated_token).await.map(|_| Credentials::FederatedToken)?
            }
        })
    }
}

fn unusable(path: &Path) -> impl Fn(CredentialError) -> TokenError {
    move |reason| TokenError::Credential { file: path.display().to_string(), reason }
}

/// Reads and parses a file on a blocking thread, because the disk and signing can be slow.
async fn read_file<T: Send + 'static>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, CredentialError> + Send + 'static,
) -> Result<T, CredentialError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || client_auth::read(&path, parse)).await.map_err(std::io::Error::other)?
}
