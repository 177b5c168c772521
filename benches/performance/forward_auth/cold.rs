//! `/auth/verify` with sessions that are not cached, each of which needs a database read, compared with `pgbench` on
//! the same server.

use std::fmt::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use entraway::domain::StoreKind;
use pg_sandbox::PrivateCluster;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::process::Command;

use crate::browser::median;
use crate::service::{Folder, Service};
use crate::simulator::{Scene, Simulator};
use crate::wrk;

const SESSIONS: usize = 100_000;
const SECONDS: usize = 4;
const ROUNDS: usize = 3;

/// SQL that creates the sessions. Each has its own user, who is in some of a thousand organizations and teams. They are
/// used in another order than that of their creation, because token hashes are random.
pub(crate) fn fill(groups: u8) -> String {
    format!(
        "
    insert into entraway.organizations (organization_id, organization_alias, models)
    select md5('g' || n)::uuid, 'Group ' || n, '{{}}' from generate_series(0, 999) n;
    insert into entraway.teams (team_id, team_alias, organization_id, models)
    select organization_id, organization_alias, organization_id, '{{all-org-models}}' from entraway.organizations;
    insert into entraway.users (user_id, tenant_id, object_id, user_email, user_alias, user_role)
    select id, id, id, 'person' || n || '@contoso.example', 'Person ' || n, 'internal_user'
    from generate_series(1, {SESSIONS}) n, cast(md5(n::text) as uuid) id;
    insert into entraway.team_members (user_id, team_id, source)
    select md5(n::text)::uuid, md5('g' || (n * 7 + i * 331) % 1000)::uuid, 'entra'
    from generate_series(1, {SESSIONS}) n, generate_series(1, {groups}) i;
    insert into entraway.organization_members (user_id, organization_id, user_role, source)
    select user_id, team_id, 'internal_user', source from entraway.team_members;
    insert into entraway.sessions (token_hash, user_id, tenant_id, sign_in_address, created_at, last_seen_at, expires_at)
    select sha256(token::bytea), md5(n::text)::uuid, md5(n::text)::uuid, 'person' || n || '@contoso.example', now(), now(),
           now() + interval '10 hours'
    from generate_series(1, {SESSIONS}) n,
         rtrim(translate(encode(sha256(n::text::bytea), 'base64'), '+/', '-_'), '=') token;
"
    )
}

/// Tokens of these sessions.
pub(crate) const TOKENS: &str = "
    select rtrim(translate(encode(sha256(n::text::bytea), 'base64'), '+/', '-_'), '=') from generate_series(1, 100000) n
    order by md5(n::text)";

/// Each thread of wrk has its own half of the sessions and fails if they run out.
const SCRIPT: &str = r#"
local tokens, thread = {}, 0
function setup(it) it:set("thread_number", thread); thread = thread + 1 end
function init()
    local n = 0
    for token in io.lines("TOKENS") do
        if n % 2 == thread_number then tokens[#tokens + 1] = token end
        n = n + 1
    end
    position = 0
end
function request()
    position = position + 1
    if position > #tokens then io.stderr:write("no sessions left\n"); os.exit(1) end
    return wrk.format("GET", nil, { Cookie = "entraway=" .. tokens[position] })
end
"#;

pub(crate) async fn run(cluster: &PrivateCluster) -> anyhow::Result<String> {
    cluster.create_database("cold", None).await?;
    let url = cluster.url("cold");
    let entra = Simulator::start(Scene { people: 1, groups: 1, in_groups: 1, operator: false })?;
    // Migrates the database.
    drop(Service::start(&url, StoreKind::Native, &entra.facts).await?);
    let pool = PgPool::connect(&url).await?;
    sqlx::raw_sql("create extension pg_stat_statements").execute(&pool).await?;
    sqlx::raw_sql(AssertSqlSafe(fill(3))).execute(&pool).await?;
    // As after some days: reads find no pending work of the inserts.
    sqlx::raw_sql("vacuum analyze").execute(&pool).await?;
    sqlx::raw_sql("checkpoint").execute(&pool).await?;
    let folder = Folder::new()?;
    let tokens: Vec<String> = sqlx::query_scalar(TOKENS).fetch_all(&pool).await?;
    ensure!(tokens.len() == SESSIONS, "{} sessions", tokens.len());
    let tokens = folder.file("tokens", &(tokens.join("\n") + "\n"))?;
    let script = folder.file("cold.lua", &SCRIPT.replace("TOKENS", &tokens.display().to_string()))?;
    pgbench(&url, &["-i", "-q", "-s", "1"]).await?;

    let (mut ours, mut p99, mut simple, mut prepared) = (vec![], vec![], vec![], vec![]);
    let (mut statements, mut requests) = (0, 0.0);
    for _ in 0..ROUNDS {
        simple.push(transactions(&url, "simple").await?);
        prepared.push(transactions(&url, "prepared").await?);
        // A new process has an empty cache.
        let service = Service::start(&url, StoreKind::Native, &entra.facts).await?;
        sqlx::query("select pg_stat_statements_reset()").execute(&pool).await?;
        let load = wrk::run(&format!("{}/auth/verify", service.url()), "", Some(&script), SECONDS).await?;
        statements += sqlx::query_scalar::<_, i64>(
            "select sum(calls)::bigint from pg_stat_statements
             where query like '%entraway.sessions%' and dbid = (select oid from pg_database where datname = 'cold')",
        )
        .fetch_one(&pool)
        .await?;
        #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
        let seconds = SECONDS as f64;
        requests += load.a_second * seconds;
        ours.push(load.a_second);
        p99.push(load.p99_ms);
    }
    let mut page = format!(
        "{SESSIONS} sessions of as many users, each in three organizations and teams, requested once each in random order from a\n\
         process with an empty cache; beside `pgbench -S` with as many clients on the same server. Postgres counted\n\
         {:.2} statements per request. Medians of {ROUNDS} runs of {SECONDS} s.\n\n",
        f64::from(i32::try_from(statements)?) / requests
    );
    let (ours, simple, prepared) = (median(&ours), median(&simple), median(&prepared));
    writeln!(page, "| what | requests/s | of `pgbench -S` |\n|---|---|---|")?;
    writeln!(page, "| `/auth/verify`, p99 {:.1} ms | {ours:.0} | {:.2} |", median(&p99), ours / simple)?;
    writeln!(page, "| `pgbench -S` | {simple:.0} | 1.00 |")?;
    writeln!(page, "| `pgbench -S -M prepared` | {prepared:.0} | {:.2} |", prepared / simple)?;
    Ok(page)
}

async fn transactions(url: &str, mode: &str) -> anyhow::Result<f64> {
    let text = pgbench(url, &["-S", "-n", "-M", mode, "-c32", "-j2", &format!("-T{SECONDS}")]).await?;
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let line = line.with_context(|| format!("unexpected output of pgbench: {text}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

async fn pgbench(url: &str, options: &[&str]) -> anyhow::Result<String> {
    let program = ["/usr/lib/postgresql/15/bin/pgbench", "/usr/lib/postgresql/18/bin/pgbench"];
    let program = program.into_iter().find(|path| std::path::Path::new(path).exists()).unwrap_or("pgbench");
    let output =
        Command::new(program).args(options).arg(url).stderr(Stdio::piped()).output().await.context("no pgbench")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}
