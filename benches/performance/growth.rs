//! The same sign-ins over a small database and a large one.

use std::fmt::Write as _;

use anyhow::Context as _;
use entraway::domain::{ObjectId, StoreKind};
use entraway::pg::PrivateCluster;
use sqlx::{AssertSqlSafe, PgPool};

use crate::browser::{median, ms, sign_in};
use crate::large::fill;
use crate::service::{Service, name};
use crate::sign_in::{counted, drop_database, last_run, start};
use crate::simulator::{Scene, Simulator};

const GROUPS: usize = 10;
const RUNS: usize = 15;
const PEOPLE_OF_LARGE: usize = 1_000_000;
/// Of each kind there is a measured sign-in for each of so many people; and in each database two times.
const SCENE: Scene = Scene { people: RUNS * 4, groups: GROUPS, in_groups: GROUPS, operator: false };

/// Alive, of all people, last used some hours ago. The indexes are made afterwards, which takes a tenth of the time.
const SESSIONS: &str = "do $$
    declare
        indexes text[] := array(select indexdef from pg_indexes where schemaname = 'entraway' and tablename = 'sessions'
                                and indexname <> 'sessions_pkey');
        one text;
    begin
        for one in select indexname from pg_indexes where schemaname = 'entraway' and tablename = 'sessions'
                   and indexname <> 'sessions_pkey' loop
            execute format('drop index entraway.%I', one);
        end loop;
        alter table entraway.sessions drop constraint sessions_pkey;
        insert into entraway.sessions (token_hash, user_id, tenant_id, created_at, last_seen_at, expires_at)
        select sha256(n::text::bytea), id::text, id, now() - interval '5 hours', now() - interval '4 hours',
               now() + interval '5 hours'
        from generate_series(1, SESSIONS) n, cast(md5((n % 1000000)::text) as uuid) id;
        alter table entraway.sessions add primary key (token_hash);
        foreach one in array indexes loop
            execute one;
        end loop;
    end $$";

/// 200,000 more members of one team.
const MEMBERS: [(StoreKind, &str); 2] = [
    (
        StoreKind::Native,
        "insert into entraway.team_members (user_id, team_id, source)
         select md5(n::text)::uuid::text, $1, 'entra' from generate_series(1, 200000) n
         on conflict do nothing",
    ),
    (
        StoreKind::LiteLlm,
        r#"update public."LiteLLM_TeamTable"
           set members_with_roles = members_with_roles || (
               select jsonb_agg(jsonb_build_object('user_id', md5(n::text)::uuid::text, 'role', 'user'))
               from generate_series(1, 200000) n)
           where team_id = $1"#,
    ),
];

struct Kind {
    statements: i64,
    own_ms: f64,
}

pub(crate) async fn run(cluster: &PrivateCluster) -> anyhow::Result<String> {
    let mut page = format!(
        "A person in {GROUPS} groups, organizations on; *small* is 10 teams and 1,000 people, *large* 100,000 teams, 1,000,000 people and\n\
         10,000,000 sessions that are alive. *A large team* is the large database where one of the person's teams has 200,000 more\n\
         members. Milliseconds are from the browser's return to the answer, without the waiting for Entra and Graph; the medians of {RUNS}.\n\n\
         | store | sign-in | statements | small, ms | large, ms | ratio | a large team, ms | ratio |\n|---|---|---|---|---|---|---|---|\n"
    );
    for store in [StoreKind::Native, StoreKind::LiteLlm] {
        let (small, _) = database(cluster, store, 10, 1_000, 1_000).await?;
        let (large, team) = database(cluster, store, 100_000, PEOPLE_OF_LARGE, 10_000_000).await?;
        let team = team.context("a large team")?;
        for (n, what) in ["a person's first", "a repeat"].into_iter().enumerate() {
            let (small, large, team) = (&small[n], &large[n], &team[n]);
            let statements = if small.statements == large.statements && large.statements == team.statements {
                small.statements.to_string()
            } else {
                format!("{}, {}, {}", small.statements, large.statements, team.statements)
            };
            writeln!(
                page,
                "| `{}` | {what} | {statements} | {:.1} | {:.1} | {:.2} | {:.1} | {:.2} |",
                name(store),
                small.own_ms,
                large.own_ms,
                large.own_ms / small.own_ms,
                team.own_ms,
                team.own_ms / small.own_ms
            )?;
        }
    }
    Ok(page)
}

/// Postgres knows its tables, and does not write them to the disk while others are measured.
async fn settle(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::raw_sql("vacuum analyze").execute(pool).await?;
    sqlx::raw_sql("checkpoint").execute(pool).await?;
    Ok(())
}

/// First sign-ins and repeats, before one team became large, and afterwards where there are people for it.
async fn database(
    cluster: &PrivateCluster,
    store: StoreKind,
    teams: usize,
    people: usize,
    sessions: usize,
) -> anyhow::Result<([Kind; 2], Option<[Kind; 2]>)> {
    let database = format!("growth_{}_{teams}", name(store));
    eprintln!("{database}: filling …");
    let (entra, service, pool) = start(cluster, &database, store, SCENE).await?;
    fill(&pool, store, teams, people).await?;
    let sessions = SESSIONS.replace("SESSIONS", &sessions.to_string());
    sqlx::raw_sql(AssertSqlSafe(sessions)).execute(&pool).await?;
    settle(&pool).await?;
    let everybody = entra.people();
    let (warm, rest) = everybody.split_at(RUNS);
    let (before, rest) = rest.split_at(RUNS);
    // Makes the teams, and lets statements be prepared and caches be filled.
    kinds(&pool, &entra, &service, warm).await?;
    eprintln!("{database}: signing in …");
    let without = kinds(&pool, &entra, &service, before).await?;
    let mut with = None;
    if people == PEOPLE_OF_LARGE {
        let (_, members) = MEMBERS.into_iter().find(|(kind, _)| *kind == store).context("no members")?;
        sqlx::query(members).bind(&entra.facts.groups[0]).execute(&pool).await?;
        settle(&pool).await?;
        with = Some(kinds(&pool, &entra, &service, &rest[..RUNS]).await?);
    }
    drop(service);
    pool.close().await;
    drop_database(cluster, &database).await?;
    Ok((without, with))
}

async fn kinds(pool: &PgPool, entra: &Simulator, service: &Service, people: &[ObjectId]) -> anyhow::Result<[Kind; 2]> {
    Ok([measure(pool, entra, service, people).await?, measure(pool, entra, service, people).await?])
}

async fn measure(pool: &PgPool, entra: &Simulator, service: &Service, people: &[ObjectId]) -> anyhow::Result<Kind> {
    let (mut own, mut statements) = (vec![], 0);
    for &person in people {
        sqlx::query("select pg_stat_statements_reset()").execute(pool).await?;
        let took = ms(sign_in(entra, service, person).await?.callback);
        (statements, _) = counted(pool).await?;
        own.push(took - last_run(pool).await?.0);
    }
    Ok(Kind { statements, own_ms: median(&own) })
}
