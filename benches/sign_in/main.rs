//! Measures sign-ins through the release binary, with the simulated Entra in this process and a private Postgres with
//! its default durability beside it, and writes `docs/performance.md`. Run it by `script/bench`.

mod driver;
mod report;

use std::sync::Arc;

use entraway::clock::Clock;
use entraway::domain::{GroupId, ObjectId};
use entraway::fake::{Directory, Fake, Options};
use entraway::pg::{Durability, PrivateCluster};
use sqlx::PgPool;
use tokio::net::TcpListener;

use driver::{Binary, median, sign_in, storm};
use report::{Report, Sync};

const DATABASE: &str = "bench";
const GROUPS: usize = 250;
const IN_GROUPS: usize = 10;
const PEOPLE: usize = 1_000;
const RUNS: usize = 15;
const SIGN_INS: usize = 10_000;
const AT_ONCE: usize = 16;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cluster = PrivateCluster::start(Durability::Real).await?;
    cluster.create_database(DATABASE, None).await?;
    let pool = PgPool::connect(&cluster.url(DATABASE)).await?;
    sqlx::query("create extension pg_stat_statements").execute(&pool).await?;

    let mut directory = Directory::new("contoso-sim.example");
    let people: Arc<[ObjectId]> = populate(&mut directory).into();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let clock = Clock::system();
    let fake = Fake::start(listener, Options::new(directory, Arc::new(move || clock.now()))).await?;
    let binary = Arc::new(Binary::start(&cluster.url(DATABASE), &fake).await?);
    let idle = binary.resident_memory()?;

    eprintln!("first sign-ins with {GROUPS} new groups …");
    let first = measure(&pool, &fake, &binary, people[0], Before::Nothing).await?;
    eprintln!("first sign-ins of another person …");
    let another = measure(&pool, &fake, &binary, people[1], Before::Groups(people[0])).await?;
    eprintln!("repeated sign-ins …");
    let repeat = measure(&pool, &fake, &binary, people[1], Before::Everything(people[1])).await?;

    eprintln!("{SIGN_INS} sign-ins, {AT_ONCE} at a time …");
    storm(&fake, &binary, &people, PEOPLE, AT_ONCE).await?;
    let storm = storm(&fake, &binary, &people, SIGN_INS - PEOPLE, AT_ONCE).await?;
    let after = binary.resident_memory()?;

    let postgres: String = sqlx::query_scalar("select current_setting('server_version')").fetch_one(&pool).await?;
    Report { postgres, first, another, repeat, storm, idle, after }.write()
}

fn populate(directory: &mut Directory) -> Vec<ObjectId> {
    let groups: Vec<GroupId> = (0..GROUPS).map(|n| directory.group(&format!("Group {n:03}"))).collect();
    for &group in &groups {
        directory.assign(group);
    }
    let people: Vec<ObjectId> = (0..PEOPLE).map(|n| directory.person(&format!("Person {n:04}"), |_| {})).collect();
    for (n, &person) in people.iter().enumerate() {
        for step in 0..IN_GROUPS {
            directory.put(person, groups[(n * 7 + step * 25) % GROUPS]);
        }
    }
    people
}

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
        sqlx::query("truncate entraway.organizations, entraway.teams, entraway.users, entraway.sessions cascade")
            .execute(pool)
            .await?;
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
