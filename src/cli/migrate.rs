//! `entraway migrate`: the tables brought up to date on their own, before a new version is served.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use backon::Retryable as _;

use super::output::{errln, outln};
use super::{News, PATIENCE_SECONDS, patience};
use crate::config::{self, Env};
use crate::db::{Store, StoreError, Versions};
use crate::http::server;
use crate::util::sanitize::with_remedy;

pub(super) async fn run(file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let config = config::load(file, env)?.config;
    let store = Store::for_migrations(config.store, &config.database.url)?;
    let mut news = News::default();
    let work = || async {
        let before = store.versions().await?;
        store.prepare().await?;
        Ok((before, store.versions().await?))
    };
    let work = work.retry(patience()).when(StoreError::is_unavailable).notify(|error, _| {
        let text = with_remedy(error, error.remedy());
        if news.is_new(&text) {
            errln!("entraway: {text}; trying again for {PATIENCE_SECONDS} seconds");
        }
    });
    // The first process of a container is ended by no signal that it does not listen to.
    let stop = server::stop_on_signals();
    let done = tokio::select! {
        done = work => done,
        () = stop.cancelled() => bail!("stopped; run it again: what was finished counts, and nothing is half done"),
    };
    let (before, after) = done.context("the tables are not up to date")?;
    store.close().await;
    outln!("{}", told(&before, &after))?;
    Ok(ExitCode::SUCCESS)
}

/// Where the tables were and where they are. Not who brought them there: another one may have been at it as well.
fn told(before: &Versions, after: &Versions) -> String {
    let now = after.applied.last().copied().unwrap_or_default();
    let steps = after.applied.len().saturating_sub(before.applied.len());
    let migrations = if steps == 1 { "migration" } else { "migrations" };
    match before.applied.last() {
        None => format!("the tables were not there, and are at {now} now: {steps} {migrations}"),
        Some(was) if steps > 0 => format!("the tables were at {was}, and are at {now} now: {steps} {migrations}"),
        Some(_) if after.known.last() < Some(&now) => {
            format!("the tables are at {now}, which is newer than this version and serves it: nothing to do")
        }
        Some(_) => format!("the tables are at {now}, up to date: nothing to do"),
    }
}
