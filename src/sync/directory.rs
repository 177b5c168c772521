//! Reads what Entra says for one sign-in: the assigned groups and the person's own, in parallel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;

use crate::config;
use crate::domain::{Identity, TenantId};
use crate::graph::{Graph, GraphError, ServicePrincipal};
use crate::oidc::{AppTokenError, Entra, TokenError};
use crate::plan::{Directory, Groups, Reading, Unknown};
use crate::util::clock::{Clock, Moment};
use crate::util::sanitize::{chain, sanitize_for_log};
use crate::util::single_flight::SingleFlight;

/// How long a refusal is taken for an answer, at the longest.
const REFUSED_TTL: Duration = Duration::from_mins(1);

/// Reads directories; shares the assigned groups among all sign-ins for a while.
pub struct DirectoryReader {
    entra: Arc<Entra>,
    graph: Graph,
    clock: Clock,
    service_principal: Option<ServicePrincipal>,
    nested_groups: bool,
    ttl: Duration,
    assigned: Mutex<BTreeMap<TenantId, Arc<SingleFlight<AppOnly, Unknown>>>>,
}

/// Why the app itself could not read the assigned groups.
enum AsApp {
    Token(Arc<AppTokenError>),
    Graph(GraphError),
}

/// What came of asking for the assigned groups as the app itself.
#[derive(Clone)]
enum AppOnly {
    Groups(Groups),
    /// Entra or Graph does not let the app: perhaps it lets the person.
    Refused(Unknown),
}

/// The enterprise app whose assignments count, if one is configured. Where several tenants may sign in, the app has an
/// object of its own in each, so it is found by the client id there; the configured id only says that it shall be.
#[must_use]
pub fn service_principal(entra: &config::Entra) -> Option<ServicePrincipal> {
    let object_id = entra.service_principal_id.clone()?;
    let several = entra.allowed_tenants.len() > 1;
    Some(if several { ServicePrincipal::AppId(entra.client_id.clone()) } else { ServicePrincipal::ObjectId(object_id) })
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

    /// Reads both lists for a person whose Graph token is `token`. What cannot be read is unknown, with the reason.
    pub async fn read(&self, identity: Identity, token: &SecretString) -> Directory {
        let (assigned, member_of) =
            tokio::join!(self.assigned(identity.tenant_id, token), self.graph.member_of(token, self.nested_groups));
        Directory { assigned, member_of: reading(member_of.map_err(|error| unknown(&error))) }
    }

    /// The groups assigned to the app: shared by all sign-ins if the app could read them, else read with the user's own
    /// (delegated) token for this sign-in alone. That the app was refused is shared, so that it is not tried each time.
    async fn assigned(&self, tenant: TenantId, token: &SecretString) -> Option<Reading> {
        let service_principal = self.service_principal.as_ref()?;
        let shared = self.shared(tenant);
        let now = self.clock.moment();
        let read = async || self.assigned_as_app(tenant, service_principal).await;
        let still_good = |at: Moment, value: &AppOnly| match value {
            AppOnly::Groups(_) => at.age(now) < self.ttl,
            // An administrator may be mending just this.
            AppOnly::Refused(_) => at.age(now) < self.ttl.min(REFUSED_TTL),
        };
        let outcome = match shared.get(still_good, Duration::ZERO, read).await {
            Ok(AppOnly::Groups(groups)) => Ok(groups),
            Ok(AppOnly::Refused(as_app)) => match self.graph.assigned_groups(token, service_principal).await {
                // What the user may see is for this sign-in alone: another user's token might show less.
                Ok(groups) => Ok(groups),
                Err(error) => {
                    let as_person = unknown(&error);
                    Err(Unknown {
                        message: format!("as the app: {}; as the person: {}", as_app.message, as_person.message),
                        code: as_person.code,
                    })
                }
            },
            Err(unknown) => Err(unknown),
        };
        Some(reading(outcome))
    }

    async fn assigned_as_app(
        &self,
        tenant: TenantId,
        service_principal: &ServicePrincipal,
    ) -> Result<AppOnly, Unknown> {
        let first = self.assigned_with_app_token(tenant, service_principal).await;
        match first {
            // The token may have been revoked, and it knows of no permission that was granted after it was issued.
            Err(AsApp::Graph(error)) if error.is_refusal() => {
                self.entra.forget_app_token(tenant);
                self.assigned_with_app_token(tenant, service_principal).await
            }
            outcome => outcome,
        }
        .map(AppOnly::Groups)
        .or_else(|error| match error {
            AsApp::Graph(error) if error.is_refusal() => Ok(AppOnly::Refused(unknown(&error))),
            AsApp::Graph(error) => Err(unknown(&error)),
            AsApp::Token(error) if refuses(&error) => Ok(AppOnly::Refused(no_token(&error))),
            AsApp::Token(error) => Err(no_token(&error)),
        })
    }

    async fn assigned_with_app_token(
        &self,
        tenant: TenantId,
        service_principal: &ServicePrincipal,
    ) -> Result<Groups, AsApp> {
        let token = self.entra.app_token(tenant).await.map_err(AsApp::Token)?;
        self.graph.assigned_groups(&token, service_principal).await.map_err(AsApp::Graph)
    }

    fn shared(&self, tenant: TenantId) -> Arc<SingleFlight<AppOnly, Unknown>> {
        let mut all = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(tenant).or_insert_with(|| Arc::new(SingleFlight::new(self.clock.clone()))).clone()
    }
}

/// Whether Entra means the app, and not this moment.
fn refuses(error: &AppTokenError) -> bool {
    match error {
        AppTokenError::Token(TokenError::Refused { error, .. }) => {
            !matches!(error.as_str(), "temporarily_unavailable" | "server_error")
        }
        _ => false,
    }
}

/// Logged here, once, with Entra's own words.
fn no_token(error: &AppTokenError) -> Unknown {
    let description = match error {
        AppTokenError::Token(TokenError::Refused { description, .. }) => description.as_deref().map(sanitize_for_log),
        _ => None,
    };
    tracing::warn!(description, "no token for the app itself: {}", chain(error));
    Unknown { code: "app_token".to_owned(), message: error.to_string() }
}

fn reading(outcome: Result<Groups, Unknown>) -> Reading {
    outcome.map_or_else(Reading::Unknown, Reading::Known)
}

/// Logged here, once: to the sync an unknown list is no error but a state.
fn unknown(error: &GraphError) -> Unknown {
    tracing::warn!(code = error.code(), request_id = error.request_id(), "a list of groups is unknown: {error}");
    Unknown { code: error.code().to_owned(), message: error.to_string() }
}
