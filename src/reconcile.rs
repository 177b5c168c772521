//! Reconciliation: reads Entra app-only for all managed memberships, compares, and removes those that Entra no longer gives.

mod run;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;

use crate::config::{self, Config};
use crate::db::{Db, DbError};
use crate::domain::TenantId;
use crate::graph::{Graph, GraphError, RUN_BUDGET, ServicePrincipal};
use crate::oidc::{AppTokenError, Entra, ProviderError};
use crate::plan::{GroupList, Groups, Unknown};
use crate::reconciliation::{
    Limits, Reconciler, ReconciliationPlan, ServicePrincipalState, Snapshot, StoredMemberships, TenantSnapshot,
    accounts_to_read, groups_to_read,
};
use crate::sync::{configured_tenants, service_principal};
use crate::util::sanitize::error_chain;

pub use run::{Reconciliation, RunError};

/// Why there is no plan. What could not be read of a group is part of the plan instead.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("failed to read the managed memberships")]
    Db(#[from] DbError),
    /// The tenant's ID is unknown.
    #[error("failed to read Entra's discovery document")]
    Entra(#[source] Arc<ProviderError>),
}

/// What is compared.
struct Facts {
    stored: StoredMemberships,
    snapshot: Snapshot,
}

/// Plans the removal of managed memberships that Entra no longer gives. Writes nothing.
pub async fn plan(
    config: &Config,
    db: &Db,
    entra: &Entra,
    graph: &Graph,
) -> Result<ReconciliationPlan, ReconcileError> {
    let Facts { stored, snapshot } = read(config, db, entra, graph).await?;
    let policy = &config.policy;
    Ok(Reconciler { snapshot: &snapshot, stored: &stored, policy, limits: Limits::default() }.plan())
}

/// Reads the managed memberships, then Entra.
async fn read(config: &Config, db: &Db, entra: &Entra, graph: &Graph) -> Result<Facts, ReconcileError> {
    let stored = db.managed_memberships(config.policy.keys_on_removal).await?;
    let tenants = configured_tenants(&config.entra, entra).await.map_err(ReconcileError::Entra)?;
    let reader = Reader { entra, graph, settings: &config.entra, nested: config.sync.nested_groups };
    let mut snapshot = Snapshot::new();
    for tenant in tenants {
        reader.read(&mut snapshot, &stored, tenant).await;
    }
    Ok(Facts { stored, snapshot })
}

struct Reader<'a> {
    entra: &'a Entra,
    graph: &'a Graph,
    settings: &'a config::Entra,
    nested: bool,
}

impl Reader<'_> {
    /// Adds one tenant's facts: only of groups and accounts on which a managed membership depends.
    async fn read(&self, snapshot: &mut Snapshot, stored: &StoredMemberships, tenant: TenantId) {
        let token = match self.entra.app_token(tenant).await {
            Ok(token) => token,
            Err(error) => {
                snapshot.insert(tenant, without_groups(ServicePrincipalState::NoToken(no_token(&error))));
                return;
            }
        };
        let client_id = &self.settings.client_id;
        let mut facts = self.assignments(&token).await;
        let groups = groups_to_read(stored, client_id, tenant, &facts);
        let (members, states) = tokio::join!(
            self.graph.group_members(&token, &groups.members, self.nested, RUN_BUDGET),
            self.graph.group_states(&token, &groups.states, RUN_BUDGET),
        );
        facts.members = members;
        facts.groups = states;
        snapshot.insert(tenant, facts);
        let accounts = accounts_to_read(stored, client_id, tenant, snapshot);
        let accounts = self.graph.account_states(&token, &accounts, RUN_BUDGET).await;
        if let Some(facts) = snapshot.get_mut(&tenant) {
            facts.accounts = accounts;
        }
    }

    /// The service principal and the groups that are assigned to it.
    async fn assignments(&self, token: &SecretString) -> TenantSnapshot {
        let Some(principal) = service_principal(self.settings) else {
            return without_groups(ServicePrincipalState::NotConfigured);
        };
        match self.graph.service_principal_exists(token, &principal).await {
            Ok(true) => {}
            Ok(false) => return without_groups(ServicePrincipalState::Missing),
            Err(error) => return without_groups(ServicePrincipalState::Unknown((&error).into())),
        }
        let assigned = self
            .assigned(token, &principal)
            .await
            .map_or_else(|error| GroupList::Unknown((&error).into()), GroupList::Known);
        TenantSnapshot { assigned, ..without_groups(ServicePrincipalState::Exists) }
    }

    async fn assigned(&self, token: &SecretString, principal: &ServicePrincipal) -> Result<Groups, GraphError> {
        self.graph.assigned_groups(token, principal).await
    }
}

fn without_groups(service_principal: ServicePrincipalState) -> TenantSnapshot {
    TenantSnapshot {
        service_principal,
        assigned: GroupList::Known(Groups::new()),
        groups: BTreeMap::new(),
        members: BTreeMap::new(),
        accounts: BTreeMap::new(),
    }
}

fn no_token(error: &AppTokenError) -> Unknown {
    Unknown { code: "app_token".to_owned(), message: error_chain(error) }
}
