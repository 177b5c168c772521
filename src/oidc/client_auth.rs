//! How the app proves to Entra that it is the app: what goes into a token request.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use oauth2::ClientSecret;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use url::Url;

use super::error::TokenError;
use crate::client_auth::{Certificate, CredentialError, federated_token};
use crate::config;
use crate::util::clock::Clock;
use crate::util::random;

/// Entra wants an assertion to be good for five to ten minutes. It begins in the past, for clocks that are fast.
const ASSERTION_BEGINS: TimeDelta = TimeDelta::minutes(-1);
const ASSERTION_ENDS: TimeDelta = TimeDelta::minutes(9);
/// So long before its end a certificate is worth a warning.
const WARN_BEFORE_END: TimeDelta = TimeDelta::days(30);

/// The app's own credentials, as they are configured.
pub(super) struct ClientAuth {
    way: config::ClientAuth,
    client_id: String,
    clock: Clock,
    /// Of two secrets the other one worked last.
    other_first: AtomicBool,
}

/// What one token request carries.
#[derive(Clone)]
pub(super) enum Credential {
    Secret(ClientSecret),
    /// A JWT: signed with the certificate, or another identity provider's.
    Assertion(SecretString),
}

impl Credential {
    fn secret(secret: &SecretString) -> Self {
        Self::Secret(ClientSecret::new(secret.expose_secret().to_owned()))
    }

    /// The parameters that the library does not know; none where it has the secret.
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

/// The credential to try, and the one that may do instead.
pub(super) struct Choice {
    pub(super) first: Credential,
    pub(super) second: Option<Credential>,
    /// Whether the first to try is the second of the configuration.
    pub(super) turned: bool,
}

/// What the app authenticates with at present, for those who run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    OneSecret,
    TwoSecrets,
    Certificate { thumbprint: String, ends: DateTime<Utc> },
    FederatedToken,
}

impl Credentials {
    /// What has to be done soon, or should have been.
    #[must_use]
    pub fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let Self::Certificate { ends, .. } = self else { return None };
        let day = ends.format("%Y-%m-%d");
        match *ends - now {
            left if left <= TimeDelta::zero() => {
                Some(format!("the certificate that the app authenticates with ended on {day}"))
            }
            left if left <= WARN_BEFORE_END => {
                let days = left.num_days();
                let unit = if days == 1 { "day" } else { "days" };
                Some(format!("the certificate that the app authenticates with ends on {day}, in {days} {unit}"))
            }
            _ => None,
        }
    }
}

/// What the app says of itself, signed with its key.
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
        let (way, client_id) = (settings.client_auth.clone(), settings.client_id.clone());
        Self { way, client_id, clock, other_first: AtomicBool::new(false) }
    }

    /// What a request to this token endpoint is to carry. Of two secrets the one that worked last goes first.
    pub(super) async fn choose(&self, endpoint: &Url) -> Result<Choice, TokenError> {
        let turned = self.other_first.load(Ordering::Relaxed);
        Ok(match self.two_secrets() {
            None => Choice { first: self.credential(endpoint).await?, second: None, turned },
            Some([one, other]) if turned => Choice { first: other, second: Some(one), turned },
            Some([one, other]) => Choice { first: one, second: Some(other), turned },
        })
    }

    /// The outcome of the first credential, or of the second one where Entra refuses the app with the first. Entra looks at
    /// the secret before it takes a code, so the code is still good then.
    pub(super) async fn settle<T>(
        &self,
        turned: bool,
        outcome: Result<T, TokenError>,
        second: Option<impl Future<Output = Result<T, TokenError>>>,
    ) -> Result<T, TokenError> {
        let (refused, second) = match (outcome, second) {
            (Err(error), Some(second)) if error.refuses_app() => (error, second),
            (outcome, _) => return outcome,
        };
        let outcome = second.await;
        match &outcome {
            Err(error) if error.refuses_app() => return Err(refused),
            Ok(_) | Err(TokenError::Refused { .. }) => {
                if self.other_first.swap(!turned, Ordering::Relaxed) == turned {
                    let which = if turned { "second" } else { "first" };
                    tracing::warn!(
                        aadsts = refused.aadsts_number(),
                        "Entra refuses the {which} of the two client secrets"
                    );
                }
            }
            Err(_) => {}
        }
        outcome
    }

    /// Where there are two secrets, both.
    pub(super) fn two_secrets(&self) -> Option<[Credential; 2]> {
        match &self.way {
            config::ClientAuth::Secrets { one, other: Some(other) } => Some([one, other].map(Credential::secret)),
            _ => None,
        }
    }

    async fn credential(&self, endpoint: &Url) -> Result<Credential, TokenError> {
        let token = match &self.way {
            config::ClientAuth::Secrets { one, .. } => return Ok(Credential::secret(one)),
            config::ClientAuth::Certificate(path) => self.sign(path, endpoint).await.map_err(unusable(path))?,
            config::ClientAuth::FederatedToken(path) => {
                understand(path, federated_token).await.map_err(unusable(path))?
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
            nbf: (now + ASSERTION_BEGINS).timestamp(),
            exp: (now + ASSERTION_ENDS).timestamp(),
        };
        Ok(understand(path, move |content| Certificate::parse(content)?.sign(&assertion)).await?.into())
    }

    /// Reads what there is to be read, and tells what it is.
    pub(super) async fn look(&self) -> Result<Credentials, CredentialError> {
        Ok(match &self.way {
            config::ClientAuth::Secrets { other: None, .. } => Credentials::OneSecret,
            config::ClientAuth::Secrets { other: Some(_), .. } => Credentials::TwoSecrets,
            config::ClientAuth::Certificate(path) => {
                let certificate = understand(path, Certificate::parse).await?;
                Credentials::Certificate { thumbprint: certificate.thumbprint().to_owned(), ends: certificate.ends() }
            }
            config::ClientAuth::FederatedToken(path) => {
                understand(path, federated_token).await.map(|_| Credentials::FederatedToken)?
            }
        })
    }
}

fn unusable(path: &Path) -> impl Fn(CredentialError) -> TokenError {
    move |reason| TokenError::Credential { file: path.display().to_string(), reason }
}

/// Reads a file and makes something of it, where waiting for the disk and signing hold nobody up.
async fn understand<T: Send + 'static>(
    path: &Path,
    understand: impl FnOnce(&[u8]) -> Result<T, CredentialError> + Send + 'static,
) -> Result<T, CredentialError> {
    let path = path.to_owned();
    let work = tokio::task::spawn_blocking(move || understand(&std::fs::read(path)?));
    work.await.map_err(std::io::Error::other)?
}
