//! The same sign-ins with a small and a large database.

use std::fmt::Write as _;

use anyhow::Context as _;
use entra_simulator::ObjectId;
use entraway::domain::StoreKind;
use pg_sandbox::PrivateCluster;
use sqlx::{AssertSqlSafe, PgPool};

use crate::browser::{median, ms, sign_in};
use crate::large::fill;
use crate::service::{Service, name};
use crate::sign_in::{counted, drop_database, last_run, start};
use crate::simulator::{Scene, Simulator};

const GROUPS: usize = 10;
const RUNS: usize = 15;
/// Users of the warm-up and of two measurements.
const SCENE: Scene = Scene { people: RUNS * 3, groups: GROUPS, in_groups: GROUPS, operator: false };

/// Active sessions of all users, last used some hours ago. Creating the indexes afterwards takes a tenth of the time.
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

/// A filled database and its service.
struct Filled {
    store: StoreKind,
    database: String,
    entra: Simulator,
    service: Service,
    pool: PgPool,
}

/// Measurements of one kind of sign-in.
#[derive(Default)]
struct Kind {
    statements: i64,
    own_ms: Vec<f64>,
}

/// First sign-ins and repeats.
type Kinds = [Kind; 2];

pub(crate) async fn run(cluster: &PrivateCluster) -> anyhow::Result<String> {
    let mut page = format!(
        "A user in {GROUPS} groups, organizations on. *Small* is 10 teams and 1,000 users, *large* 100,000 teams, 1,000,000 users and\n\
         10,000,000 live sessions. *A large team* is the large database, with 200,000 more members in one of the user's teams.\n\
         Milliseconds from the browser's return to the answer, without waiting for Entra and Graph; medians of {RUNS}.\n\
         Both databases exist at the same time, and users sign in to them alternately.\n\n\
         | store | sign-in | statements | small, ms | large, ms | ratio | small again, ms | a large team, ms | ratio |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for store in [StoreKind::Native, StoreKind::LiteLlm] {
        let small = Filled::new(cluster, store, 10, 1_000, 1_000).await?;
        let large = Filled::new(cluster, store, 100_000, 1_000_000, 10_000_000).await?;
        // Warm-up: creates the teams, prepares statements and fills caches.
        by_turns(&small, &large, 0).await?;
        let before = by_turns(&small, &large, 1).await?;
        large.enlarge_a_team().await?;
        let after = by_turns(&small, &large, 2).await?;
        for (n, what) in ["a user's first", "a repeat"].into_iter().enumerate() {
            let all = [&before[0][n], &before[1][n], &after[0][n], &after[1][n]];
            let mut statements: Vec<String> = all.iter().map(|kind| kind.statements.to_string()).collect();
            statements.dedup();
            let [small, large, small_again, team] = all.map(|kind| median(&kind.own_ms));
            writeln!(
                page,
                "| `{}` | {what} | {} | {small:.1} | {large:.1} | {:.2} | {small_again:.1} | {team:.1} | {:.2} |",
                name(store),
                statements.join(", "),
                large / small,
                team / small_again
            )?;
        }
        small.end(cluster).await?;
        large.end(cluster).await?;
    }
    Ok(page)
}

/// Signs all users of this part in, alternately with the two databases; twice.
async fn by_turns(small: &Filled, large: &Filled, part: usize) -> anyhow::Result<[Kinds; 2]> {
    let mut kinds = <[Kinds; 2]>::default();
    for kind in 0..2 {
        for n in part * RUNS..(part + 1) * RUNS {
            for (filled, kinds) in [small, large].into_iter().zip(&mut kinds) {
                filled.measure(filled.entra.people()[n], &mut kinds[kind]).await?;
            }
        }
    }
    Ok(kinds)
}

impl Filled {
    async fn new(
        cluster: &PrivateCluster,
        store: StoreKind,
        teams: usize,
        people: usize,
        sessions: usize,
    ) -> anyhow::Result<Self> {
        let database = format!("growth_{}_{teams}", name(store));
        eprintln!("{database}: filling …");
        let (entra, service, pool) = start(cluster, &database, store, SCENE).await?;
        fill(&pool, store, teams, people).await?;
        let sessions = SESSIONS.replace("SESSIONS", &sessions.to_string());
        sqlx::raw_sql(AssertSqlSafe(sessions)).execute(&pool).await?;
        let filled = Self { store, database, entra, service, pool };
        filled.settle().await?;
        Ok(filled)
    }

    /// Updates statistics and writes a checkpoint, so that Postgres does neither during a measurement.
    async fn settle(&self) -> anyhow::Result<()> {
        sqlx::raw_sql("vacuum analyze").execute(&self.pool).await?;
        sqlx::raw_sql("checkpoint").execute(&self.pool).await?;
        Ok(())
    }

    async fn enlarge_a_team(&self) -> anyhow::Result<()> {
        let (_, members) = MEMBERS.into_iter().find(|(kind, _)| *kind == self.store).context("no members")?;
        sqlx::query(members).bind(&self.entra.facts.groups[0]).execute(&self.pool).await?;
        self.settle().await
    }

    async fn measure(&self, person: ObjectId, kind: &mut Kind) -> anyhow::Result<()> {
        sqlx::query("select pg_stat_statements_reset()").execute(&self.pool).await?;
        let took = ms(sign_in(&self.entra, &self.service, person).await?.callback);
        (kind.statements, _) = counted(&self.pool).await?;
        kind.own_ms.push(took - last_run(&self.pool).await?.0);
        Ok(())
    }

    async fn end(self, cluster: &PrivateCluster) -> anyhow::Result<()> {
        drop(self.service);
        self.pool.close().await;
        drop_database(cluster, &self.database).await
    }
}
