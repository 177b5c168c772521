//! Many concurrent sign-ins with new groups, as on a Monday morning.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::ensure;
use entraway::domain::StoreKind;
use pg_sandbox::PrivateCluster;
use sqlx::PgPool;

use crate::browser::{Storm, median, storm};
use crate::service::name;
use crate::sign_in::{drop_database, start};
use crate::simulator::Scene;

const SCENE: Scene = Scene { people: 2_000, groups: 40, in_groups: 10, operator: false };
const AT_ONCE: usize = 64;
/// Repeats per user, after the first storm.
const REPEATS: usize = 5;
/// Storms per store, each with a new database; stores alternate.
const ROUNDS: usize = 3;

const LITELLM: &str = "\
For comparison, on a similar machine: LiteLLM 1.109.1, 28 repeats/s with 10 groups and 11 with 50; Apache with mod_auth_openidc, which
reads no groups and writes nothing, 316 sign-ins/s.
";

pub(crate) async fn run(cluster: &PrivateCluster) -> anyhow::Result<String> {
    let Scene { people, groups, in_groups, .. } = SCENE;
    let mut page = format!(
        "{people} users, {AT_ONCE} at a time, each through a complete sign-in: start, account picker, callback. There are {groups} groups, all\n\
         new at the start, and each user is in {in_groups}. Afterwards the rows were counted: every user, session and membership\n\
         exists. Medians of {ROUNDS} storms, each on a new database. *Peak memory* is `VmHWM`.\n\n\
         | store | sign-ins | sign-ins/s | p50, ms | p99, ms | peak memory, MiB |\n|---|---|---|---|---|---|\n"
    );
    let stores = [StoreKind::Native, StoreKind::LiteLlm];
    let kinds = [("first sign-ins", people), ("repeats", people * REPEATS)];
    let mut seen = stores.map(|_| kinds.map(|_| <[Vec<f64>; 4]>::default()));
    for round in 0..ROUNDS {
        for (store, seen) in stores.into_iter().zip(&mut seen) {
            let database = format!("storm_{}_{round}", name(store));
            eprintln!("{database} …");
            let (entra, service, pool) = start(cluster, &database, store, SCENE).await?;
            let (entra, service) = (Arc::new(entra), Arc::new(service));
            for ((_, count), figures) in kinds.into_iter().zip(seen) {
                let Storm { a_second, p50_ms, p99_ms } = storm(&entra, &service, count, AT_ONCE).await?;
                let memory = service.memory("VmHWM")? / 1024.0 / 1024.0;
                for (figures, figure) in figures.iter_mut().zip([a_second, p50_ms, p99_ms, memory]) {
                    figures.push(figure);
                }
            }
            let rows = rows(&pool, store).await?;
            let sessions = i64::try_from(people * (1 + REPEATS))?;
            let memberships = i64::try_from(people * in_groups)?;
            let expected = (i64::try_from(groups)?, i64::try_from(people)?, memberships, memberships, sessions);
            ensure!(rows == expected, "rows after the storm: {rows:?}, expected {expected:?}");
            drop((service, entra));
            pool.close().await;
            drop_database(cluster, &database).await?;
        }
    }
    for (store, seen) in stores.into_iter().zip(seen) {
        for ((what, _), figures) in kinds.into_iter().zip(seen) {
            let [a_second, p50_ms, p99_ms, memory] = figures.map(|figures| median(&figures));
            writeln!(page, "| `{}` | {what} | {a_second:.0} | {p50_ms:.0} | {p99_ms:.0} | {memory:.0} |", name(store))?;
        }
    }
    write!(page, "\n{LITELLM}")?;
    Ok(page)
}

/// Numbers of teams in an organization, users, memberships of both kinds, and sync records.
async fn rows(pool: &PgPool, store: StoreKind) -> anyhow::Result<(i64, i64, i64, i64, i64)> {
    let sql = match store {
        StoreKind::Native => {
            "select (select count(*) from entraway.teams where organization_id is not null),
                    (select count(*) from entraway.users), (select count(*) from entraway.organization_members),
                    (select count(*) from entraway.team_members), (select count(*) from entraway.sync_runs)"
        }
        StoreKind::LiteLlm => {
            r#"select (select count(*) from public."LiteLLM_TeamTable" where organization_id is not null),
                      (select count(*) from public."LiteLLM_UserTable"),
                      (select count(*) from public."LiteLLM_OrganizationMembership"),
                      (select sum(jsonb_array_length(members_with_roles))::bigint from public."LiteLLM_TeamTable"),
                      (select count(*) from entraway.sync_runs)"#
        }
    };
    Ok(sqlx::query_as(sql).fetch_one(pool).await?)
}
