//! Reads what Entra says for one sign-in: the assigned groups and the person's own, in parallel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use secrecy::SecretString;

use crate::clock::Clock;
use crate::config;
use crate::domain::{Identity, TenantId};
use crate::entra::{AppTokenError, Entra, TokenError};
use crate::graph::{Graph, GraphError};
use crate::plan::{Directory, Groups, Reading, Unknown};
use crate::shared::Shared;

/// Reads directories; shares the assigned groups among all sign-ins for a while.
pub struct DirectoryReader {
    entra: Arc<Entra>,
    graph: Graph,
    clock: Clock,
    service_principal_id: Option<String>,
    nested_groups: bool,
    ttl: TimeDelta,
    assigned: Mutex<BTreeMap<TenantId, Arc<Shared<AppOnly, Unknown>>>>,
}

/// What came of asking for the assigned groups as the app itself.
#[derive(Clone)]
enum AppOnly {
    Groups(Groups),
    /// Entra or Graph does not let the app: perhaps it lets the person.
    Refused(Unknown),
}

impl DirectoryReader {
    #[must_use]
    pub fn new(
        entra: Arc<Entra>,
        graph: Graph,
        clock: Clock,
        service_principal_id: Option<String>,
        sync: &config::Sync,
    ) -> Self {
        let ttl = TimeDelta::from_std(sync.assigned_groups_ttl).unwrap_or(TimeDelta::MAX);
        let nested_groups = sync.nested_groups;
        Self { entra, graph, clock, service_principal_id, nested_groups, ttl, assigned: Mutex::default() }
    }

    /// Reads both lists for a person whose Graph token is `token`. What cannot be read is unknown, with the reason.
    pub async fn read(&self, identity: Identity, token: &SecretString) -> Directory {
        let (assigned, member_of) =
            tokio::join!(self.assigned(identity.tenant_id, token), self.graph.member_of(token, self.nested_groups));
        Directory { assigned, member_of: reading(member_of.map_err(|error| unknown(&error))) }
    }

    /// The groups assigned to the app: shared if the app could read them, else with the person's own token.
    async fn assigned(&self, tenant: TenantId, token: &SecretString) -> Option<Reading> {
        let service_principal = self.service_principal_id.as_deref()?;
        let shared = self.shared(tenant);
        let now = self.clock.now();
        let read = async || self.assigned_as_app(tenant, service_principal).await;
        let outcome = match shared.get(|at, _| at + self.ttl > now, read).await {
            Ok(AppOnly::Groups(groups)) => Ok(groups),
            Ok(AppOnly::Refused(as_app)) => match self.graph.assigned_groups(token, service_principal).await {
                Ok(groups) => {
                    shared.put(AppOnly::Groups(groups.clone())).await;
                    Ok(groups)
                }
                Err(error) => {
                    let as_person = unknown(&error);
                    Err(Unknown {
                        said: format!("as the app: {}; as the person: {}", as_app.said, as_person.said),
                        code: as_person.code,
                    })
                }
            },
            Err(unknown) => Err(unknown),
        };
        Some(reading(outcome))
    }

    async fn assigned_as_app(&self, tenant: TenantId, service_principal: &str) -> Result<AppOnly, Unknown> {
        let token = match self.entra.app_token(tenant).await {
            Ok(token) => token,
            Err(error) => {
                let unknown = Unknown { code: "app_token".to_owned(), said: error.to_string() };
                tracing::warn!(%error, "no token for the app itself");
                return if refuses(&error) { Ok(AppOnly::Refused(unknown)) } else { Err(unknown) };
            }
        };
        match self.graph.assigned_groups(&token, service_principal).await {
            Ok(groups) => Ok(AppOnly::Groups(groups)),
            Err(error) if error.is_refusal() => {
                self.entra.forget_app_token(tenant);
                Ok(AppOnly::Refused(unknown(&error)))
            }
            Err(error) => Err(unknown(&error)),
        }
    }

    fn shared(&self, tenant: TenantId) -> Arc<Shared<AppOnly, Unknown>> {
        let mut all = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(tenant).or_insert_with(|| Arc::new(Shared::new(self.clock.clone()))).clone()
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

fn reading(outcome: Result<Groups, Unknown>) -> Reading {
    outcome.map_or_else(Reading::Unknown, Reading::Known)
}

/// Logged here, once: to the sync an unknown list is no error but a state.
fn unknown(error: &GraphError) -> Unknown {
    tracing::warn!(code = error.code(), request_id = error.request_id(), "a list of groups is unknown: {error}");
    Unknown { code: error.code().to_owned(), said: error.to_string() }
}
