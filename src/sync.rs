//! Sign-in sync: reads the directory, compares it with the database, and writes the difference.
//!
//! No network call is made inside a transaction.

mod directory;

use std::time::Instant;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::db::{Db, DbError};
use crate::domain::{EntraUser, ObjectId};
use crate::litellm_cache::{self, LiteLlmCache};
use crate::observability::spans::Step;
use crate::plan::{Applied, Note, PlanScope, Planner};
use crate::policy::Policy;
use crate::sync_run::{Denial, SyncRun};
use crate::util::random;
use crate::util::sanitize::error_chain;

pub use directory::{DirectoryReader, configured_tenants, service_principal};

/// Why a sync failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The policy denied the sign-in. At most, memberships were removed; the caller has to store the record.
    #[error("sign-in denied: {0:?}")]
    Denied(Denial, Box<SyncRun>),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Syncs one sign-in. `token` is the user's delegated Graph token.
pub async fn sync(
    reader: &DirectoryReader,
    db: &Db,
    cache: Option<&LiteLlmCache>,
    policy: &Policy,
    user: &EntraUser,
    token: &SecretString,
    now: DateTime<Utc>,
) -> Result<SyncRun, SyncError> {
    let begin = Instant::now();
    let directory = reader.read(user.identity, token).await;
    let graph_time = begin.elapsed();
    let run_id = random::uuid();
    let denial = Denial::for_groups(policy, &directory);
    let deny = |denial, directory, applied, notes| {
        let run = SyncRun::new(run_id, now, Some(denial), Some(directory));
        Err(SyncError::Denied(denial, Box::new(SyncRun { graph_time, applied, notes, ..run })))
    };
    if let Some(denial) = denial.filter(|denial| !denial.is_known()) {
        return deny(denial, directory, Applied::default(), Vec::new());
    }

    let begin = Instant::now();
    let (directory_read, store) = (&directory, db.kind());
    let scope = if denial.is_some() { PlanScope::DeniedSignIn } else { PlanScope::SignIn };
    let planner = Planner { entra_user: user, directory: directory_read, policy, store, now, run_id, scope };
    // A denial counts even if memberships cannot be removed.
    let failed = |error| match (denial, error) {
        (Some(denial), DbError::OtherTenant) => Ok(denial),
        (Some(denial), error) => {
            tracing::error!(error = error_chain(&error), "failed to remove memberships of a denied user");
            Ok(denial)
        }
        (None, DbError::OtherTenant) => Ok(Denial::OtherTenant),
        (None, error) => Err(error),
    };
    let current = match Step::Read.run(db.read(&planner), DbError::code).await {
        Err(error) => return deny(failed(error)?, directory, Applied::default(), Vec::new()),
        Ok(current) => current,
    };
    let read_time = begin.elapsed();
    let begin = Instant::now();
    let plan = Step::Plan.span().in_scope(|| planner.plan(&current));
    let plan_time = begin.elapsed();
    let begin = Instant::now();
    // Under its locks, `apply` plans again, so its notes replace those of the first plan.
    let user_id = plan.user_id.clone();
    let (applied, notes) = if plan.is_empty() {
        (Applied::default(), plan.notes)
    } else {
        let applied = match Step::Apply.run(db.apply(&planner, &plan), DbError::code).await {
            Err(error) => return deny(failed(error)?, directory, Applied::default(), Vec::new()),
            Ok(applied) => applied,
        };
        if let Some(cache) = cache {
            evict(cache, user.identity.object_id, &applied).await;
        }
        let notes = applied.notes.clone();
        (applied, notes)
    };
    if let Err(error) = db.record_kept(now, &planner.kept_events(&user_id, &notes)).await {
        tracing::error!(error = error_chain(&error), "failed to record kept memberships");
    }
    if let Some(denial) = denial {
        return deny(denial, directory, applied, notes);
    }
    for failure in &applied.failures {
        tracing::error!(kind = failure.kind, id = %failure.id, reason = failure.why, "failed to create group");
    }
    for note in &notes {
        if let Note::OperatorRoleWithheld { role } = note {
            let object_id = user.identity.object_id;
            tracing::warn!(%role, %object_id, "operator role withheld: the user row is older than the first sign-in");
        }
    }
    Ok(SyncRun {
        applied,
        notes,
        graph_time,
        plan_time,
        store_time: read_time + begin.elapsed(),
        ..SyncRun::new(run_id, now, None, Some(directory))
    })
}

/// Evicts what was written from the LiteLLM proxies' caches. A failure is only logged, because the entries expire within a
/// minute: an unreachable Redis costs a sign-in at most its timeout.
pub async fn evict(cache: &LiteLlmCache, user: ObjectId, applied: &Applied) {
    let groups = applied.aliases_joined.iter().chain(&applied.team_models_updated);
    let groups = groups.map(|(id, alias)| (id.to_string(), alias.as_deref()));
    let left = applied.removed_from_teams.iter().map(|(id, alias)| (id.clone(), alias.as_deref()));
    let teams: Vec<(String, Option<&str>)> = groups.chain(left).collect();
    let organizations =
        applied.organizations_joined.iter().chain(&applied.removed_from_organizations).map(String::as_str);
    let teams = teams.iter().map(|(id, alias)| (id.as_str(), *alias));
    let mut keys = litellm_cache::keys(applied.user_id.as_str(), teams, organizations);
    // A proxy caches a user under the ID that it looked up. At the proxy's own sign-in, that is the object ID.
    keys.insert(user.to_string());
    let tokens = applied.keys_blocked.values().chain(applied.keys_restored.values()).flatten();
    keys.extend(tokens.map(|token| token.as_str().to_owned()));
    if let Err(error) = cache.evict(&keys).await {
        let error = error_chain(&error);
        tracing::warn!(error, "failed to evict LiteLLM caches; proxies see the change within 60 s");
    }
}
