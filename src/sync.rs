//! The use case: read what Entra says, compare it with the store, write the difference. The only module that sees both
//! a network client and the store; no network call happens inside a transaction.

mod directory;

use std::time::Instant;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::domain::Person;
use crate::litellm_cache::{self, LiteLlmCache};
use crate::plan::{Applied, Directory, Planner};
use crate::policy::Policy;
use crate::store::{Store, StoreError, SyncRun};
use crate::text::chain;

pub use directory::{DirectoryReader, service_principal};

/// Why a sync did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// `access.require_group`, and the person is in no assigned group. Nothing was written.
    #[error("the person is in no group that is assigned to the app")]
    NoGroup,
    /// `access.require_group`, and Entra did not tell. Nothing was written.
    #[error("a group is required, and the person's groups are not known ({0})")]
    GroupsUnknown(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Syncs one person's sign-in. `token` is Graph's, on the person's behalf.
pub async fn sync(
    reader: &DirectoryReader,
    store: &Store,
    cache: Option<&LiteLlmCache>,
    policy: &Policy,
    person: &Person,
    token: &SecretString,
    now: DateTime<Utc>,
) -> Result<SyncRun, SyncError> {
    let begin = Instant::now();
    let directory = reader.read(person.identity, token).await;
    let graph_time = begin.elapsed();
    admit(policy, &directory)?;

    let begin = Instant::now();
    let planner = Planner { person, directory: &directory, policy, now };
    let current = store.read(person, &directory).await?;
    let plan = planner.plan(&current);
    // What is written is planned again under the locks, and so is what is noted.
    let (applied, notes) = if plan.is_empty() {
        (Applied::default(), plan.notes)
    } else {
        let applied = store.apply(&planner, &plan).await?;
        if let Some(cache) = cache {
            forget(cache, person, &applied).await;
        }
        let notes = applied.notes.clone();
        (applied, notes)
    };
    for failure in &applied.failures {
        tracing::error!(kind = failure.kind, id = %failure.id, why = failure.why, "a group could not be created");
    }
    Ok(SyncRun { started_at: now, notes, applied, graph_time, store_time: begin.elapsed(), directory })
}

/// Tells the proxies to forget what was written. They would find out by themselves within a minute, so that whoever
/// signs in does not pay for a Redis that is away with more than its time-out.
async fn forget(cache: &LiteLlmCache, person: &Person, applied: &Applied) {
    let teams: Vec<(String, Option<&str>)> =
        applied.aliases_joined.iter().map(|(id, alias)| (id.to_string(), alias.as_deref())).collect();
    let organizations: Vec<String> = applied.organizations_joined.iter().map(ToString::to_string).collect();
    let teams = teams.iter().map(|(id, alias)| (id.as_str(), *alias));
    let mut keys = litellm_cache::keys(applied.user_id.as_str(), teams, organizations.iter().map(String::as_str));
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
fn admit(policy: &Policy, directory: &Directory) -> Result<(), SyncError> {
    if !policy.require_group {
        return Ok(());
    }
    match directory.in_an_assigned_group() {
        Some(true) => Ok(()),
        Some(false) => Err(SyncError::NoGroup),
        None => {
            let code = directory.unknown().map(|unknown| unknown.code.clone()).unwrap_or_default();
            Err(SyncError::GroupsUnknown(code))
        }
    }
}
