//! `entraway migrate`: migrates the schema before a new version is deployed.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use backon::Retryable as _;

use super::output::{errln, outln};
use super::{LastMessage, RETRY_SECONDS, retry_policy};
use crate::config::Config;
use crate::db::{Db, DbError, Versions};
use crate::http::server;
use crate::util::sanitize::with_help;

pub(super) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let db = Db::new(config.store, &config.database.url, 1)?;
    let mut last_message = LastMessage::default();
    let migrate = || async {
        let before = db.versions().await?;
        db.prepare().await?;
        Ok((before, db.versions().await?))
    };
    let migrate = migrate.retry(retry_policy()).when(DbError::is_unavailable).notify(|error, _| {
        let text = with_help(error, error.help());
        if last_message.is_new(&text) {
            errln!("entraway: {text}; retrying for {RETRY_SECONDS} seconds");
        }
    });
    // As PID 1 of a container the process only ends on signals that it handles.
    let stop = server::stop_on_signals();
    let versions = tokio::select! {
        versions = migrate => versions,
        () = stop.cancelled() => bail!("stopped; run it again: finished migrations are kept, and none is half applied"),
    };
    let (before, after) = versions.context("failed to migrate the schema")?;
    db.close().await;
    outln!("{}", summary(&before, &after))?;
    Ok(ExitCode::SUCCESS)
}

/// The versions before and after. Does not say which process migrated: another one may have run at the same time.
fn summary(before: &Versions, after: &Versions) -> String {
    let now = after.applied.last().copied().unwrap_or_default();
    let steps = after.applied.len().saturating_sub(before.applied.len());
    let migrations = if steps == 1 { "migration" } else { "migrations" };
    match before.applied.last() {
        None => format!("schema entraway created at version {now} ({steps} {migrations})"),
        Some(was) if steps > 0 => {
            format!("schema entraway migrated from version {was} to {now} ({steps} {migrations})")
        }
        Some(_) if after.known.last() < Some(&now) => {
            format!("schema entraway is at version {now}, newer than this program and compatible: nothing to do")
        }
        Some(_) => format!("schema entraway is at version {now}, up to date: nothing to do"),
    }
}
