//! The use case: read what Entra says, compare it with the store, write the difference. The only module that sees both
//! a network client and the store; no network call happens inside a transaction.

mod directory;

use std::time::Instant;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::db::{Denial, Store, StoreError, SyncRun};
use crate::domain::EntraUser;
use crate::litellm_cache::{self, LiteLlmCache};
use crate::observability::spans::Step;
use crate::plan::{Applied, Directory, Note, Planner};
use crate::policy::Policy;
use crate::util::sanitize::chain;

pub use directory::{DirectoryReader, service_principal};

/// Why a sync did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The person may not enter. Nothing was written; the record says why, and is not kept yet.
    #[error("the person was refused: {0:?}")]
    Refused(Denial, Box<SyncRun>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Syncs one person's sign-in. `token` is Graph's, on the person's behalf.
pub async fn sync(
    reader: &DirectoryReader,
    store: &Store,
    cache: Option<&LiteLlmCache>,
    policy: &Policy,
    person: &EntraUser,
    token: &SecretString,
    now: DateTime<Utc>,
) -> Result<SyncRun, SyncError> {
    let begin = Instant::now();
    let directory = reader.read(person.identity, token).await;
    let graph_time = begin.elapsed();
    let refuse = |refusal, directory| {
        let run = SyncRun::new(now, Some(refusal), Some(directory));
        Err(SyncError::Refused(refusal, Box::new(SyncRun { graph_time, ..run })))
    };
    if let Some(refusal) = refusal(policy, &directory) {
        return refuse(refusal, directory);
    }

    let begin = Instant::now();
    let planner = Planner { entra_user: person, directory: &directory, policy, store: store.kind(), now };
    let current = match Step::Read.run(store.read(person, &directory), StoreError::code).await {
        Err(StoreError::OtherTenant) => return refuse(Denial::OtherTenant, directory),
        current => current?,
    };
    let read_time = begin.elapsed();
    let begin = Instant::now();
    let plan = Step::Plan.span().in_scope(|| planner.plan(&current));
    let plan_time = begin.elapsed();
    let begin = Instant::now();
    // What is written is planned again under the locks, and so is what is noted.
    let (applied, notes) = if plan.is_empty() {
        (Applied::default(), plan.notes)
    } else {
        let applied = match Step::Apply.run(store.apply(&planner, &plan), StoreError::code).await {
            Err(StoreError::OtherTenant) => return refuse(Denial::OtherTenant, directory),
            applied => applied?,
        };
        if let Some(cache) = cache {
            forget(cache, person, &applied).await;
        }
        let notes = applied.notes.clone();
        (applied, notes)
    };
    for failure in &applied.failures {
        tracing::error!(kind = failure.kind, id = %failure.id, why = failure.why, "a group could not be created");
    }
    for note in &notes {
        if let Note::OperatorRoleWithheld { role } = note {
            let object_id = person.identity.object_id;
            tracing::warn!(%role, %object_id, "operator role withheld: the user row is older than the first sign-in");
        }
    }
    Ok(SyncRun {
        applied,
        notes,
        graph_time,
        plan_time,
        store_time: read_time + begin.elapsed(),
        ..SyncRun::new(now, None, Some(directory))
    })
}

/// Tells the proxies to forget what was written. They would find out by themselves within a minute, so that whoever
/// signs in does not pay for a Redis that is away with more than its time-out.
async fn forget(cache: &LiteLlmCache, person: &EntraUser, applied: &Applied) {
    let teams: Vec<(String, Option<&str>)> = applied
        .aliases_joined
        .iter()
        .chain(&applied.team_models_updated)
        .map(|(id, alias)| (id.to_string(), alias.as_deref()))
        .collect();
    let organizations = applied.organizations_joined.iter().map(String::as_str);
    let teams = teams.iter().map(|(id, alias)| (id.as_str(), *alias));
    let mut keys = litellm_cache::keys(applied.user_id.as_str(), teams, organizations);
    // A proxy holds a person under the id that it asked for, which at its own sign-in is the object id.
    keys.insert(person.identity.object_id.to_string());
    if let Err(error) = cache.forget(&keys).await {
        tracing::warn!(
            "LiteLLM's proxies were not told of a sign-in's changes, and see them within a minute: {}",
            chain(&error)
        );
    }
}

/// `access.require_group`. "Unknown" is not "nobody", but it opens no door either.
fn refusal(policy: &Policy, directory: &Directory) -> Option<Denial> {
    if !policy.require_group {
        return None;
    }
    match directory.in_assigned_group() {
        Some(true) => None,
        Some(false) => Some(Denial::NoGroup),
        None => Some(Denial::GroupsUnknown),
    }
}
