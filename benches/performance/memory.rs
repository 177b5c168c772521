//! Resident memory: idle, per cached session, and after many sign-ins.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::ensure;
use entraway::domain::StoreKind;
use pg_sandbox::PrivateCluster;
use reqwest::header::COOKIE;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinSet;

use crate::browser::storm;
use crate::forward_auth::{TOKENS, fill};
use crate::service::Service;
use crate::sign_in::start;
use crate::simulator::{Scene, Simulator};

/// Maximum number of cached sessions.
const SESSIONS: usize = 100_000;
/// Groups of each user with a cached session.
const GROUPS: u8 = 5;
const SIGN_INS: usize = 100_000;
const AT_ONCE: usize = 64;
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn run(cluster: &PrivateCluster) -> anyhow::Result<String> {
    let mut page = String::from("| what | measured |\n|---|---|\n");
    remembered(cluster, &mut page).await?;
    signed_in(cluster, &mut page).await?;
    Ok(page)
}

/// Sends one request for each of many sessions.
async fn remembered(cluster: &PrivateCluster, page: &mut String) -> anyhow::Result<()> {
    eprintln!("memory of sessions …");
    cluster.create_database("memory", None).await?;
    let url = cluster.url("memory");
    let entra = Simulator::start(Scene { people: 1, groups: 1, in_groups: 1, operator: false })?;
    let service = Arc::new(Service::start(&url, StoreKind::Native, &entra.facts).await?);
    writeln!(page, "| idle | {:.1} MiB |", service.memory("VmRSS")? / MIB)?;
    let pool = PgPool::connect(&url).await?;
    sqlx::raw_sql(AssertSqlSafe(fill(GROUPS))).execute(&pool).await?;
    let all: Arc<[String]> = sqlx::query_scalar::<_, String>(TOKENS).fetch_all(&pool).await?.into();
    ensure!(all.len() == SESSIONS, "{} sessions", all.len());
    // The first thousand sessions include buffers and connections and are not counted.
    let first = 1_000;
    ask(&service, &all, 0..first).await?;
    let before = service.memory("VmRSS")?;
    ask(&service, &all, first..SESSIONS).await?;
    let each = (service.memory("VmRSS")? - before) / f64::from(u32::try_from(SESSIONS - first)?);
    writeln!(
        page,
        "| per session in memory, {SESSIONS} of as many users, each in {GROUPS} groups | {each:.0} bytes |"
    )?;
    Ok(())
}

async fn ask(service: &Arc<Service>, tokens: &Arc<[String]>, which: std::ops::Range<usize>) -> anyhow::Result<()> {
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (service, tokens, which) = (service.clone(), tokens.clone(), which.clone());
        workers.spawn(async move {
            for n in which.skip(worker).step_by(AT_ONCE) {
                let request = service.client().get(format!("{}/auth/verify", service.url()));
                let response = request.header(COOKIE, format!("entraway={}", tokens[n])).send().await?;
                ensure!(response.status() == 200, "forward auth returned {}", response.status());
            }
            Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(())
}

async fn signed_in(cluster: &PrivateCluster, page: &mut String) -> anyhow::Result<()> {
    eprintln!("memory after {SIGN_INS} sign-ins …");
    let scene = Scene { people: 2_000, groups: 40, in_groups: 10, operator: false };
    let (entra, service, _) = start(cluster, "memory_sign_ins", StoreKind::Native, scene).await?;
    let (entra, service) = (Arc::new(entra), Arc::new(service));
    for part in 1..=4 {
        storm(&entra, &service, SIGN_INS / 4, AT_ONCE).await?;
        let memory = service.memory("VmRSS")? / MIB;
        writeln!(page, "| after {} sign-ins of {} users | {memory:.1} MiB |", SIGN_INS / 4 * part, scene.people)?;
    }
    Ok(())
}
