//! Pages of an operator with 100,000 teams, 1,000,000 users and as many memberships and sync records, in either store.
//! LiteLLM's tables have the indexes of `docs/litellm-indexes.sql`.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entraway::domain::StoreKind;
use pg_sandbox::PrivateCluster;
use serde_json::json;

use crate::browser::{ms, share, sign_in};
use crate::large::fill;
use crate::service::{Service, name};
use crate::sign_in::{drop_database, start};
use crate::simulator::Scene;

const TEAMS: usize = 100_000;
const PEOPLE: usize = 1_000_000;
/// Number of loads per page.
const LOADS: usize = 200;

/// Time from the request to the end of the response.
struct Page {
    what: String,
    path: String,
    p50_ms: f64,
    p99_ms: f64,
}

const FILL_SYNCS: &str = "
    insert into entraway.sync_runs
           (user_id, tenant_id, started_at, assigned_groups, member_of, organizations_created, teams_created,
            organizations_joined, teams_joined, user_created, user_updated, failures, notes, graph_ms, store_ms, touched)
    select md5(n::text)::uuid::text, md5(n::text)::uuid, now() - n * interval '5 seconds',
           'known', case when n % 1000 = 0 then 'unknown' else 'known' end, '{}', '{}', '{}', '{}', false, false, '[]', '[]',
           1, 1, case when n % 50 = 0 then array['g' || n % 100000 + 1] else '{}' end
    from generate_series(1, 1000000) n;
    analyze;";

pub(crate) async fn run(cluster: &PrivateCluster) -> anyhow::Result<String> {
    let mut text = format!(
        "With {TEAMS} organizations and teams, {PEOPLE} users, memberships of each kind and sync records, for an operator. From the\n\
         request to the complete page, in milliseconds, of {LOADS} consecutive loads. The litellm store has the indexes of\n\
         [litellm-indexes.sql](../litellm-indexes.sql). The native store's team has 200,000 members, the other one's 10.\n"
    );
    for store in [StoreKind::Native, StoreKind::LiteLlm] {
        let database = format!("pages_{}", name(store));
        writeln!(text, "\n| store `{}` | path | p50 | p99 |\n|---|---|---|---|", name(store))?;
        for Page { what, path, p50_ms, p99_ms } in load_all(cluster, &database, store).await? {
            writeln!(text, "| {what} | `{path}` | {p50_ms:.1} | {p99_ms:.1} |")?;
        }
        drop_database(cluster, &database).await?;
    }
    Ok(text)
}

/// Fills a database and loads all pages.
async fn load_all(cluster: &PrivateCluster, database: &str, store: StoreKind) -> anyhow::Result<Vec<Page>> {
    let scene = Scene { people: 1, groups: 0, in_groups: 0, operator: true };
    let (entra, service, pool) = start(cluster, database, store, scene).await?;
    eprintln!("{database}: filling …");
    fill(&pool, store, TEAMS, PEOPLE).await?;
    sqlx::raw_sql(FILL_SYNCS).execute(&pool).await?;
    sqlx::raw_sql("vacuum").execute(&pool).await?;

    let cookie = sign_in(&entra, &service, entra.people()[0]).await?.cookie;
    let mut pages = Vec::new();
    for (what, path) in [
        ("teams", "/teams"),
        ("teams, newest first", "/teams?sort=newest"),
        ("teams, a rare word", "/teams?search=9f1408cf"),
        ("organizations", "/organizations"),
        ("users", "/people"),
        ("users, newest first", "/people?sort=newest"),
        ("users, a rare word", "/people?search=9f1408cf"),
        ("users, a prefix that 4,000 have", "/people?search=9f"),
        ("a team with its members", "/teams/g1"),
        ("an organization with its members", "/organizations/g1"),
        ("a user", "/people/c4ca4238-a0b9-2382-0dcc-509a6f75849b"),
        ("a user, explained", "/people/c4ca4238-a0b9-2382-0dcc-509a6f75849b/explain"),
        ("sync records, with the chart", "/syncs"),
        ("sync records with trouble", "/syncs?trouble=1"),
        ("sync records of a group", "/syncs?group=g51"),
        ("the own page", "/"),
    ] {
        pages.push(load(&service, &cookie, what, path).await?);
    }
    for (name, path) in [("teams", "/teams"), ("users", "/people")] {
        let middle = after_the_middle(&service, &cookie, path).await?;
        pages.push(load(&service, &cookie, &format!("{name}, in the middle of the list"), &middle).await?);
    }
    Ok(pages)
}

async fn load(service: &Service, cookie: &str, what: &str, path: &str) -> anyhow::Result<Page> {
    let mut times = Vec::new();
    for n in 0..LOADS + 5 {
        let begin = Instant::now();
        let response = service.get(path, cookie).await?;
        ensure!(response.status() == 200, "{path} returned {}", response.status());
        response.bytes().await?;
        // The first loads prepare statements and fill caches.
        if n >= 5 {
            times.push(ms(begin.elapsed()));
        }
    }
    let (p50_ms, p99_ms) = (share(&times, 0.5), share(&times, 0.99));
    let path = path.split_once("after=").map_or(path.to_owned(), |(path, _)| format!("{path}after=…"));
    Ok(Page { what: what.to_owned(), path, p50_ms, p99_ms })
}

/// Path of a page in the middle of the list.
async fn after_the_middle(service: &Service, cookie: &str, path: &str) -> anyhow::Result<String> {
    // Names are hexadecimal: half of them begin with a digit up to 7.
    let search = if path == "/teams" { "group 8" } else { "person 8" };
    let cursor = serde_json::to_vec(&json!({ "n": [search, ""] }))?;
    let path = format!("{path}?after={}", URL_SAFE_NO_PAD.encode(cursor));
    let body = service.get(&path, cookie).await?.text().await?;
    ensure!(body.contains("rel=\"prev\"") && body.contains("rel=\"next\""), "{path} is not in the middle of a list");
    Ok(path)
}
