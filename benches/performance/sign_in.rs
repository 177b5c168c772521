//! Single sign-ins: SQL statements, duration and CPU time.

use std::fmt::Write as _;

use entra_simulator::ObjectId;
use entraway::domain::StoreKind;
use pg_sandbox::{PrivateCluster, litellm_migrations};
use sqlx::{AssertSqlSafe, PgPool};

use crate::browser::{median, ms, sign_in};
use crate::service::{Service, name};
use crate::simulator::{Scene, Simulator};

const GROUPS: [usize; 5] = [1, 10, 50, 200, 1_000];
const RUNS: usize = 15;
/// Repeats until Postgres uses generic plans: on each connection, it decides at the sixth execution.
const SETTLING: usize = 60;
/// Repeats per CPU time measurement. Linux reports CPU time in steps of 10 ms.
const REPEATS: usize = 200;
const ROUNDS: usize = 3;

/// LiteLLM 1.109.1 with its real routes, measured on a similar machine.
const LITELLM: &str = "\
For comparison, LiteLLM 1.109.1 itself on a similar machine with the same rows: 58, 346, 1,627 and 6,436 SQL statements and 0.12, 0.64,
2.7 and 10.2 s for the first sign-in with 1, 10, 50 and 200 groups; 211 statements and 0.45 s for a repeat with 200. It creates no
organizations.
";

/// Medians of one kind of sign-in.
struct Kind {
    /// For the whole sign-in, counted by Postgres.
    statements: i64,
    transactions: i64,
    /// Time from the callback request to the response.
    callback_ms: f64,
    /// The callback without waiting for Entra and Graph.
    own_ms: f64,
    store_ms: f64,
}

pub(crate) async fn run(cluster: &PrivateCluster) -> anyhow::Result<String> {
    let mut page = format!(
        "Each user is in all assigned groups, and organizations are on. Statements are counted by Postgres (`pg_stat_statements`, top\n\
         level, including `BEGIN` and `COMMIT`). *Callback* is the time from the browser's return to the answer with the session. *Own* is\n\
         the same without waiting for Entra and Graph, whose lists are longer with more groups. *Postgres* is the sync's reads and writes\n\
         only. Medians of {RUNS}, in milliseconds. *Processor* is the processor time of the service's process for each of {REPEATS} repeats,\n\
         the median of {ROUNDS} rounds, including requests to Entra and Graph and from the browser. Before the repeats, Postgres has\n\
         analyzed the tables and run {SETTLING} other repeats.\n"
    );
    for store in [StoreKind::Native, StoreKind::LiteLlm] {
        writeln!(
            page,
            "\n| store `{}`: groups | sign-in | statements | begun by `BEGIN` | callback | own | Postgres | processor |",
            name(store)
        )?;
        writeln!(page, "|---|---|---|---|---|---|---|---|")?;
        for groups in GROUPS {
            scene(cluster, store, groups, &mut page).await?;
        }
    }
    write!(page, "\n{LITELLM}")?;
    Ok(page)
}

async fn scene(cluster: &PrivateCluster, store: StoreKind, groups: usize, page: &mut String) -> anyhow::Result<()> {
    let database = format!("sign_in_{}_{groups}", name(store));
    eprintln!("{database} …");
    let (entra, service, pool) =
        start(cluster, &database, store, Scene { people: 2, groups, in_groups: groups, operator: false }).await?;
    let [one, other] = entra.people()[..] else { anyhow::bail!("two people") };
    let first = measure(&pool, &entra, &service, one, Before::Nothing).await?;
    let another = measure(&pool, &entra, &service, other, Before::Groups(one)).await?;
    let repeat = measure(&pool, &entra, &service, other, Before::Everything(other)).await?;
    let mut processor = vec![];
    for _ in 0..ROUNDS {
        let before = service.processor_ms()?;
        for _ in 0..REPEATS {
            sign_in(&entra, &service, other).await?;
        }
        processor.push((service.processor_ms()? - before) / f64::from(u32::try_from(REPEATS)?));
    }
    let processor = median(&processor);
    for (what, kind, processor) in [
        ("the first of all", first, String::new()),
        ("another user's first", another, String::new()),
        ("a repeat", repeat, format!("{processor:.1}")),
    ] {
        let Kind { statements, transactions, callback_ms, own_ms, store_ms } = kind;
        writeln!(
            page,
            "| {groups} | {what} | {statements} | {transactions} | {callback_ms:.1} | {own_ms:.1} | {store_ms:.1} | {processor} |"
        )?;
    }
    Ok(())
}

/// Starts a service with a new database and users to sign in.
pub(crate) async fn start(
    cluster: &PrivateCluster,
    database: &str,
    store: StoreKind,
    scene: Scene,
) -> anyhow::Result<(Simulator, Service, PgPool)> {
    cluster.create_database(database, None).await?;
    if store == StoreKind::LiteLlm {
        cluster.apply_migrations(database, &litellm_migrations()).await?;
    }
    let url = cluster.url(database);
    let pool = PgPool::connect(&url).await?;
    sqlx::query("create extension pg_stat_statements").execute(&pool).await?;
    let entra = Simulator::start(scene)?;
    let service = Service::start(&url, store, &entra.facts).await?;
    Ok((entra, service, pool))
}

/// Frees the disk and the caches for later measurements.
pub(crate) async fn drop_database(cluster: &PrivateCluster, database: &str) -> anyhow::Result<()> {
    let pool = PgPool::connect(&cluster.url("postgres")).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("drop database {database} with (force)"))).execute(&pool).await?;
    Ok(())
}

/// Empties either store.
const EMPTY: &str = r#"do $$ begin
    truncate entraway.organizations, entraway.teams, entraway.users, entraway.sessions, entraway.litellm_users,
             entraway.litellm_organization_members, entraway.litellm_team_members cascade;
    if to_regclass('public."LiteLLM_TeamTable"') is not null then
        truncate public."LiteLLM_TeamTable", public."LiteLLM_OrganizationTable", public."LiteLLM_UserTable",
                 public."LiteLLM_TeamMembership", public."LiteLLM_BudgetTable" cascade;
    end if;
end $$"#;

/// Content of the store before a measured sign-in.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    /// The groups, created by a sign-in of this user.
    Groups(ObjectId),
    /// Also the user's own rows.
    Everything(ObjectId),
}

/// Signs a user in several times, each time with the same initial state.
async fn measure(
    pool: &PgPool,
    entra: &Simulator,
    service: &Service,
    person: ObjectId,
    before: Before,
) -> anyhow::Result<Kind> {
    let (mut callback, mut own, mut store) = (vec![], vec![], vec![]);
    let (mut statements, mut transactions) = (0, 0);
    for run in 0..RUNS {
        prepare(pool, entra, service, before, run).await?;
        sqlx::query("select pg_stat_statements_reset()").execute(pool).await?;
        let took = ms(sign_in(entra, service, person).await?.callback);
        (statements, transactions) = counted(pool).await?;
        let (elsewhere_ms, store_ms) = last_run(pool).await?;
        callback.push(took);
        own.push(took - elsewhere_ms);
        store.push(store_ms);
    }
    let (callback_ms, own_ms, store_ms) = (median(&callback), median(&own), median(&store));
    Ok(Kind { statements, transactions, callback_ms, own_ms, store_ms })
}

async fn prepare(
    pool: &PgPool,
    entra: &Simulator,
    service: &Service,
    before: Before,
    run: usize,
) -> anyhow::Result<()> {
    match before {
        Before::Nothing => _ = sqlx::raw_sql(EMPTY).execute(pool).await?,
        Before::Groups(other) => {
            sqlx::raw_sql(EMPTY).execute(pool).await?;
            sign_in(entra, service, other).await?;
        }
        // A repeat does not change the state.
        Before::Everything(person) if run == 0 => {
            sqlx::raw_sql(EMPTY).execute(pool).await?;
            sign_in(entra, service, person).await?;
            // Otherwise autovacuum would analyze within a minute and invalidate the plans.
            sqlx::raw_sql("analyze").execute(pool).await?;
            for _ in 0..SETTLING {
                sign_in(entra, service, person).await?;
            }
        }
        Before::Everything(_) => {}
    }
    Ok(())
}

/// Number of statements since the reset of the statistics, and how many of them were `BEGIN`.
pub(crate) async fn counted(pool: &PgPool) -> anyhow::Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "select coalesce(sum(calls), 0)::bigint, coalesce(sum(calls) filter (where query ilike 'begin%'), 0)::bigint
         from pg_stat_statements
         where toplevel and dbid = (select oid from pg_database where datname = current_database())
           and query not like '%pg_stat_statements%'",
    )
    .fetch_one(pool)
    .await?)
}

/// Time that the last sign-in waited for Entra and Graph, and for Postgres.
pub(crate) async fn last_run(pool: &PgPool) -> anyhow::Result<(f64, f64)> {
    Ok(sqlx::query_as("select entra_ms + graph_ms, store_ms from entraway.sync_runs order by started_at desc limit 1")
        .fetch_one(pool)
        .await?)
}
