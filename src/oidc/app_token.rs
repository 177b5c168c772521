//! App-only tokens by client credentials (RFC 6749 4.4), one for each tenant whose directory is read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oauth2::{Scope, TokenResponse as _};
use secrecy::SecretString;
use url::Url;

use super::client_auth::{Credential, CredentialChoice};
use super::discovery::{Provider, base};
use super::error::{AppTokenError, TokenError};
use super::{Entra, authenticated};
use crate::domain::TenantId;
use crate::observability::metrics::EntraCall;
use crate::util::clock::Moment;
use crate::util::single_flight::SingleFlight;

/// A token is replaced this long before it expires.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);
/// Maximum lifetime of a cached token. Entra's tokens usually live for about an hour.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// Cached tokens by tenant.
pub(super) type AppTokens = Mutex<BTreeMap<TenantId, Arc<SingleFlight<AppToken, Arc<AppTokenError>>>>>;

#[derive(Clone)]
pub(super) struct AppToken {
    token: SecretString,
    /// On the monotonic clock, because Entra sends a lifetime (`expires_in`, RFC 6749 5.1) and no date.
    expires_at: Moment,
}

impl Entra {
    /// An app-only token from the tenant whose directory is to be read.
    pub async fn app_token(&self, tenant: TenantId) -> Result<SecretString, Arc<AppTokenError>> {
        let tokens = {
            let mut all = self.app_tokens.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(tenant).or_insert_with(|| Arc::new(SingleFlight::new(self.clock.clone()))).clone()
        };
        let now = self.clock.moment();
        let is_fresh = |_, token: &AppToken| token.expires_at > now.after(EXPIRY_MARGIN);
        let request = async || self.request_app_token(tenant).await.map_err(Arc::new);
        let token = tokens.get(is_fresh, Duration::ZERO, request).await?;
        Ok(token.token)
    }

    /// Discards the tenant's app-only token, after Graph denied it.
    pub fn discard_app_token(&self, tenant: TenantId) {
        self.app_tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
    }

    async fn request_app_token(&self, tenant: TenantId) -> Result<AppToken, AppTokenError> {
        let provider = self.provider().await?;
        let endpoint = self.token_endpoint(tenant)?;
        let CredentialChoice { first, fallback, swapped } = self.client_auth.choose(&endpoint).await?;
        let request = |credential| self.app_token_for(credential, &provider, &endpoint);
        let outcome = request(&first).await;
        Ok(self.client_auth.or_fallback(swapped, outcome, fallback.as_ref().map(request)).await?)
    }

    async fn app_token_for(
        &self,
        credential: &Credential,
        provider: &Provider,
        endpoint: &Url,
    ) -> Result<AppToken, TokenError> {
        let client = authenticated(self.client(provider, endpoint.clone()), credential);
        let mut request = client.exchange_client_credentials().add_scope(Scope::new(self.graph_scope(".default")));
        for (name, value) in credential.parameters() {
            request = request.add_extra_param(name, value);
        }
        let response = self.record(EntraCall::AppToken, request.request_async(&self.http)).await?;
        let lifetime = response.expires_in().unwrap_or_default().min(MAX_LIFETIME);
        Ok(AppToken {
            token: response.access_token().secret().clone().into(),
            expires_at: self.clock.moment().after(lifetime),
        })
    }

    fn token_endpoint(&self, tenant: TenantId) -> Result<Url, AppTokenError> {
        let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", base(&self.settings.authority_url));
        Url::parse(&endpoint).map_err(|_| AppTokenError::Endpoint)
    }

    /// Tests both client secrets, for `check`. Returns those that Entra rejects, with their index: at sign-ins the other
    /// secret hides the failure.
    pub async fn rejected_secrets(&self, tenant: TenantId) -> Result<Vec<(usize, TokenError)>, AppTokenError> {
        let provider = self.provider().await?;
        let endpoint = self.token_endpoint(tenant)?;
        let mut rejected = Vec::new();
        for (index, secret) in self.client_auth.two_secrets().iter().flatten().enumerate() {
            match self.app_token_for(secret, &provider, &endpoint).await {
                Err(error) if error.rejects_app() => rejected.push((index, error)),
                _ => {}
            }
        }
        Ok(rejected)
    }
}
