//! Measures sign-ins through the release binary, with the simulated Entra in this process and a private Postgres with
//! its default durability beside it, and writes `docs/performance.md`. Run it by `script/bench`.

mod driver;
mod pages;
mod report;

use std::sync::Arc;

use entraway::clock::Clock;
use entraway::domain::{GroupId, ObjectId, StoreKind};
use entraway::fake::{Directory, Fake, Options};
use entraway::pg::{Durability, PrivateCluster, litellm_migrations};
use sqlx::PgPool;
use tokio::net::TcpListener;

use driver::{Binary, median, sign_in, storm};
use report::{Measured, Report, Stormed, Sync};

const PEOPLE: usize = 1_000;
const RUNS: usize = 15;
const SIGN_INS: usize = 10_000;
const AT_ONCE: usize = 16;

/// What is measured: a store, how many groups are assigned, how many of them a person is in, and whether a storm of
/// sign-ins follows.
#[derive(Clone, Copy)]
struct Scene {
    store: StoreKind,
    groups: usize,
    in_groups: usize,
    storm: bool,
}

const SCENES: [Scene; 3] = [
    Scene { store: StoreKind::Native, groups: 250, in_groups: 10, storm: true },
    Scene { store: StoreKind::LiteLlm, groups: 250, in_groups: 10, storm: true },
    Scene { store: StoreKind::LiteLlm, groups: 200, in_groups: 200, storm: false },
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cluster = PrivateCluster::start(Durability::Real).await?;
    let mut pages = Vec::new();
    for store in [StoreKind::Native, StoreKind::LiteLlm] {
        pages.push((store, pages::run(&cluster, store).await?));
    }
    if std::env::args().any(|argument| argument == "--pages") {
        print!("{}", report::pages(&pages)?);
        return Ok(());
    }
    let mut measured = Vec::new();
    for (n, scene) in SCENES.into_iter().enumerate() {
        measured.push(run(&cluster, &format!("bench_{n}"), scene).await?);
    }
    let pool = PgPool::connect(&cluster.url("postgres")).await?;
    let postgres: String = sqlx::query_scalar("select current_setting('server_version')").fetch_one(&pool).await?;
    Report { postgres, measured, pages }.write()
}

async fn run(cluster: &PrivateCluster, database: &str, scene: Scene) -> anyhow::Result<Measured> {
    cluster.create_database(database, None).await?;
    if scene.store == StoreKind::LiteLlm {
        cluster.apply_migrations(database, &litellm_migrations()).await?;
    }
    let url = cluster.url(database);
    let pool = PgPool::connect(&url).await?;
    sqlx::query("create extension pg_stat_statements").execute(&pool).await?;

    let mut directory = Directory::new("contoso-sim.example");
    let people: Arc<[ObjectId]> = populate(&mut directory, scene).into();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let clock = Clock::system();
    let fake = Fake::start(listener, Options::new(directory, Arc::new(move || clock.now()))).await?;
    let binary = Arc::new(Binary::start(&url, scene.store, &fake).await?);
    let idle = binary.resident_memory()?;

    eprintln!("{database}: first sign-ins with {} new groups …", scene.groups);
    let first = measure(&pool, &fake, &binary, people[0], Before::Nothing).await?;
    eprintln!("{database}: first sign-ins of another person …");
    let another = measure(&pool, &fake, &binary, people[1], Before::Groups(people[0])).await?;
    eprintln!("{database}: repeated sign-ins …");
    let repeat = measure(&pool, &fake, &binary, people[1], Before::Everything(people[1])).await?;

    let mut stormed = None;
    if scene.storm {
        eprintln!("{database}: {SIGN_INS} sign-ins, {AT_ONCE} at a time …");
        storm(&fake, &binary, &people, PEOPLE, AT_ONCE).await?;
        let storm = storm(&fake, &binary, &people, SIGN_INS - PEOPLE, AT_ONCE).await?;
        stormed = Some(Stormed { storm, idle, after: binary.resident_memory()? });
    }
    fake.stop();
    Ok(Measured { scene, first, another, repeat, stormed })
}

fn populate(directory: &mut Directory, scene: Scene) -> Vec<ObjectId> {
    let groups: Vec<GroupId> = (0..scene.groups).map(|n| directory.group(&format!("Group {n:03}"))).collect();
    for &group in &groups {
        directory.assign(group);
    }
    let people = if scene.storm { PEOPLE } else { 2 };
    let people: Vec<ObjectId> = (0..people).map(|n| directory.person(&format!("Person {n:04}"), |_| {})).collect();
    let step = scene.groups / scene.in_groups;
    for (n, &person) in people.iter().enumerate() {
        for i in 0..scene.in_groups {
            directory.put(person, groups[(n * 7 + i * step) % scene.groups]);
        }
    }
    people
}

/// Makes either store empty.
const EMPTY: &str = r#"do $$ begin
    truncate entraway.organizations, entraway.teams, entraway.users, entraway.sessions, entraway.litellm_users,
             entraway.litellm_organization_members, entraway.litellm_team_members cascade;
    if to_regclass('public."LiteLLM_TeamTable"') is not null then
        truncate public."LiteLLM_TeamTable", public."LiteLLM_OrganizationTable", public."LiteLLM_UserTable",
                 public."LiteLLM_TeamMembership", public."LiteLLM_BudgetTable" cascade;
    end if;
end $$"#;

/// What is in the store before a measured sign-in.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    /// The groups, and a person who made them.
    Groups(ObjectId),
    /// The person's own rows too.
    Everything(ObjectId),
}

/// Signs one person in several times, each time from the same start; statements by what Postgres counted.
async fn measure(
    pool: &PgPool,
    fake: &Fake,
    binary: &Binary,
    person: ObjectId,
    before: Before,
) -> anyhow::Result<Sync> {
    let mut times = Vec::new();
    let mut statements = 0;
    let mut transactions = 0;
    for _ in 0..RUNS {
        sqlx::raw_sql(EMPTY).execute(pool).await?;
        if let Before::Groups(other) | Before::Everything(other) = before {
            sign_in(fake, binary, other).await?;
        }
        sqlx::query("select pg_stat_statements_reset()").execute(pool).await?;
        sign_in(fake, binary, person).await?;
        (statements, transactions) = sqlx::query_as(
            "select coalesce(sum(calls), 0)::bigint, coalesce(sum(calls) filter (where query ilike 'begin%'), 0)::bigint
             from pg_stat_statements
             where toplevel and dbid = (select oid from pg_database where datname = current_database())
               and query not like '%pg_stat_statements%'",
        )
        .fetch_one(pool)
        .await?;
        let ms: f64 = sqlx::query_scalar("select store_ms from entraway.sync_runs order by started_at desc limit 1")
            .fetch_one(pool)
            .await?;
        times.push(ms);
    }
    Ok(Sync { statements, transactions, ms: median(times) })
}
