//! Accounts that Entra disabled or deleted, and those that are enabled again (rule 17).
//!
//! The circuit breaker does not hold these changes. They end no membership, a restore gives back exactly what was blocked,
//! and each one rests on an answer about this account, never on its absence from a list. So a mass of them costs users at
//! most the time until the next run, while a leaver's access must end within minutes.
//!
//! `access.admin_user_ids` and the last administrator are no exceptions: those guards protect memberships from mistakes of
//! the sync. A session that outlives a disabled account may be in the wrong hands, above all an administrator's.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::types::{Snapshot, StoredMemberships, TenantSnapshot};
use crate::audit::{AuditAction, AuditActor, AuditEvent, AuditResult, AuditTarget, AuditTargetKind};
use crate::domain::{Identity, ObjectId, Redacted, StoreKind, TenantId, UserRole};
use crate::entra_facts::{AccountState, MemberList, Members};
use crate::policy::Policy;

/// Maximum number of accounts per tenant and run that are read although the user has neither a session nor an operator
/// role. They may still have keys of LiteLLM. Each run takes another part of them: 20 requests to Graph.
const SAMPLE: usize = 400;

/// What the store knows of accounts, apart from memberships.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredAccounts {
    /// Users with a session.
    pub sessions: BTreeSet<Identity>,
    /// Users with an operator role.
    pub operators: BTreeSet<Identity>,
    /// Accounts that an earlier run disabled, by object ID.
    pub disabled: BTreeMap<ObjectId, DisabledAccount>,
    /// Privileges that the database user lacks to block users of a LiteLLM proxy.
    pub missing_privileges: Vec<String>,
}

/// An account that an earlier run disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct DisabledAccount {
    pub tenant_id: TenantId,
    pub cause: DisabledCause,
    /// The user's row gives access again, or could not be changed then.
    pub has_access: bool,
}

/// How Entra shows that the account cannot sign in.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DisabledCause {
    /// `accountEnabled` is false.
    Disabled,
    /// Among the deleted items: it can be restored for 30 days.
    SoftDeleted,
    /// Neither among the users nor among the deleted items.
    Deleted,
}

impl DisabledCause {
    /// Name in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An account to disable or to restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountChange {
    #[serde(flatten)]
    pub user: Identity,
    /// Display name.
    pub user_name: Option<String>,
    #[serde(flatten)]
    pub action: AccountAction,
}

/// What to do with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum AccountAction {
    /// End sessions, block the user in LiteLLM, and lower an operator role.
    Disable { cause: DisabledCause },
    /// Give back what was blocked.
    Restore,
}

/// What was written for one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountOutcome {
    pub user: Identity,
    /// Key of the user's row, if there is one.
    pub user_id: Option<Redacted>,
    pub action: AccountAction,
    /// Newly disabled, disabled for another cause, or restored. Otherwise only what gave access again was ended.
    pub is_news: bool,
    /// Number of sessions that ended.
    pub sessions: usize,
    /// The operator role that was lowered.
    pub role_before: Option<String>,
    /// Whether the user's row in a LiteLLM database was blocked or unblocked.
    pub blocked_changed: bool,
}

/// The accounts in a tenant that must be read one by one: of users with a session or an operator role, and of those that
/// were disabled before, unless a complete member list shows the state; and a part of all other users.
///
/// `sample` is a random number: it selects the part.
#[must_use]
pub fn accounts_to_check(
    stored: &StoredMemberships,
    accounts: &StoredAccounts,
    tenant: TenantId,
    snapshot: &Snapshot,
    sample: u64,
) -> BTreeSet<ObjectId> {
    let Some(facts) = snapshot.get(&tenant) else { return BTreeSet::new() };
    let mut listed: Vec<ObjectId> = complete(facts).flat_map(Members::as_slice).copied().collect();
    listed.sort_unstable();
    listed.dedup();
    let is_listed = |user: &ObjectId| listed.binary_search(user).is_ok();
    let in_tenant = |identity: &&Identity| identity.tenant_id == tenant;
    let active = accounts.sessions.iter().chain(&accounts.operators).filter(in_tenant);
    let before = accounts.disabled.iter().filter(|(_, account)| account.tenant_id == tenant).map(|(user, _)| *user);
    let mut to_check: BTreeSet<ObjectId> =
        active.map(|identity| identity.object_id).chain(before).filter(|user| !is_listed(user)).collect();
    // Lists are read one after the other, so the state may have changed between them.
    let disabled: BTreeSet<ObjectId> = complete(facts).flat_map(Members::disabled).copied().collect();
    to_check.extend(disabled.into_iter().filter(|user| complete(facts).any(|list| list.shows_enabled(*user))));
    let others = stored.users.values().map(|user| user.identity).filter(|identity| identity.tenant_id == tenant);
    let others: Vec<ObjectId> =
        others.map(|identity| identity.object_id).filter(|id| !is_listed(id) && !to_check.contains(id)).collect();
    let parts = others.len().div_ceil(SAMPLE).max(1);
    let part = usize::try_from(sample % parts as u64).unwrap_or_default();
    to_check.extend(others.into_iter().skip(part * SAMPLE).take(SAMPLE));
    to_check
}

/// Plans the account changes of all tenants, in the order of tenants and users. What is unknown changes nothing.
///
/// Only of users who have signed in.
#[must_use]
pub fn plan_accounts(snapshot: &Snapshot, stored: &StoredMemberships, accounts: &StoredAccounts) -> Vec<AccountChange> {
    let mut changes = Vec::new();
    for (tenant, facts) in snapshot {
        let known = |user: ObjectId| {
            let identity = Identity { tenant_id: *tenant, object_id: user };
            let in_store = stored.users.get(&user).is_some_and(|stored| stored.identity == identity);
            (in_store || accounts.sessions.contains(&identity)).then_some(identity)
        };
        let change = |user: Identity, action| {
            let user_name = stored.users.get(&user.object_id).and_then(|stored| stored.name.clone());
            AccountChange { user, user_name, action }
        };
        for (user, cause) in disabled_now(facts) {
            let Some(user) = known(user) else { continue };
            let before = accounts.disabled.get(&user.object_id).filter(|before| before.tenant_id == *tenant);
            let is_done = before.is_some_and(|before| before.cause == cause && !before.has_access);
            if !is_done || accounts.sessions.contains(&user) {
                changes.push(change(user, AccountAction::Disable { cause }));
            }
        }
        let before = accounts.disabled.iter().filter(|(_, account)| account.tenant_id == *tenant);
        let restored = before.filter(|(user, _)| is_enabled(facts, **user));
        changes.extend(
            restored.map(|(user, _)| change(Identity { tenant_id: *tenant, object_id: *user }, AccountAction::Restore)),
        );
    }
    changes
}

/// All accounts that are disabled or deleted, with the cause.
fn disabled_now(facts: &TenantSnapshot) -> BTreeMap<ObjectId, DisabledCause> {
    let listed = complete(facts).flat_map(Members::disabled).map(|user| (*user, DisabledCause::Disabled));
    let mut disabled: BTreeMap<ObjectId, DisabledCause> = listed.collect();
    // If lists disagree, the state that was read later decides. If that is unknown, so is the account.
    disabled.retain(|user, _| !complete(facts).any(|list| list.shows_enabled(*user)));
    for (user, state) in &facts.accounts {
        let cause = match state {
            AccountState::Disabled => DisabledCause::Disabled,
            AccountState::SoftDeleted => DisabledCause::SoftDeleted,
            AccountState::Deleted => DisabledCause::Deleted,
            AccountState::Enabled => {
                disabled.remove(user);
                continue;
            }
            AccountState::Unknown(_) => continue,
        };
        disabled.insert(*user, cause);
    }
    disabled
}

fn is_enabled(facts: &TenantSnapshot, user: ObjectId) -> bool {
    match facts.accounts.get(&user) {
        Some(AccountState::Enabled) => true,
        Some(AccountState::Disabled | AccountState::SoftDeleted | AccountState::Deleted) => false,
        Some(AccountState::Unknown(_)) | None => {
            complete(facts).any(|list| list.shows_enabled(user))
                && !complete(facts).any(|list| list.disabled().binary_search(&user).is_ok())
        }
    }
}

fn complete(facts: &TenantSnapshot) -> impl Iterator<Item = &Members> {
    facts.members.values().filter_map(|list| match list {
        MemberList::Complete(members) => Some(members),
        MemberList::Gone | MemberList::Unknown(_) => None,
    })
}

/// The role that an operator role is lowered to: the one of a user without an app role. An operator role comes back only
/// if Entra gives it at the user's next sign-in.
#[must_use]
pub fn lowered_role(policy: &Policy, store: StoreKind) -> UserRole {
    let default = policy.default_role();
    if default.is_operator() { UserRole::InternalUserViewer } else { default.in_row(store) }
}

/// The audit events of what was written. `read_after`: start of the run.
#[must_use]
pub fn account_events(
    run_id: Uuid,
    read_after: DateTime<Utc>,
    lowered: UserRole,
    outcomes: &[AccountOutcome],
) -> Vec<AuditEvent> {
    let mut events = Vec::new();
    for outcome in outcomes {
        let event = |action, kind| AuditEvent {
            actor: AuditActor::Job,
            run_id: Some(run_id),
            action,
            user_id: outcome.user_id.clone(),
            object_id: Some(outcome.user.object_id),
            target: AuditTarget { kind, id: None, name: None },
            cause: None,
            group: None,
            before: None,
            after: None,
            evidence: Some(json!({ "tenant_id": outcome.user.tenant_id, "read_after": read_after })),
            result: AuditResult::Applied,
        };
        let (action, cause) = match outcome.action {
            AccountAction::Disable { cause } => (AuditAction::AccountDisabled, Some(cause.as_str())),
            AccountAction::Restore => (AuditAction::AccountEnabled, None),
        };
        if outcome.is_news {
            events.push(AuditEvent { cause, ..event(action, AuditTargetKind::Account) });
        }
        if let Some(role) = &outcome.role_before {
            events.push(AuditEvent {
                cause: Some("account_disabled"),
                before: Some(json!(role)),
                after: Some(json!(lowered)),
                ..event(AuditAction::RoleChanged, AuditTargetKind::Account)
            });
        }
        if outcome.sessions > 0 {
            events.push(AuditEvent {
                cause: Some("account_disabled"),
                before: Some(json!({ "sessions": outcome.sessions })),
                ..event(AuditAction::SessionsRevoked, AuditTargetKind::Session)
            });
        }
    }
    events
}
