//! OpenID Connect client for Microsoft Entra ID: builds the authorization request, redeems the code, verifies the ID token.
//!
//! Knows neither Postgres nor axum.

mod app_token;
mod client_auth;
mod discovery;
mod error;
mod help;
mod id_token;
mod signing_key;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, CsrfToken, EndpointNotSet, EndpointSet, ExtraTokenFields,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, StandardRevocableToken, StandardTokenResponse,
    TokenResponse as _, TokenUrl,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::client_auth::CredentialError;
use crate::config;
use crate::domain::{EntraUser, TenantId};
use crate::observability::metrics::{EntraCall, EntraOutcome, Metrics};
use crate::observability::spans::Step;
use crate::util::clock::{Clock, Moment};
use crate::util::http_client::HttpClient;
use crate::util::single_flight::SingleFlight;

use app_token::AppTokens;
pub use client_auth::Credentials;
use client_auth::{ClientAuth, Credential, CredentialChoice};
use discovery::Provider;
pub use error::{AppTokenError, IdTokenError, ProviderError, SignInError, TokenError, aadsts_number};
use id_token::Rejection;

/// How long Entra's endpoints and signing keys are cached. Microsoft recommends a day.
const PROVIDER_TTL: Duration = Duration::from_hours(24);
/// Minimum time between two reads of the signing keys that unknown key IDs cause. A failed read is repeated at once,
/// because no user with such a token can sign in before one succeeds. While the cached keys suffice, a failed refresh is
/// repeated after this time.
const KEY_REFRESH: Duration = Duration::from_mins(1);

/// Secrets that bind Entra's response to the authorization request. The browser stores them in a sealed cookie.
#[derive(Clone, Serialize, Deserialize)]
pub struct LoginSecrets {
    pub state: String,
    pub nonce: String,
    pub pkce_verifier: String,
}

/// Result of a sign-in at Entra whose ID token was verified.
pub struct CompletedSignIn {
    pub user: EntraUser,
    /// Delegated token for Graph. Never stored.
    pub access_token: SecretString,
    /// ID of Entra's session, for front-channel logout.
    pub sid: Option<String>,
}

/// Client for Entra, as one app registration.
pub struct Entra {
    http: HttpClient,
    clock: Clock,
    client_auth: ClientAuth,
    settings: config::Entra,
    redirect_uri: RedirectUrl,
    provider: SingleFlight<Arc<Provider>, Arc<ProviderError>>,
    /// When an unknown key ID last caused a read of the keys.
    keys_refreshed: Mutex<Option<Moment>>,
    app_tokens: AppTokens,
    metrics: Arc<Metrics>,
}

/// The ID token as text. The library's own type would reject the whole response if only the token is malformed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct IdTokenField {
    id_token: Option<String>,
}
impl ExtraTokenFields for IdTokenField {}

type TokenResponse = StandardTokenResponse<IdTokenField, BasicTokenType>;

type OauthClient = oauth2::Client<
    BasicErrorResponse,
    TokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl Entra {
    /// Creates a client. `redirect_uri` must be registered for the app.
    #[must_use]
    pub fn new(http: HttpClient, clock: Clock, settings: config::Entra, redirect_uri: Url) -> Self {
        Self {
            http,
            client_auth: ClientAuth::new(&settings, clock.clone()),
            settings,
            redirect_uri: RedirectUrl::from_url(redirect_uri),
            provider: SingleFlight::new(clock.clone()),
            keys_refreshed: Mutex::default(),
            app_tokens: AppTokens::default(),
            clock,
            metrics: Arc::default(),
        }
    }

    /// Records its calls in these metrics.
    #[must_use]
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// The URL that starts a sign-in in the browser. With `select_account`, Entra shows its account picker.
    pub async fn authorization_url(
        &self,
        secrets: &LoginSecrets,
        select_account: bool,
    ) -> Result<Url, Arc<ProviderError>> {
        let provider = self.provider().await?;
        let client = self.client(&provider, provider.token_endpoint.clone());
        let verifier = PkceCodeVerifier::new(secrets.pkce_verifier.clone());
        let mut request = client
            .authorize_url(|| CsrfToken::new(secrets.state.clone()))
            // Includes Graph's scope, so that Conditional Access runs now and not when the code is redeemed.
            .add_scopes(["openid", "profile", "email"].map(|scope| Scope::new(scope.to_owned())))
            .add_scope(Scope::new(self.graph_scope("User.Read")))
            .add_extra_param("nonce", secrets.nonce.clone())
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        if select_account {
            request = request.add_extra_param("prompt", "select_account");
        }
        Ok(request.url().0)
    }

    /// Redeems the authorization code and verifies the ID token.
    pub async fn complete_sign_in(&self, code: String, secrets: &LoginSecrets) -> Result<CompletedSignIn, SignInError> {
        let provider = self.provider().await?;
        let CredentialChoice { first, fallback, swapped } = self.client_auth.choose(&provider.token_endpoint).await?;
        let redeem = |credential| self.redeem(&code, secrets, &provider, credential);
        let outcome = redeem(&first).await;
        let response = self.client_auth.or_fallback(swapped, outcome, fallback.as_ref().map(redeem)).await?;
        let id_token = response.extra_fields().id_token.as_deref().ok_or(IdTokenError::Missing)?;
        let claims = self.verify(id_token, &secrets.nonce, provider).await?;
        Ok(CompletedSignIn {
            user: claims.user,
            access_token: response.access_token().secret().clone().into(),
            sid: claims.sid,
        })
    }

    async fn redeem(
        &self,
        code: &str,
        secrets: &LoginSecrets,
        provider: &Provider,
        credential: &Credential,
    ) -> Result<TokenResponse, TokenError> {
        let client = authenticated(self.client(provider, provider.token_endpoint.clone()), credential);
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(secrets.pkce_verifier.clone()));
        for (name, value) in credential.parameters() {
            request = request.add_extra_param(name, value);
        }
        self.record(EntraCall::Code, request.request_async(&self.http)).await
    }

    /// Verifies an ID token. If its key is unknown, reads the signing keys again and retries.
    async fn verify(
        &self,
        id_token: &str,
        nonce: &str,
        provider: Arc<Provider>,
    ) -> Result<id_token::Verified, SignInError> {
        let now = self.clock.now();
        match id_token::verify(id_token, nonce, &provider, &self.settings, now) {
            Err(Rejection::Invalid(IdTokenError::UnknownKey)) => {
                // The cached keys do not suffice, so an earlier failure to read them does not count.
                let oldest = self.refresh_keys(self.clock.moment());
                let provider = self.provider_if(|at| at >= oldest, Duration::ZERO).await?;
                Ok(id_token::verify(id_token, nonce, &provider, &self.settings, now)?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Returns how recently the keys must have been read for a key to count as unknown: now, or the time of the last
    /// refresh if that was less than [`KEY_REFRESH`] ago. Entra may have published the key just after an older read.
    fn refresh_keys(&self, now: Moment) -> Moment {
        let mut refreshed = self.keys_refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        match *refreshed {
            Some(at) if at.age(now) < KEY_REFRESH => at,
            _ => *refreshed.insert(now),
        }
    }

    /// The app's credentials. Files are read again at each call.
    pub async fn credentials(&self) -> Result<Credentials, CredentialError> {
        self.client_auth.describe().await
    }

    /// Entra's sign-out URL, which then redirects to `return_to`, a registered redirect URI. `None` if the discovery
    /// document has no `end_session_endpoint`.
    pub async fn sign_out_url(&self, return_to: &Url) -> Result<Option<Url>, Arc<ProviderError>> {
        let provider = self.provider().await?;
        Ok(provider.end_session_endpoint.clone().map(|mut url| {
            url.query_pairs_mut().append_pair("post_logout_redirect_uri", return_to.as_str());
            url
        }))
    }

    /// Checks that Entra's endpoints and signing keys are known, which sign-ins need. Returns the number of keys.
    pub async fn ready(&self) -> Result<usize, Arc<ProviderError>> {
        self.provider().await.map(|provider| provider.keys.len())
    }

    /// Reads the endpoints and keys without the cache, for `check`. Returns the issuer and the number of keys.
    pub async fn probe(&self) -> Result<(String, usize), Arc<ProviderError>> {
        let provider = self.provider_if(|_| false, Duration::ZERO).await?;
        Ok((provider.issuer.clone(), provider.keys.len()))
    }

    /// ID of the configured tenant, from the discovery document; `None` for `organizations` and `common`.
    pub async fn home_tenant(&self) -> Result<Option<TenantId>, Arc<ProviderError>> {
        self.provider().await.map(|provider| provider.tenant)
    }

    async fn provider(&self) -> Result<Arc<Provider>, Arc<ProviderError>> {
        let now = self.clock.moment();
        let outcome = self.provider_if(|at| at.age(now) < PROVIDER_TTL, KEY_REFRESH).await;
        match outcome {
            Ok(provider) => Ok(provider),
            // Stale keys are safe: a token that was signed with a newer key is still rejected.
            Err(error) => self.provider.last().await.ok_or(error),
        }
    }

    /// The cached provider if `is_fresh` accepts the time at which it was read, else a new one. See
    /// [`SingleFlight::get`] for `retry_after`.
    async fn provider_if(
        &self,
        is_fresh: impl FnOnce(Moment) -> bool,
        retry_after: Duration,
    ) -> Result<Arc<Provider>, Arc<ProviderError>> {
        let read = async || {
            let read = discovery::read(&self.http, &self.settings);
            let outcome = Step::EntraDiscovery.run(read, ProviderError::code).await;
            let label = if outcome.is_ok() { EntraOutcome::Ok } else { EntraOutcome::Failed };
            self.metrics.entra_calls.add((EntraCall::Discovery, label));
            outcome.map(Arc::new).map_err(Arc::new)
        };
        self.provider.get(|at, _| is_fresh(at), retry_after, read).await
    }

    /// Runs a token request and records its outcome.
    async fn record<T, E: Into<TokenError>>(
        &self,
        call: EntraCall,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, TokenError> {
        let step = match call {
            EntraCall::Discovery => Step::EntraDiscovery,
            EntraCall::Code => Step::EntraCode,
            EntraCall::AppToken => Step::EntraAppToken,
        };
        let request = async { request.await.map_err(Into::into) };
        let outcome = step.run(request, TokenError::code).await;
        let label = match &outcome {
            Ok(_) => EntraOutcome::Ok,
            Err(TokenError::Refused { .. }) => EntraOutcome::Refused,
            Err(_) => EntraOutcome::Failed,
        };
        self.metrics.entra_calls.add((call, label));
        outcome
    }

    fn client(&self, provider: &Provider, token_endpoint: Url) -> OauthClient {
        oauth2::Client::new(ClientId::new(self.settings.client_id.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(AuthUrl::from_url(provider.authorization_endpoint.clone()))
            .set_token_uri(TokenUrl::from_url(token_endpoint))
            .set_redirect_uri(self.redirect_uri.clone())
    }

    /// A Graph scope in this cloud, such as `https://graph.microsoft.com/User.Read`.
    fn graph_scope(&self, name: &str) -> String {
        format!("{}/{name}", self.settings.graph_url.origin().ascii_serialization())
    }
}

impl From<Rejection> for SignInError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Invalid(error) => error.into(),
            Rejection::TenantNotAllowed(identity) => Self::TenantNotAllowed(identity),
        }
    }
}

/// Adds a client secret, which the library sends. An assertion is sent as extra parameters instead.
fn authenticated(client: OauthClient, credential: &Credential) -> OauthClient {
    match credential {
        Credential::Secret(secret) => client.set_client_secret(secret.clone()),
        Credential::Assertion(_) => client,
    }
}

impl LoginSecrets {
    /// Creates secrets for one sign-in. The `state` starts with `login_state_id`, which finds the login state's cookie.
    #[must_use]
    pub fn new(login_state_id: &str, secret: impl Fn() -> String) -> Self {
        Self { state: format!("{login_state_id}.{}", secret()), nonce: secret(), pkce_verifier: secret() }
    }

    /// The login state's ID in a `state` parameter, if the parameter has the format that [`Self::new`] gives it.
    #[must_use]
    pub fn login_state_id(state: &str) -> Option<&str> {
        let (id, secret) = state.split_once('.')?;
        let is_base64url = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (id.len() == 12 && secret.len() == 43 && is_base64url(id) && is_base64url(secret)).then_some(id)
    }
}
