//! A reconciliation run: takes the lease, reads and plans, stores the plan, applies what no limit holds, and records how it
//! ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{AccountReconciler, ReconcileError, read};
use crate::config::Config;
use crate::db::{ApplyingRun, Db, DbError, FinishedRun, LEASE_DURATION, Lease, RemovedMembers, RunStatus, RunTrigger};
use crate::domain::{EntraUser, GroupId};
use crate::graph::Graph;
use crate::litellm_cache::{self, LiteLlmCache};
use crate::notifications::Notifier;
use crate::observability::metrics::{GroupKind, Metrics};
use crate::oidc::Entra;
use crate::plan::{GroupList, PlanScope, Planner};
use crate::policy::MembershipSync;
use crate::reconciliation::{
    Addition, PlanHash, Reconciler, ReconciliationPlan, ServicePrincipalState, Snapshot, Target, directory_of,
};
use crate::sync::evict;
use crate::util::clock::Clock;
use crate::util::random;
use crate::util::sanitize::error_chain;

/// How often the lease is renewed: three times before it expires.
const RENEWAL: Duration = Duration::from_secs(20);

/// Compares all managed memberships with Entra and removes those that Entra no longer gives.
pub struct Reconciliation {
    pub config: Config,
    pub db: Db,
    pub entra: Arc<Entra>,
    pub graph: Graph,
    /// Caches of the LiteLLM proxies that share the database; `None` if they cannot be evicted.
    pub cache: Option<LiteLlmCache>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub notifier: Arc<Notifier>,
    /// Identifies this process as the holder of the lease.
    pub replica: Uuid,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    #[error("the database failed during the run")]
    Db(#[from] DbError),
    /// Managed memberships exist, but nothing of Entra could be read to compare them.
    #[error("no group could be read: {reason}")]
    NothingRead { reason: String },
    #[error("the lease was lost to another replica, or could not be renewed")]
    LeaseLost,
    #[error("the service was stopped")]
    Stopped,
}

impl RunError {
    /// Stable error code, for notifications.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Reconcile(ReconcileError::Db(error)) | Self::Db(error) => error.code(),
            Self::Reconcile(ReconcileError::Entra(_)) => "discovery",
            Self::NothingRead { .. } => "nothing_read",
            Self::LeaseLost => "lease_lost",
            Self::Stopped => "stopped",
        }
    }

    /// Whether a later run continues without a problem to report.
    fn is_interruption(&self) -> bool {
        matches!(self, Self::LeaseLost | Self::Stopped | Self::Db(DbError::LeaseLost))
    }
}

/// What starts a run.
#[derive(Clone, Copy, Debug)]
pub struct RunRequest {
    pub trigger: RunTrigger,
    /// No limit holds a plan with at most this many removals.
    pub max_removals: Option<usize>,
}

impl From<RunTrigger> for RunRequest {
    fn from(trigger: RunTrigger) -> Self {
        Self { trigger, max_removals: None }
    }
}

/// What a run did so far. Kept outside of its future, so that an interrupted run is recorded as far as it came.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) compared: usize,
    pub(super) incomplete: usize,
    pub(super) held: usize,
    pub(super) held_plan: Option<PlanHash>,
    /// No earlier run held the same plan.
    pub(super) newly_held: bool,
    pub(super) disabled: usize,
    /// Accounts that were disabled or restored.
    pub(super) accounts: usize,
    pub(super) added: usize,
    pub(super) removed: usize,
    pub(super) skipped: usize,
    /// `None` if nothing was read.
    pub(super) missing_permissions: Option<BTreeSet<&'static str>>,
}

impl Reconciliation {
    /// Runs once. `None` while another replica runs. Failures are part of the result; an error means that the run was not
    /// recorded.
    pub async fn run(
        &self,
        request: impl Into<RunRequest>,
        stop: &CancellationToken,
    ) -> Result<Option<FinishedRun>, DbError> {
        let request = request.into();
        let Some(lease) = self.db.take_lease(self.replica, LEASE_DURATION).await? else { return Ok(None) };
        let begin = Instant::now();
        let started_at = self.clock.now();
        let run_id = random::uuid_at(started_at);
        self.db.start_run(lease, run_id, request.trigger, started_at).await?;
        let mut progress = Progress::default();
        let outcome = tokio::select! {
            outcome = self.work(lease, run_id, started_at, request, &mut progress) => outcome,
            () = self.keep(lease) => Err(RunError::LeaseLost),
            () = stop.cancelled() => Err(RunError::Stopped),
        };
        let status = match &outcome {
            Ok(()) if progress.held > 0 => RunStatus::Held,
            Ok(()) if progress.incomplete > 0 => RunStatus::Incomplete,
            Ok(()) => RunStatus::Done,
            Err(error) if error.is_interruption() => RunStatus::Interrupted,
            Err(_) => RunStatus::Failed,
        };
        let error = outcome.as_ref().err().map(|error| error_chain(error));
        let finished = FinishedRun {
            run_id,
            finished_at: self.clock.now(),
            status,
            compared: progress.compared,
            added: progress.added,
            removed: progress.removed,
            skipped: progress.skipped,
            accounts: progress.accounts,
            incomplete: progress.incomplete,
            held: progress.held,
            held_plan: progress.held_plan.clone(),
            error,
        };
        let recorded = self.db.finish_run(&finished).await;
        let released = self.db.release_lease(lease).await;
        self.tell(&finished, &progress, outcome.err().as_ref(), begin.elapsed());
        recorded.and(released)?;
        Ok(Some(finished))
    }

    /// Renews the lease until it is lost.
    async fn keep(&self, lease: Lease) {
        let mut renewed = Instant::now();
        loop {
            sleep(RENEWAL).await;
            match self.db.renew_lease(lease, LEASE_DURATION).await {
                Ok(true) => renewed = Instant::now(),
                Err(error) if renewed.elapsed() < LEASE_DURATION => {
                    tracing::debug!(error = error_chain(&error), "failed to renew the lease; retrying");
                }
                Ok(false) | Err(_) => return,
            }
        }
    }

    async fn work(
        &self,
        lease: Lease,
        run_id: Uuid,
        started_at: DateTime<Utc>,
        request: RunRequest,
        progress: &mut Progress,
    ) -> Result<(), RunError> {
        let mut facts = read(&self.config, &self.db, &self.entra, &self.graph, started_at).await?;
        facts.gate.max_removals = request.max_removals;
        let policy = &self.config.policy;
        let reconciler = facts.reconciler(&self.config);
        let plan = facts.plan(&self.db, &reconciler).await?;
        progress.compared = plan.compared;
        progress.incomplete = plan.incomplete.len();
        progress.missing_permissions = Some(plan.missing_permissions());
        self.db.store_plan(lease, run_id, &stored_json(&plan, started_at, policy.memberships)).await?;
        // Also if no group could be read: the states of accounts may be known.
        let accounts =
            AccountReconciler { db: &self.db, cache: self.cache.as_ref(), policy, lease, run_id, started_at };
        let changed = accounts.apply(&plan.accounts, self.clock.now()).await?;
        progress.disabled = changed.disabled;
        progress.accounts = changed.disabled + changed.restored;
        if plan.is_unknown() {
            return Err(RunError::NothingRead { reason: first_reason(&plan) });
        }
        let run = ApplyingRun { lease, run_id, started_at, keys_on_removal: policy.keys_on_removal };
        self.follow_names(&run, &assigned_names(&facts.snapshot)).await?;
        self.add(&run, &plan.additions, progress).await?;
        if policy.memberships == MembershipSync::Additive {
            // A plan of an earlier run with `follow` lapses.
            self.db.hold_plan(lease, run_id, self.clock.now(), None).await?;
            return Ok(());
        }
        self.remove(&run, &reconciler, &plan, progress).await?;
        // What a run could not read may hide removals that these settings cause.
        let compared_all = plan.incomplete.is_empty() || !plan.changes.is_empty();
        if plan.hash.is_none() && compared_all {
            self.db.accept_settings(lease, &facts.settings).await?;
        }
        Ok(())
    }

    /// Removes what no limit holds, and stores what is held.
    async fn remove(
        &self,
        run: &ApplyingRun,
        reconciler: &Reconciler<'_>,
        plan: &ReconciliationPlan,
        progress: &mut Progress,
    ) -> Result<(), RunError> {
        if let Some(approved) = &plan.approved
            && !self.db.approved_plans(self.clock.now()).await?.contains(approved)
        {
            // Rejected, or expired, since the run began to read. The next run decides.
            progress.held = plan.changes.len();
            progress.held_plan = Some(approved.clone());
            return Ok(());
        }
        progress.held = plan.changes.iter().filter(|change| change.held).count();
        progress.held_plan.clone_from(&plan.hash);
        for removals in reconciler.removals(plan) {
            let removed = self.db.apply_removals(run, &removals, self.clock.now()).await?;
            progress.removed += removed.removed;
            progress.skipped += removed.skipped;
            self.count(&removals.target, &removed);
            self.evict(&removals.target, &removed).await;
        }
        if let Some(approved) = &plan.approved {
            self.db.plan_applied(run.lease, approved).await?;
        }
        let held = plan.hash.as_ref().map(|hash| (hash, progress.held));
        progress.newly_held = self.db.hold_plan(run.lease, run.run_id, self.clock.now(), held).await?;
        Ok(())
    }

    /// Gives teams and organizations the new names of their groups.
    async fn follow_names(&self, run: &ApplyingRun, names: &[(GroupId, String)]) -> Result<(), RunError> {
        let renamed = self.db.follow_names(run, names, self.clock.now()).await?;
        let Some(cache) = self.cache.as_ref().filter(|_| !renamed.is_empty()) else { return Ok(()) };
        let keys = renamed.iter().flat_map(|renamed| match renamed.kind.as_str() {
            "team" => litellm_cache::team_keys(&renamed.id, [renamed.before.as_str(), renamed.after.as_str()]),
            _ => litellm_cache::organization_keys(&renamed.id).into(),
        });
        self.evict_keys(cache, &keys.collect()).await;
        Ok(())
    }

    /// Adds users who have signed in before to the teams of their groups, as their sign-in would: one transaction per user.
    async fn add(&self, run: &ApplyingRun, additions: &[Addition], progress: &mut Progress) -> Result<(), RunError> {
        for additions in additions.chunk_by(|one, next| one.user == next.user) {
            let Some(first) = additions.first() else { continue };
            let directory = directory_of(additions);
            let entra_user = EntraUser {
                identity: first.identity,
                email: None,
                sign_in_address: None,
                name: None,
                app_roles: Vec::new(),
            };
            let planner = Planner {
                entra_user: &entra_user,
                directory: &directory,
                policy: &self.config.policy,
                store: self.db.kind(),
                now: run.started_at,
                run_id: run.run_id,
                scope: PlanScope::Additions,
            };
            let applied = self.db.add_memberships(run.lease, &planner).await?;
            progress.added += applied.teams_joined.len() + applied.organizations_joined.len();
            for failure in &applied.failures {
                tracing::error!(kind = failure.kind, id = %failure.id, reason = failure.why, "failed to create group");
            }
            if let Some(cache) = &self.cache {
                evict(cache, first.user, &applied).await;
            }
        }
        Ok(())
    }

    fn count(&self, target: &Target, removed: &RemovedMembers) {
        let kind = if target.kind == "team" { GroupKind::Team } else { GroupKind::Organization };
        self.metrics.memberships_removed.add_many(kind, removed.removed);
        self.metrics.keys_blocked.add_many((), removed.keys_blocked.len());
    }

    /// Evicts what was removed from the LiteLLM proxies' caches.
    async fn evict(&self, target: &Target, removed: &RemovedMembers) {
        let Some(cache) = self.cache.as_ref().filter(|_| removed.removed > 0) else { return };
        let is_team = target.kind == "team";
        let teams = is_team.then_some((target.id.as_str(), target.name.as_deref()));
        let organizations = (!is_team).then_some(target.id.as_str());
        let mut keys: BTreeSet<String> = removed.keys_blocked.iter().map(|token| token.as_str().to_owned()).collect();
        for (object_id, user_id) in &removed.users {
            keys.extend(litellm_cache::keys(user_id.as_str(), teams, organizations));
            // A proxy caches a user under the ID that it looked up. At the proxy's own sign-in, that is the object ID.
            keys.insert(object_id.to_string());
        }
        self.evict_keys(cache, &keys).await;
    }

    /// A failure is only logged, because the entries expire within a minute.
    async fn evict_keys(&self, cache: &LiteLlmCache, keys: &BTreeSet<String>) {
        if let Err(error) = cache.evict(keys).await {
            let error = error_chain(&error);
            tracing::warn!(error, "failed to evict LiteLLM caches; proxies see the change within 60 s");
        }
    }
}

/// The plan as it is stored.
fn stored_json(plan: &ReconciliationPlan, read_after: DateTime<Utc>, memberships: MembershipSync) -> Value {
    let mut json = json!(plan);
    json["read_after"] = json!(read_after);
    json["memberships"] = json!(match memberships {
        MembershipSync::Follow => "follow",
        MembershipSync::Additive => "additive",
    });
    json
}

/// The visible names of assigned groups.
fn assigned_names(snapshot: &Snapshot) -> Vec<(GroupId, String)> {
    let assigned = snapshot.values().filter_map(|tenant| match (&tenant.service_principal, &tenant.assigned) {
        (ServicePrincipalState::Exists, GroupList::Known(assigned)) => Some(assigned),
        _ => None,
    });
    assigned.flatten().filter_map(|(group, name)| Some((*group, name.clone()?))).collect()
}

/// Why the first group could not be read.
fn first_reason(plan: &ReconciliationPlan) -> String {
    plan.incomplete.first().map(|group| group.reason.message()).unwrap_or_default()
}
