//! The use case: read what Entra says, compare it with the store, write the difference. The only module that sees both
//! a network client and the store; no network call happens inside a transaction.

mod directory;

use std::time::Instant;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::domain::Person;
use crate::plan::{Applied, Directory, Planner};
use crate::policy::Policy;
use crate::store::{Store, StoreError, SyncRun};

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
    let current = store.read(person.identity, &directory.group_ids()).await?;
    let plan = planner.plan(&current);
    let applied = if plan.is_empty() { Applied::default() } else { store.apply(&planner, &plan).await? };
    for failure in &applied.failures {
        tracing::error!(kind = failure.kind, id = %failure.id, why = failure.why, "a group could not be created");
    }
    Ok(SyncRun { started_at: now, notes: plan.notes, applied, graph_time, store_time: begin.elapsed(), directory })
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
