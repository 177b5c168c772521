//! `entraway sessions`: lists and revokes sessions.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::TimeDelta;

use super::output::{errln, outln};
use crate::audit::AuditActor;
use crate::config::Config;
use crate::db::{Db, Revocation, SessionFilter, SessionOwner};
use crate::util::clock::Clock;

/// Maximum number of sessions in the list.
const LIST_LIMIT: u32 = 1_000;

pub(super) async fn list(owner: SessionOwner, config: &Config) -> anyhow::Result<ExitCode> {
    let db = Db::new(config.store, &config.database.url, 1)?;
    let idle_timeout = TimeDelta::from_std(config.session.idle_timeout)?;
    let rows = db.list_sessions(owner, Clock::system().now(), idle_timeout, LIST_LIMIT + 1).await;
    db.close().await;
    let rows = rows.context("failed to read the sessions")?;
    outln!("{:<32}  {:<36}  {:<20}  {:<20}  {:<20}", "session", "user", "created", "last seen", "expires")?;
    let shown = rows.iter().take(LIST_LIMIT as usize);
    for row in shown {
        let [created, seen, expires] =
            [row.created_at, row.last_seen_at, row.expires_at].map(|time| time.format("%Y-%m-%dT%H:%M:%SZ"));
        outln!("{}  {:<36}  {created:<20}  {seen:<20}  {expires:<20}", row.session, row.user_id)?;
    }
    if rows.len() > LIST_LIMIT as usize {
        errln!("entraway: only the newest {LIST_LIMIT} sessions are listed");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn revoke(owner: SessionOwner, config: &Config) -> anyhow::Result<ExitCode> {
    let db = Db::new(config.store, &config.database.url, 1)?;
    let revocation = Revocation { at: Clock::system().now(), actor: AuditActor::Command, cause: None };
    let ended = db.end_sessions(SessionFilter::Of(owner), Some(&revocation)).await;
    let ended = ended.context("failed to revoke the sessions")?;
    db.close().await;
    outln!("{} {} revoked", ended.count, if ended.count == 1 { "session" } else { "sessions" })?;
    Ok(ExitCode::SUCCESS)
}
