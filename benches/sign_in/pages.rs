//! The pages of somebody who sees everything, over 100,000 teams, 1,000,000 people and as many memberships and sync
//! records, in either store; the litellm store with the indexes of `docs/litellm-indexes.sql`.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entraway::clock::Clock;
use entraway::domain::StoreKind;
use entraway::fake::{Directory, Fake, Options};
use entraway::pg::{PrivateCluster, litellm_migrations};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::net::TcpListener;

use crate::driver::{Binary, session};

pub(crate) const TEAMS: usize = 100_000;
pub(crate) const PEOPLE: usize = 1_000_000;
/// Each page is loaded this often.
pub(crate) const LOADS: usize = 200;

/// How long a page takes, from the request to the whole answer.
pub(crate) struct Page {
    pub(crate) what: String,
    pub(crate) path: String,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Alphabetical and temporal order have nothing to do with each other, and names nothing with ids.
const FILL: [(StoreKind, &str); 2] = [
    (
        StoreKind::Native,
        "insert into entraway.organizations (organization_id, organization_alias, models, max_budget, created_at)
         select 'g' || n, 'Group ' || md5(n::text), '{gpt-4}', 100, timestamp '2020-01-01' + n * interval '1 minute'
         from generate_series(1, 100000) n;
         insert into entraway.teams (team_id, team_alias, organization_id, models, max_budget, created_at)
         select organization_id, organization_alias, organization_id, '{all-org-models}', 100, created_at
         from entraway.organizations;
         insert into entraway.users (user_id, tenant_id, object_id, user_email, user_alias, user_role, created_at)
         select id, id, id, md5(n::text) || '@contoso.example', 'Person ' || md5(n::text), 'internal_user',
                timestamp '2020-01-01' + n * interval '1 second'
         from generate_series(1, 1000000) n, cast(md5(n::text) as uuid) id;
         insert into entraway.team_members (user_id, team_id, source, created_at)
         select md5(n::text)::uuid::text, case when n % 5 = 0 then 'g1' else 'g' || n % 100000 + 1 end, 'entra',
                timestamp '2021-01-01' + n * interval '1 second'
         from generate_series(1, 1000000) n;
         insert into entraway.organization_members (user_id, organization_id, user_role, source, created_at)
         select user_id, team_id, 'internal_user', source, created_at from entraway.team_members;",
    ),
    (
        StoreKind::LiteLlm,
        r#"insert into public."LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by)
         values ('b', 100, 'x', 'x');
         insert into public."LiteLLM_OrganizationTable"
                (organization_id, organization_alias, budget_id, models, created_at, created_by, updated_by)
         select 'g' || n, 'Group ' || md5(n::text), 'b', '{gpt-4}', timestamp '2020-01-01' + n * interval '1 minute', 'x', 'x'
         from generate_series(1, 100000) n;
         insert into public."LiteLLM_TeamTable"
                (team_id, team_alias, organization_id, admins, members, members_with_roles, models, max_budget, created_at)
         select 'g' || n, 'Group ' || md5(n::text), 'g' || n, '{}', '{}', roster.members, '{all-org-models}', 100,
                timestamp '2020-01-01' + n * interval '1 minute'
         from generate_series(1, 100000) n, lateral (
             select coalesce(jsonb_agg(jsonb_build_object('user_id', md5(p::text)::uuid::text, 'role', 'user')), '[]') as members
             from generate_series(n - 1 + case when n = 1 then 100000 else 0 end, 1000000, 100000) p) roster;
         insert into public."LiteLLM_UserTable" (user_id, user_email, user_alias, user_role, teams, models, created_at)
         select md5(n::text)::uuid::text, md5(n::text) || '@contoso.example', 'Person ' || md5(n::text), 'internal_user',
                array['g' || n % 100000 + 1], '{}', timestamp '2020-01-01' + n * interval '1 second'
         from generate_series(1, 1000000) n;
         insert into public."LiteLLM_TeamMembership" (user_id, team_id)
         select md5(n::text)::uuid::text, 'g' || n % 100000 + 1 from generate_series(1, 1000000) n;
         insert into public."LiteLLM_OrganizationMembership" (user_id, organization_id, user_role, created_at)
         select md5(n::text)::uuid::text, 'g' || n % 100000 + 1, 'internal_user',
                timestamp '2021-01-01' + n * interval '1 second'
         from generate_series(1, 1000000) n;"#,
    ),
];

const FILL_SYNCS: &str = "
    insert into entraway.sync_runs
           (user_id, tenant_id, started_at, assigned_groups, member_of, organizations_created, teams_created,
            organizations_joined, teams_joined, user_created, user_updated, failures, notes, graph_ms, store_ms, touched)
    select md5(n::text)::uuid::text, md5(n::text)::uuid, now() - n * interval '5 seconds',
           'known', case when n % 1000 = 0 then 'unknown' else 'known' end, '{}', '{}', '{}', '{}', false, false, '[]', '[]',
           1, 1, case when n % 50 = 0 then array['g' || n % 100000 + 1] else '{}' end
    from generate_series(1, 1000000) n;
    analyze;";

/// Fills a database and loads the pages.
pub(crate) async fn run(cluster: &PrivateCluster, store: StoreKind) -> anyhow::Result<Vec<Page>> {
    let database = if store == StoreKind::Native { "pages_native" } else { "pages_litellm" };
    cluster.create_database(database, None).await?;
    if store == StoreKind::LiteLlm {
        cluster.apply_migrations(database, &litellm_migrations()).await?;
    }
    let url = cluster.url(database);
    let pool = PgPool::connect(&url).await?;
    let mut directory = Directory::new("contoso-sim.example");
    let ada = directory.person("Ada Min", |person| person.app_roles = vec!["proxy_admin".to_owned()]);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let clock = Clock::system();
    let fake = Fake::start(listener, Options::new(directory, Arc::new(move || clock.now()))).await?;
    let binary = Binary::start(&url, store, &fake).await?;
    eprintln!("{database}: filling …");
    let (_, fill) = FILL.into_iter().find(|(kind, _)| *kind == store).context("a store without data")?;
    sqlx::raw_sql(fill).execute(&pool).await?;
    if store == StoreKind::LiteLlm {
        let script = include_str!("../../docs/litellm-indexes.sql");
        let script: String = script.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        for statement in script.split(';').filter(|statement| !statement.trim().is_empty()) {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&pool).await?;
        }
    }
    sqlx::raw_sql(FILL_SYNCS).execute(&pool).await?;
    sqlx::raw_sql("vacuum").execute(&pool).await?;

    let cookie = session(&fake, &binary, ada).await?;
    let mut pages = Vec::new();
    for (what, path) in [
        ("teams", "/teams"),
        ("teams, the newest", "/teams?sort=newest"),
        ("teams, a rare word", "/teams?search=9f1408cf"),
        ("organizations", "/organizations"),
        ("people", "/people"),
        ("people, the newest", "/people?sort=newest"),
        ("people, a rare word", "/people?search=9f1408cf"),
        ("people, the beginning of a word that 4,000 have", "/people?search=9f"),
        ("a team with its members", "/teams/g1"),
        ("an organization with its members", "/organizations/g1"),
        ("a person", "/people/c4ca4238-a0b9-2382-0dcc-509a6f75849b"),
        ("a person, explained", "/people/c4ca4238-a0b9-2382-0dcc-509a6f75849b/explain"),
        ("sync records, with the chart", "/syncs"),
        ("sync records with trouble", "/syncs?trouble=1"),
        ("sync records of a group", "/syncs?group=g51"),
        ("one's own page", "/"),
    ] {
        pages.push(load(&binary, &cookie, what, path).await?);
    }
    for path in ["/teams", "/people"] {
        let middle = after_the_middle(&binary, &cookie, path).await?;
        let (_, name) = path.split_at(1);
        pages.push(load(&binary, &cookie, &format!("{name}, in the middle of the list"), &middle).await?);
    }
    fake.stop();
    Ok(pages)
}

async fn load(binary: &Binary, cookie: &str, what: &str, path: &str) -> anyhow::Result<Page> {
    let mut times = Vec::new();
    for n in 0..LOADS + 5 {
        let begin = Instant::now();
        let response = binary.get(path, cookie).await?;
        ensure!(response.status() == 200, "{path} answered {}", response.status());
        response.bytes().await?;
        // The first ones prepare statements and fill caches.
        if n >= 5 {
            times.push(begin.elapsed().as_secs_f64() * 1_000.0);
        }
    }
    times.sort_by(f64::total_cmp);
    let (p50_ms, p99_ms) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let path = path.split_once("after=").map_or(path.to_owned(), |(path, _)| format!("{path}after=…"));
    Ok(Page { what: what.to_owned(), path, p50_ms, p99_ms })
}

/// The page behind the first one that begins with this name.
async fn after_the_middle(binary: &Binary, cookie: &str, path: &str) -> anyhow::Result<String> {
    // Half of the names begin with a digit up to 7.
    let search = if path == "/teams" { "group 8" } else { "person 8" };
    let cursor = serde_json::to_vec(&json!({ "n": [search, ""] }))?;
    let path = format!("{path}?after={}", URL_SAFE_NO_PAD.encode(cursor));
    let body = binary.get(&path, cookie).await?.text().await?;
    ensure!(body.contains("rel=\"prev\"") && body.contains("rel=\"next\""), "{path} is in the middle of no list");
    Ok(path)
}
