//! Reads what decides whether removals are applied or held.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::db::{Db, DbError};
use crate::domain::TenantId;
use crate::reconciliation::{Gate, RemovalSettings, SettingsState};

/// The gate at `now`. `tenants`: the configured ones. Without `max_removals`.
pub async fn read_gate(
    config: &Config,
    db: &Db,
    tenants: &BTreeSet<TenantId>,
    now: DateTime<Utc>,
) -> Result<Gate, DbError> {
    let accepted = db.accepted_settings().await?;
    Ok(Gate {
        limits: config.sync.removal_limits,
        settings: SettingsState::of(accepted.as_deref(), &removal_settings(config, tenants)),
        removed_last_day: db.removed_in_last_day(now).await?,
        approved: db.approved_plans(now).await?,
        max_removals: None,
    })
}

/// The hash of the settings that decide about removals, for [`Db::accept_settings`].
#[must_use]
pub fn removal_settings(config: &Config, tenants: &BTreeSet<TenantId>) -> String {
    let settings = RemovalSettings {
        tenants,
        client_id: &config.entra.client_id,
        service_principal_id: config.entra.service_principal_id.as_deref(),
        memberships: config.policy.memberships,
        nested_groups: config.sync.nested_groups,
        store: config.store,
        keys_on_removal: config.policy.keys_on_removal,
    };
    settings.hash()
}
