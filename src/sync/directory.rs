//! Reads the directory snapshot for one sign-in: the assigned groups and the user's groups, in parallel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;

use crate::config;
use crate::domain::{Identity, TenantId};
use crate::graph::{Graph, GraphError, ServicePrincipal};
use crate::oidc::{AppTokenError, Entra, ProviderError, TokenError};
use crate::plan::{Directory, GroupList, Groups, Unknown};
use crate::util::clock::{Clock, Moment};
use crate::util::sanitize::{error_chain, sanitize_for_log};
use crate::util::single_flight::SingleFlight;

/// Maximum time that a denial of the app's own access is cached. Short, because an administrator may be fixing it.
const DENIAL_TTL: Duration = Duration::from_mins(1);

/// Reads directory snapshots. Sign-ins share the cached list of assigned groups.
pub struct DirectoryReader {
    entra: Arc<Entra>,
    graph: Graph,
    clock: Clock,
    service_principal: Option<ServicePrincipal>,
    nested_groups: bool,
    ttl: Duration,
    assigned: Mutex<BTreeMap<TenantId, Arc<SingleFlight<AppOnly, Unknown>>>>,
}

/// Why reading the assigned groups with the app-only token failed.
enum AppOnlyError {
    Token(Arc<AppTokenError>),
    Graph(GraphError),
}

/// Result of reading the assigned groups with the app-only token.
#[derive(Clone)]
enum AppOnly {
    Groups(Groups),
    /// Entra or Graph denied the app. The user's delegated token may have access.
    Denied(Unknown),
}

/// The service principal whose assignments count, if one is configured. With several tenants, each has its own object for
/// the app, so it is addressed by client ID, and the configured object ID only enables the feature.
#[must_use]
pub fn service_principal(entra: &config::Entra) -> Option<ServicePrincipal> {
    let object_id = entra.service_principal_id.clone()?;
    let several_tenants = entra.allowed_tenants.len() > 1;
    Some(if several_tenants {
        ServicePrincipal::AppId(entra.client_id.clone())
    } else {
        ServicePrincipal::ObjectId(object_id)
    })
}

/// The tenants whose users may sign in. Reads the ID of a tenant that is configured by its domain.
pub async fn configured_tenants(
    settings: &config::Entra,
    entra: &Entra,
) -> Result<BTreeSet<TenantId>, Arc<ProviderError>> {
    match settings.tenant {
        config::Tenant::Organizations | config::Tenant::Common => Ok(settings.allowed_tenants.clone()),
        config::Tenant::Id(_) | config::Tenant::Domain(_) => Ok(entra.home_tenant().await?.into_iter().collect()),
    }
}

impl DirectoryReader {
    #[must_use]
    pub fn new(
        entra: Arc<Entra>,
        graph: Graph,
        clock: Clock,
        service_principal: Option<ServicePrincipal>,
        sync: &config::Sync,
    ) -> Self {
        let (ttl, nested_groups) = (sync.assigned_groups_ttl, sync.nested_groups);
        Self { entra, graph, clock, service_principal, nested_groups, ttl, assigned: Mutex::default() }
    }

    /// Reads both lists. `token` is the user's delegated Graph token. A list that cannot be read is `Unknown`, with the
    /// reason.
    pub async fn read(&self, identity: Identity, token: &SecretString) -> Directory {
        let (assigned, member_of) =
            tokio::join!(self.assigned(identity.tenant_id, token), self.graph.member_of(token, self.nested_groups));
        Directory { assigned, member_of: to_reading(member_of.map_err(|error| unknown(&error))) }
    }

    /// The groups assigned to the app. Shared by all sign-ins if the app could read them; else read with the user's
    /// delegated token, for this sign-in only. The denial is shared too, so that not each sign-in tries again.
    async fn assigned(&self, tenant: TenantId, token: &SecretString) -> Option<GroupList> {
        let service_principal = self.service_principal.as_ref()?;
        let shared = self.shared(tenant);
        let now = self.clock.moment();
        let read = async || self.assigned_as_app(tenant, service_principal).await;
        let is_fresh = |at: Moment, value: &AppOnly| match value {
            AppOnly::Groups(_) => at.age(now) < self.ttl,
            AppOnly::Denied(_) => at.age(now) < self.ttl.min(DENIAL_TTL),
        };
        let outcome = match shared.get(is_fresh, Duration::ZERO, read).await {
            Ok(AppOnly::Groups(groups)) => Ok(groups),
            Ok(AppOnly::Denied(as_app)) => match self.graph.assigned_groups(token, service_principal).await {
                // Not shared: another user's token may show fewer groups.
                Ok(groups) => Ok(groups),
                Err(error) => {
                    let as_user = unknown(&error);
                    Err(Unknown {
                        message: format!("as the app: {}; as the user: {}", as_app.message, as_user.message),
                        code: as_user.code,
                    })
                }
            },
            Err(unknown) => Err(unknown),
        };
        Some(to_reading(outcome))
    }

    async fn assigned_as_app(
        &self,
        tenant: TenantId,
        service_principal: &ServicePrincipal,
    ) -> Result<AppOnly, Unknown> {
        let first = self.assigned_with_app_token(tenant, service_principal).await;
        match first {
            // A new token helps if the old one was revoked, or was issued before a permission was granted.
            Err(AppOnlyError::Graph(error)) if error.is_denied() => {
                self.entra.discard_app_token(tenant);
                self.assigned_with_app_token(tenant, service_principal).await
            }
            outcome => outcome,
        }
        .map(AppOnly::Groups)
        .or_else(|error| match error {
            AppOnlyError::Graph(error) if error.is_denied() => Ok(AppOnly::Denied(unknown(&error))),
            AppOnlyError::Graph(error) => Err(unknown(&error)),
            AppOnlyError::Token(error) if is_denied(&error) => Ok(AppOnly::Denied(no_token(&error))),
            AppOnlyError::Token(error) => Err(no_token(&error)),
        })
    }

    async fn assigned_with_app_token(
        &self,
        tenant: TenantId,
        service_principal: &ServicePrincipal,
    ) -> Result<Groups, AppOnlyError> {
        let token = self.entra.app_token(tenant).await.map_err(AppOnlyError::Token)?;
        self.graph.assigned_groups(&token, service_principal).await.map_err(AppOnlyError::Graph)
    }

    fn shared(&self, tenant: TenantId) -> Arc<SingleFlight<AppOnly, Unknown>> {
        let mut all = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(tenant).or_insert_with(|| Arc::new(SingleFlight::new(self.clock.clone()))).clone()
    }
}

/// Whether Entra denies the app a token, as opposed to a temporary failure.
fn is_denied(error: &AppTokenError) -> bool {
    match error {
        AppTokenError::Token(TokenError::Refused { error, .. }) => {
            !matches!(error.as_str(), "temporarily_unavailable" | "server_error")
        }
        _ => false,
    }
}

/// Logs a failed app-only token request, with Entra's description.
fn no_token(error: &AppTokenError) -> Unknown {
    let description = match error {
        AppTokenError::Token(TokenError::Refused { description, .. }) => description.as_deref().map(sanitize_for_log),
        _ => None,
    };
    tracing::warn!(error = error_chain(error), description, "failed to get an app-only token");
    Unknown { code: "app_token".to_owned(), message: error.to_string() }
}

fn to_reading(outcome: Result<Groups, Unknown>) -> GroupList {
    outcome.map_or_else(GroupList::Unknown, GroupList::Known)
}

/// Logs a failed read. For the sync, an unknown list is a state and not an error.
fn unknown(error: &GraphError) -> Unknown {
    tracing::warn!(code = error.code(), request_id = error.request_id(), %error, "failed to read a list of groups");
    error.into()
}
