//! What decides whether a plan's removals are applied or held: limits, settings, approvals.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Limits, PlanHash};
use crate::domain::{StoreKind, TenantId};
use crate::policy::{KeysOnRemoval, MembershipSync};

/// Input of the circuit breaker. The default has the default limits, accepted settings, and no approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gate {
    pub limits: Limits,
    pub settings: SettingsState,
    /// Memberships that runs removed in the last 24 hours without an approval.
    pub removed_last_day: usize,
    /// Plans that an operator approved.
    pub approved: BTreeSet<PlanHash>,
    /// No limit holds a plan with at most this many removals: `--max-removals`, for one run.
    pub max_removals: Option<usize>,
}

/// Whether a run has accepted the settings that decide about removals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingsState {
    #[default]
    Accepted,
    /// No run has accepted any settings yet.
    First,
    /// The last run that accepted settings had other ones.
    Changed,
}

impl SettingsState {
    /// `accepted`: the hash that the last run accepted, if any. `current`: [`RemovalSettings::hash`].
    #[must_use]
    pub fn of(accepted: Option<&str>, current: &str) -> Self {
        match accepted {
            None => Self::First,
            Some(accepted) if accepted == current => Self::Accepted,
            Some(_) => Self::Changed,
        }
    }
}

/// Grows with each version of the program that removes memberships by other rules, so that the first run of such a version
/// holds what it would remove.
const RULES_VERSION: u32 = 1;

/// Settings that decide which memberships are removed.
#[derive(Clone, Copy, Debug)]
pub struct RemovalSettings<'a> {
    /// Tenants whose users can sign in.
    pub tenants: &'a BTreeSet<TenantId>,
    pub client_id: &'a str,
    pub service_principal_id: Option<&'a str>,
    pub memberships: MembershipSync,
    pub nested_groups: bool,
    pub store: StoreKind,
    pub keys_on_removal: KeysOnRemoval,
}

impl RemovalSettings<'_> {
    /// A hash that changes only with a setting or with the rules of removal: 64 hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        let memberships = match self.memberships {
            MembershipSync::Follow => "follow",
            MembershipSync::Additive => "additive",
        };
        let store = match self.store {
            StoreKind::Native => "native",
            StoreKind::LiteLlm => "litellm",
        };
        let keys: &str = self.keys_on_removal.into();
        let tenants: Vec<String> = self.tenants.iter().map(ToString::to_string).collect();
        // A JSON array, so that no value can run into the next one.
        let settings = serde_json::json!([
            RULES_VERSION,
            tenants,
            self.client_id,
            self.service_principal_id,
            memberships,
            self.nested_groups,
            store,
            keys,
        ]);
        hex(&Sha256::digest(settings.to_string()))
    }
}

/// Lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
