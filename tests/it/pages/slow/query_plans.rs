//! Query plans of lists on generated data, as logged by `auto_explain` while the pages run. No large table is scanned,
//! and no page reads many more rows than it shows.

use std::time::Duration;

use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::super::{Actor, Cast};
use crate::support::{LiteLlm, Native, World, cluster};

const INDEXES: &str = include_str!("../../../../docs/litellm-indexes.sql");

/// 20,000 organizations with a team each, 100,000 users, half of them in one team, and 100,000 sync records.
const FILL_NATIVE: &str = "
    insert into entraway.organizations (organization_id, organization_alias, created_at)
    select 'g' || n, 'Group ' || md5(n::text), timestamp '2020-01-01' + n * interval '1 minute'
    from generate_series(1, 20000) n;
    insert into entraway.teams (team_id, team_alias, organization_id, created_at)
    select organization_id, organization_alias, organization_id, created_at from entraway.organizations
    where organization_id ~ '^g';
    insert into entraway.users (user_id, tenant_id, object_id, user_email, user_alias, created_at)
    select id, id, id, md5(n::text) || '@contoso.example', 'Person ' || md5(n::text),
           timestamp '2020-01-01' + n * interval '1 second'
    from generate_series(1, 100000) n, cast(md5(n::text) as uuid) id;
    insert into entraway.team_members (user_id, team_id, created_at)
    select user_id, case when n % 2 = 0 then 'g1' else 'g' || n % 20000 + 1 end, created_at
    from (select user_id, created_at, row_number() over () as n from entraway.users where user_alias ~ '^Person') u;
    insert into entraway.organization_members (user_id, organization_id, created_at)
    select user_id, team_id, created_at from entraway.team_members where team_id ~ '^g';";

/// The same, with the large team's members in all three columns.
const FILL_LITELLM: &str = r#"
    insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by) values ('b', 'x', 'x');
    insert into public."LiteLLM_OrganizationTable"
           (organization_id, organization_alias, budget_id, models, created_at, created_by, updated_by)
    select 'g' || n, 'Group ' || md5(n::text), 'b', '{}', timestamp '2020-01-01' + n * interval '1 minute', 'x', 'x'
    from generate_series(1, 20000) n;
    insert into public."LiteLLM_TeamTable"
           (team_id, team_alias, organization_id, admins, members, members_with_roles, models, created_at)
    select organization_id, organization_alias, organization_id, '{}', '{}', '[]', '{}', created_at
    from public."LiteLLM_OrganizationTable" where organization_id ~ '^g';
    insert into public."LiteLLM_UserTable" (user_id, user_email, user_alias, teams, models, created_at)
    select md5(n::text)::uuid::text, md5(n::text) || '@contoso.example', 'Person ' || md5(n::text),
           array[case when n % 2 = 0 then 'g1' else 'g' || n % 20000 + 1 end], '{}',
           timestamp '2020-01-01' + n * interval '1 second'
    from generate_series(1, 100000) n;
    insert into public."LiteLLM_TeamMembership" (user_id, team_id)
    select user_id, teams[1] from public."LiteLLM_UserTable" where user_alias ~ '^Person';
    insert into public."LiteLLM_OrganizationMembership" (user_id, organization_id, created_at)
    select user_id, teams[1], created_at from public."LiteLLM_UserTable" where user_alias ~ '^Person';
    update public."LiteLLM_TeamTable" t set members_with_roles = m.roster
    from (select team_id, jsonb_agg(jsonb_build_object('user_id', user_id, 'role', 'user')) as roster
          from public."LiteLLM_TeamMembership" group by 1) m
    where m.team_id = t.team_id and t.team_id ~ '^g';"#;

const FILL_SYNCS: &str = "
    insert into entraway.sync_runs
           (user_id, tenant_id, started_at, assigned_groups, member_of, organizations_created, teams_created,
            organizations_joined, teams_joined, user_created, user_updated, failures, notes, graph_ms, store_ms, touched)
    select md5((n % 100000 + 1)::text)::uuid::text, md5(n::text)::uuid, now() - n * interval '1 minute',
           'known', case when n % 1000 = 0 then 'unknown' else 'known' end, '{}', '{}', '{}', '{}', false, false, '[]', '[]',
           1, 1, case when n % 50 = 0 then array['g' || n % 20000 + 1] else '{}' end
    from generate_series(1, 100000) n;";

/// 200,000 audit events: 40,000 of one team, of which few are removals; one user has 2,000.
const FILL_AUDIT: &str = "
    insert into entraway.audit_events
           (event_id, at, run_id, actor, action, user_id, object_id, target_kind, target_id, result)
    select gen_random_uuid(), now() - n * interval '3 minutes', md5((n / 10)::text)::uuid, 'sign_in',
           case when n % 1000 = 0 then 'team_member_removed' when n % 7919 = 0 then 'sign_in_denied'
                else 'team_member_added' end,
           id, id, 'team', case when n % 5 = 0 then 'g1' else 'g' || n % 20000 + 1 end, 'applied'
    from generate_series(1, 200000) n,
         cast(cast(md5((case when n % 100 = 3 then 1 else n % 100000 + 1 end)::text) as uuid) as text) id;";

/// The large tables.
const LARGE: [&str; 13] = [
    "organizations",
    "teams",
    "users",
    "team_members",
    "organization_members",
    "sync_runs",
    "audit_events",
    "LiteLLM_OrganizationTable",
    "LiteLLM_TeamTable",
    "LiteLLM_UserTable",
    "LiteLLM_TeamMembership",
    "LiteLLM_OrganizationMembership",
    "litellm_users",
];

/// A page has 50 rows; joined rows and the matches of a one-word search come on top.
const MOST_ROWS: f64 = 1_500.0;

#[tokio::test]
async fn native_pages_scan_no_large_table() {
    let mut cast = Cast::of(Native).await;
    fill(&cast.world, &[FILL_NATIVE, FILL_SYNCS, FILL_AUDIT]).await;
    let findings = look_at_everything(&mut cast).await;
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[tokio::test]
async fn litellm_pages_scan_no_large_table_with_documented_indexes() {
    let mut cast = Cast::of(LiteLlm).await;
    // Runs each statement on its own, because the script cannot run in a transaction.
    let script: String = INDEXES.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    for statement in script.split(';').filter(|statement| !statement.trim().is_empty()) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&cast.world.pool).await.unwrap();
    }
    fill(&cast.world, &[FILL_LITELLM, FILL_SYNCS, FILL_AUDIT]).await;
    let mut findings = look_at_everything(&mut cast).await;
    // In LiteLLM's tables a roster is one value, which must be read as a whole.
    findings.retain(|finding| !(finding.starts_with("/teams/g1") && finding.contains("jsonb_array_elements")));
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// The check finds a missing index.
#[tokio::test]
async fn plan_check_detects_missing_litellm_indexes() {
    let mut cast = Cast::of(LiteLlm).await;
    fill(&cast.world, &[FILL_LITELLM]).await;
    for path in ["/people", "/people?search=9f1408cf", "/teams?search=9f1408cf"] {
        let findings = look(&mut cast.ada, &cast.service, &cast.world, path).await;
        assert!(!findings.is_empty(), "{path} without an index is fast?");
    }
}

async fn fill(world: &World, scripts: &[&'static str]) {
    for script in scripts {
        sqlx::raw_sql(*script).execute(&world.pool).await.unwrap();
    }
    sqlx::raw_sql("analyze").execute(&world.pool).await.unwrap();
    // Applies to new connections; the service's are terminated.
    let database = &world.database_name;
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_analyze = on",
        "auto_explain.log_timing = off",
        "auto_explain.log_format = 'json'",
    ] {
        sqlx::raw_sql(AssertSqlSafe(format!("alter database {database} set {setting}")))
            .execute(&world.pool)
            .await
            .unwrap();
    }
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'entraway'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
}

async fn look_at_everything(cast: &mut Cast) -> Vec<String> {
    let person = "c4ca4238-a0b9-2382-0dcc-509a6f75849b";
    let (platform, olga) = (cast.platform, cast.olga.id);
    let mut findings = Vec::new();
    for path in [
        "/",
        "/teams",
        "/teams?sort=newest",
        "/teams?search=9f1408cf",
        "/organizations",
        "/organizations?sort=newest",
        "/organizations?search=9f1408cf",
        "/people",
        "/people?sort=newest",
        "/people?search=9f1408cf",
        "/teams/g1",
        "/organizations/g1",
        &format!("/people/{person}"),
        "/syncs",
        "/syncs?trouble=1",
        "/syncs?group=g51",
        &format!("/syncs?person={person}"),
        "/audit",
        "/audit?team=g1",
        "/audit?team=g1&action=access_lost",
        "/audit?team=g51&from=2026-01-01&to=2026-12-31",
        "/audit?organization=g51",
        "/audit?action=access_lost",
        "/audit?action=sign_in_denied",
        "/audit?action=keys_blocked",
        "/audit?from=2026-11-01&to=2026-11-01",
        "/audit?user=9f1408cf",
        "/audit?user=00000000-0000-4000-8000-000000000000",
        "/audit?run=c4ca4238-a0b9-2382-0dcc-509a6f75849b",
    ] {
        findings.extend(look(&mut cast.ada, &cast.service, &cast.world, path).await);
        if ["/teams", "/people", "/teams?sort=newest", "/teams/g1", "/syncs", "/audit"].contains(&path) {
            // The next page.
            let body = cast.ada.json(&cast.service, &format!("/api{path}")).await;
            let and = if path.contains('?') { '&' } else { '?' };
            let next = format!("{path}{and}after={}", body["next"].as_str().expect("a next page"));
            findings.extend(look(&mut cast.ada, &cast.service, &cast.world, &next).await);
        }
    }
    for path in
        ["/teams", "/organizations", "/people", "/syncs", &format!("/teams/{platform}"), &format!("/people/{olga}")]
    {
        findings.extend(look(&mut cast.olga, &cast.service, &cast.world, path).await);
    }
    findings
}

/// Opens a page and reads the plans of its statements in the log.
async fn look(actor: &mut Actor, service: &crate::support::Service, world: &World, path: &str) -> Vec<String> {
    let log = cluster().await.folder().join("log");
    let begin = std::fs::metadata(&log).unwrap().len();
    // The first response after the connections were terminated may be an error.
    let mut answer = actor.get(service, path).await;
    for _ in 0..20 {
        if answer.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = actor.get(service, path).await;
    }
    assert_eq!(answer.status, 200, "{path}: {answer:#?}");
    // A statement is logged when its connection is free again.
    sqlx::query("select 1").execute(&world.pool).await.unwrap();
    let mut plans = Vec::new();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let bytes = std::fs::read(&log).unwrap();
        let now = plans_in(&String::from_utf8_lossy(&bytes[usize::try_from(begin).unwrap()..]));
        let complete = !now.is_empty() && now.len() == plans.len();
        plans = now;
        if complete {
            break;
        }
    }
    assert!(!plans.is_empty(), "auto_explain wrote no plan for {path}");
    let mut findings = Vec::new();
    for plan in plans.iter().filter(|plan| is_ours(plan, world)) {
        trouble(path, plan, &plan["Plan"], &mut findings);
    }
    findings
}

/// Another test may query its own database at the same time.
fn is_ours(plan: &Value, world: &World) -> bool {
    let text = plan["Query Text"].as_str().unwrap_or_default();
    (world.kind == LiteLlm) == text.contains("LiteLLM_") || text.contains("entraway.sync_runs r where")
}

/// The plans in an excerpt of Postgres' log: JSON below a line that ends with `plan:`, indented with tabs.
fn plans_in(log: &str) -> Vec<Value> {
    let pieces = log.split(" plan:\n").skip(1);
    let json = |piece: &str| piece.lines().take_while(|line| line.starts_with('\t')).collect::<Vec<_>>().join("\n");
    pieces.filter_map(|piece| serde_json::from_str(&json(piece)).ok()).collect()
}

fn trouble(path: &str, plan: &Value, node: &Value, findings: &mut Vec<String>) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let table = node["Relation Name"].as_str().or(node["Function Name"].as_str()).unwrap_or_default();
    let number = |key: &str| node[key].as_f64().unwrap_or_default();
    let removed = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
    let rows = (number("Actual Rows") + removed) * number("Actual Loops");
    let whole = kind.contains("Seq Scan") && LARGE.contains(&table) && rows > 1_000.0;
    if whole || (kind.contains("Scan") && rows > MOST_ROWS) {
        let text = plan["Query Text"].as_str().unwrap_or_default();
        findings.push(format!("{path}: {kind} of {table} reads {rows} rows, in: {text}"));
    }
    for below in node["Plans"].as_array().into_iter().flatten() {
        trouble(path, plan, below, findings);
    }
}
