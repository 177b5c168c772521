//! `entraway sessions`: who is signed in, and how that ends.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::TimeDelta;

use super::output::{errln, outln};
use crate::config::{self, Env};
use crate::db::{Store, Whose};
use crate::util::clock::Clock;

/// More than anybody reads.
const LISTED: u32 = 1_000;

/// Works on the database alone: no service has to be running. Those that are learn of it within a second.
fn store(file: Option<&Path>, env: &Env) -> anyhow::Result<(Store, TimeDelta)> {
    let config = config::load(file, env)?.config;
    let store = Store::new(config.store, &config.database.url, 1)?;
    Ok((store, TimeDelta::from_std(config.session.idle_timeout)?))
}

pub(super) async fn list(whose: Whose, file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let (store, idle_timeout) = store(file, env)?;
    let rows = store.list_sessions(whose, Clock::system().now(), idle_timeout, LISTED + 1).await;
    store.close().await;
    let rows = rows.context("the sessions could not be read")?;
    outln!("{:<32}  {:<36}  {:<20}  {:<20}  {:<20}", "session", "user", "created", "last seen", "expires")?;
    let shown = rows.iter().take(LISTED as usize);
    for row in shown {
        let [created, seen, expires] =
            [row.created_at, row.last_seen_at, row.expires_at].map(|time| time.format("%Y-%m-%dT%H:%M:%SZ"));
        outln!("{}  {:<36}  {created:<20}  {seen:<20}  {expires:<20}", row.session, row.user_id)?;
    }
    if rows.len() > LISTED as usize {
        errln!("entraway: there are more than {LISTED}; these are the newest");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn revoke(whose: Whose, file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let (store, _) = store(file, env)?;
    let ended = store.revoke_sessions(whose).await.context("the sessions could not be ended")?;
    store.close().await;
    outln!("{ended} {} ended", if ended == 1 { "session" } else { "sessions" })?;
    Ok(ExitCode::SUCCESS)
}
