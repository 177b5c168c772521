//! Applies the account changes of a plan: a disabled account loses its access, a restored one gets it back.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::{AccountRun, AppliedAccounts, Db, DbError, Lease};
use crate::domain::Redacted;
use crate::litellm_cache::LiteLlmCache;
use crate::observability::metrics;
use crate::policy::Policy;
use crate::reconciliation::{AccountAction, AccountChange, AccountOutcome, lowered_role};
use crate::util::sanitize::error_chain;

/// Maximum number of accounts in one transaction, which holds a lock for each.
const MAX_ACCOUNTS: usize = 100;

/// What a run changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppliedAccountChanges {
    pub disabled: usize,
    pub restored: usize,
    /// Users who signed in meanwhile, whose account was restored meanwhile, or who cannot be unblocked without privileges.
    pub skipped: usize,
    pub sessions_ended: usize,
}

/// Applies account changes for one run.
#[derive(Clone, Copy, Debug)]
pub struct AccountReconciler<'a> {
    pub db: &'a Db,
    pub cache: Option<&'a LiteLlmCache>,
    pub policy: &'a Policy,
    pub lease: Lease,
    pub run_id: Uuid,
    /// Before the first read from Entra.
    pub started_at: DateTime<Utc>,
}

impl AccountReconciler<'_> {
    /// Applies the changes in short transactions and evicts the users from the caches of LiteLLM proxies.
    ///
    /// Fails with [`DbError::LeaseLost`] if another replica took over. Applied changes stay: the next run continues.
    pub async fn apply(&self, changes: &[AccountChange], now: DateTime<Utc>) -> Result<AppliedAccountChanges, DbError> {
        let lowered_role = lowered_role(self.policy, self.db.kind());
        let run = AccountRun { run_id: self.run_id, started_at: self.started_at, now, lowered_role };
        let mut total = AppliedAccountChanges::default();
        for changes in changes.chunks(MAX_ACCOUNTS) {
            let applied = self.db.apply_account_changes(self.lease, &run, changes).await?;
            self.evict(&applied.outcomes).await;
            self.record(&applied, &mut total);
        }
        Ok(total)
    }

    fn record(&self, applied: &AppliedAccounts, total: &mut AppliedAccountChanges) {
        for outcome in &applied.outcomes {
            let object_id = outcome.user.object_id;
            total.sessions_ended += outcome.sessions;
            match outcome.action {
                AccountAction::Disable { cause } => {
                    total.disabled += 1;
                    tracing::info!(%object_id, %cause, sessions = outcome.sessions, "account disabled");
                }
                AccountAction::Restore => {
                    total.restored += 1;
                    tracing::info!(%object_id, "account restored");
                }
            }
        }
        total.skipped += applied.skipped.len();
        let counter = &self.db.metrics().accounts;
        let disabled = applied.outcomes.iter().filter(|outcome| outcome.action != AccountAction::Restore).count();
        counter.add_many(metrics::AccountAction::Disabled, disabled);
        counter.add_many(metrics::AccountAction::Restored, applied.outcomes.len() - disabled);
        counter.add_many(metrics::AccountAction::Skipped, applied.skipped.len());
    }

    /// A failure is only logged, because the entries expire within a minute.
    async fn evict(&self, outcomes: &[AccountOutcome]) {
        let Some(cache) = self.cache else { return };
        if let Err(error) = cache.evict(&evicted(outcomes)).await {
            let error = error_chain(&error);
            tracing::warn!(error, "failed to evict LiteLLM caches; proxies see the change within 60 s");
        }
    }
}

/// Cache keys of changed users: a proxy caches a user under the ID that it looked up.
fn evicted(outcomes: &[AccountOutcome]) -> BTreeSet<String> {
    let changed = outcomes.iter().filter(|outcome| outcome.blocked_changed || outcome.role_before.is_some());
    let ids = changed.flat_map(|outcome| {
        let user_id = outcome.user_id.as_ref().map(Redacted::as_str).map(str::to_owned);
        user_id.into_iter().chain([outcome.user.object_id.to_string()])
    });
    ids.collect()
}
