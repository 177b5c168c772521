//! OpenID Connect with Microsoft Entra ID: send the browser there, redeem the code, know for certain who came back.
//! Knows neither Postgres nor axum.

mod app_token;
mod client_auth;
mod discovery;
mod error;
mod id_token;
mod remedy;
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
use client_auth::{Choice, ClientAuth, Credential};
use discovery::Provider;
pub use error::{AppTokenError, IdTokenError, ProviderError, SignInError, TokenError, aadsts_number};
use id_token::Refused;

/// How long Entra's endpoints and keys are used before they are read again (Microsoft's advice: a day).
const PROVIDER_TTL: Duration = Duration::from_hours(24);
/// A token with an unknown key id makes us read the keys again, but not more often than this, unless that reading failed:
/// nobody with such a token can enter before one goes well. While the keys at hand do, a failed reading is not repeated
/// sooner either.
const KEY_REFRESH: Duration = Duration::from_mins(1);

/// What binds an answer of Entra to the request that asked for it. Sealed in the browser's cookie meanwhile.
#[derive(Clone, Serialize, Deserialize)]
pub struct LoginSecrets {
    pub state: String,
    pub nonce: String,
    pub pkce_verifier: String,
}

/// A person whose ID token was verified, with what their browser's sign-in brought along.
pub struct SignedIn {
    pub person: EntraUser,
    /// For Graph, on the person's behalf. Not stored anywhere.
    pub access_token: SecretString,
    /// Entra's own session, for its sign-out.
    pub sid: Option<String>,
}

/// The enterprise app's view of Entra.
pub struct Entra {
    http: HttpClient,
    clock: Clock,
    client_auth: ClientAuth,
    settings: config::Entra,
    redirect_uri: RedirectUrl,
    provider: SingleFlight<Arc<Provider>, Arc<ProviderError>>,
    /// When a token with an unknown key id last made us read the keys.
    keys_refreshed: Mutex<Option<Moment>>,
    app_tokens: AppTokens,
    metrics: Arc<Metrics>,
}

/// The ID token, taken as text: the library would refuse the whole answer where only the token is malformed.
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
    /// `redirect_uri` is where Entra sends the browser back to; it has to be registered there.
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

    /// Counts its calls there.
    #[must_use]
    pub fn counted_by(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Where the browser has to go so that Entra asks who the person is.
    pub async fn begin(&self, proof: &LoginSecrets, pick_account: bool) -> Result<Url, Arc<ProviderError>> {
        let provider = self.provider().await?;
        let client = self.client(&provider, provider.token_endpoint.clone());
        let verifier = PkceCodeVerifier::new(proof.pkce_verifier.clone());
        let mut request = client
            .authorize_url(|| CsrfToken::new(proof.state.clone()))
            // Graph's scope is asked for here, so that Conditional Access runs now and not when the code is redeemed.
            .add_scopes(["openid", "profile", "email"].map(|scope| Scope::new(scope.to_owned())))
            .add_scope(Scope::new(self.graph_scope("User.Read")))
            .add_extra_param("nonce", proof.nonce.clone())
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        if pick_account {
            request = request.add_extra_param("prompt", "select_account");
        }
        Ok(request.url().0)
    }

    /// Redeems the code that Entra sent with the browser and verifies the ID token that comes for it.
    pub async fn finish(&self, code: String, proof: &LoginSecrets) -> Result<SignedIn, SignInError> {
        let provider = self.provider().await?;
        let Choice { first, second, turned } = self.client_auth.choose(&provider.token_endpoint).await?;
        let redeem = |credential| self.redeem(&code, proof, &provider, credential);
        let outcome = redeem(&first).await;
        let response = self.client_auth.settle(turned, outcome, second.as_ref().map(redeem)).await?;
        let id_token = response.extra_fields().id_token.as_deref().ok_or(IdTokenError::Missing)?;
        let claims = self.verify(id_token, &proof.nonce, provider).await?;
        Ok(SignedIn {
            person: claims.person,
            access_token: response.access_token().secret().clone().into(),
            sid: claims.sid,
        })
    }

    async fn redeem(
        &self,
        code: &str,
        proof: &LoginSecrets,
        provider: &Provider,
        credential: &Credential,
    ) -> Result<TokenResponse, TokenError> {
        let client = authenticated(self.client(provider, provider.token_endpoint.clone()), credential);
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(proof.pkce_verifier.clone()));
        for (name, value) in credential.parameters() {
            request = request.add_extra_param(name, value);
        }
        self.counted(EntraCall::Code, request.request_async(&self.http)).await
    }

    /// A token that cannot be verified with the keys at hand may be signed with a newer one.
    async fn verify(
        &self,
        id_token: &str,
        nonce: &str,
        provider: Arc<Provider>,
    ) -> Result<id_token::Verified, SignInError> {
        let now = self.clock.now();
        match id_token::verify(id_token, nonce, &provider, &self.settings, now) {
            Err(Refused::Token(IdTokenError::UnknownKey)) => {
                // Whatever failed before: the keys at hand will not do.
                let oldest = self.refresh_keys(self.clock.moment());
                let provider = self.provider_if(|at| at >= oldest, Duration::ZERO).await?;
                Ok(id_token::verify(id_token, nonce, &provider, &self.settings, now)?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// How new the keys must be for a key to count as unknown. They may have been read a moment before Entra published
    /// the one that is looked for, so: as new as the token, but for the once a minute.
    fn refresh_keys(&self, now: Moment) -> Moment {
        let mut refreshed = self.keys_refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        match *refreshed {
            Some(at) if at.age(now) < KEY_REFRESH => at,
            _ => *refreshed.insert(now),
        }
    }

    /// What the app authenticates with; read anew where it is a file.
    pub async fn credentials(&self) -> Result<Credentials, CredentialError> {
        self.client_auth.look().await
    }

    /// Entra's page that ends the person's session there and then sends the browser to `back`, which has to be a
    /// registered redirect URI; `None` where Entra names no such page.
    pub async fn sign_out_url(&self, back: &Url) -> Result<Option<Url>, Arc<ProviderError>> {
        let provider = self.provider().await?;
        Ok(provider.end_session_endpoint.clone().map(|mut url| {
            url.query_pairs_mut().append_pair("post_logout_redirect_uri", back.as_str());
            url
        }))
    }

    /// Whether people can be sent to Entra and their tokens verified: its endpoints and keys are known.
    pub async fn ready(&self) -> Result<usize, Arc<ProviderError>> {
        self.provider().await.map(|provider| provider.keys.len())
    }

    /// Reads the endpoints and the keys anew, whatever is known: for `check`.
    pub async fn probe(&self) -> Result<(String, usize), Arc<ProviderError>> {
        let provider = self.provider_if(|_| false, Duration::ZERO).await?;
        Ok((provider.issuer.clone(), provider.keys.len()))
    }

    /// The tenant that the configuration names, once Entra has told its id; `None` for `organizations` and `common`.
    pub async fn home_tenant(&self) -> Result<Option<TenantId>, Arc<ProviderError>> {
        self.provider().await.map(|provider| provider.tenant)
    }

    async fn provider(&self) -> Result<Arc<Provider>, Arc<ProviderError>> {
        let now = self.clock.moment();
        let outcome = self.provider_if(|at| at.age(now) < PROVIDER_TTL, KEY_REFRESH).await;
        match outcome {
            Ok(provider) => Ok(provider),
            // Yesterday's keys are better than none: a token signed with a newer one is refused all the same.
            Err(error) => self.provider.last().await.ok_or(error),
        }
    }

    /// The last reading if it was made at a good moment, or a new one; none for `pause` after a failure, where there is an
    /// old one.
    async fn provider_if(
        &self,
        still_good: impl FnOnce(Moment) -> bool,
        pause: Duration,
    ) -> Result<Arc<Provider>, Arc<ProviderError>> {
        let read = async || {
            let reading = discovery::read(&self.http, &self.settings);
            let outcome = Step::EntraDiscovery.run(reading, ProviderError::code).await;
            let label = if outcome.is_ok() { EntraOutcome::Ok } else { EntraOutcome::Failed };
            self.metrics.entra_calls.add((EntraCall::Discovery, label));
            outcome.map(Arc::new).map_err(Arc::new)
        };
        self.provider.get(|at, _| still_good(at), pause, read).await
    }

    /// Counts a request for a token by how it ended.
    async fn counted<T, E: Into<TokenError>>(
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

    /// A scope of Graph in this cloud, such as `https://graph.microsoft.com/User.Read`.
    fn graph_scope(&self, name: &str) -> String {
        format!("{}/{name}", self.settings.graph_url.origin().ascii_serialization())
    }
}

impl From<Refused> for SignInError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Token(error) => error.into(),
            Refused::Tenant(identity) => Self::TenantNotAllowed(identity),
        }
    }
}

/// With a secret the library sends it; with an assertion there is none to send.
fn authenticated(client: OauthClient, credential: &Credential) -> OauthClient {
    match credential {
        Credential::Secret(secret) => client.set_client_secret(secret.clone()),
        Credential::Assertion(_) => client,
    }
}

impl LoginSecrets {
    /// A new one for each attempt. `state` carries a name by which the attempt's cookie is found again.
    #[must_use]
    pub fn new(attempt_id: &str, secret: impl Fn() -> String) -> Self {
        Self { state: format!("{attempt_id}.{}", secret()), nonce: secret(), pkce_verifier: secret() }
    }

    /// The name in a `state`, if it has the shape of one of ours.
    #[must_use]
    pub fn attempt_id(state: &str) -> Option<&str> {
        let (id, secret) = state.split_once('.')?;
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (id.len() == 12 && secret.len() == 43 && plain(id) && plain(secret)).then_some(id)
    }
}
