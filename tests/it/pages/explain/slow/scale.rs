//! A large database: everything is found by a key or an index, in one statement, and one more if a team is asked about.
//! The cost is the number of 8 kB pages that Postgres touched.

use entraway::domain::StoreKind;
use rstest::rstest;
use sqlx::PgPool;

use super::super::Scene;
use crate::support::scene::{assigned, person};
use crate::support::{LiteLlm, Native, cluster};

/// A sequential scan of any of the tables touches more pages than this.
const MOST: i64 = 180;

/// Teams, organizations, users with a membership of each, and the records of their sign-ins.
const MANY_NATIVE: &str = "insert into entraway.organizations (organization_id, organization_alias)
            select 'o' || n, 'Organization ' || n || repeat('x', 150) from generate_series(1, 30000) n;
        insert into entraway.teams (team_id, team_alias, organization_id)
            select 't' || n, 'Team ' || n || repeat('x', 150), 'o' || n from generate_series(1, 30000) n;
        insert into entraway.users (user_id, object_id, tenant_id, user_alias)
            select id::text, id, id, repeat('x', 150) from (select gen_random_uuid() as id from generate_series(1, 30000)) n;
        insert into entraway.team_members (user_id, team_id)
            select user_id, 't' || row_number() over () from entraway.users where user_alias like 'xxx%';
        insert into entraway.organization_members (user_id, organization_id)
            select user_id, 'o' || row_number() over () from entraway.users where user_alias like 'xxx%';
        insert into entraway.sync_runs (user_id, tenant_id, started_at, assigned_groups, member_of,
                organizations_created, teams_created, organizations_joined, teams_joined, user_created, user_updated,
                failures, notes, graph_ms, store_ms)
            select user_id, tenant_id, now(), 'known', 'known', '{}', '{}', '{}', '{}', false, false, '[]', '[]', 1, 1
            from entraway.users;
        insert into entraway.person_groups (user_id, tenant_id, assigned_groups, groups, since, confirmed_at)
            select user_id, tenant_id, 'known', jsonb_build_object(user_id, '{}'::jsonb), now(), now() from entraway.users
            on conflict do nothing;
        insert into entraway.made_teams (team_id, made_at, organizations_on)
            select team_id, now(), true from entraway.teams on conflict do nothing;
        analyze";

/// The same in LiteLLM's tables.
const MANY_LITELLM: &str = r#"insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by) values ('b', 'x', 'x');
        insert into public."LiteLLM_OrganizationTable"
                (organization_id, organization_alias, budget_id, models, created_by, updated_by)
            select 'o' || n, 'Organization ' || n || repeat('x', 150), 'b', '{}', 'x', 'x' from generate_series(1, 30000) n;
        insert into public."LiteLLM_TeamTable"
                (team_id, team_alias, organization_id, admins, members, members_with_roles, models)
            select 't' || n, 'Team ' || n || repeat('x', 150), 'o' || n, '{}', '{}', '[]', '{}'
            from generate_series(1, 30000) n;
        insert into public."LiteLLM_UserTable" (user_id, user_alias, models, teams)
            select 'u' || n, repeat('x', 150), '{}', array['t' || n] from generate_series(1, 30000) n;
        insert into public."LiteLLM_TeamMembership" (user_id, team_id)
            select 'u' || n, 't' || n from generate_series(1, 30000) n;
        insert into public."LiteLLM_OrganizationMembership" (user_id, organization_id)
            select 'u' || n, 'o' || n from generate_series(1, 30000) n;
        insert into entraway.litellm_users (object_id, tenant_id, user_id)
            select gen_random_uuid(), gen_random_uuid(), 'u' || n from generate_series(1, 30000) n;
        insert into entraway.litellm_team_members (user_id, team_id, created_at)
            select 'u' || n, 't' || n, now() from generate_series(1, 30000) n;
        insert into entraway.litellm_organization_members (user_id, organization_id, created_at)
            select 'u' || n, 'o' || n, now() from generate_series(1, 30000) n;
        insert into entraway.sync_runs (user_id, tenant_id, started_at, assigned_groups, member_of,
                organizations_created, teams_created, organizations_joined, teams_joined, user_created, user_updated,
                failures, notes, graph_ms, store_ms)
            select object_id, tenant_id, now(), 'known', 'known', '{}', '{}', '{}', '{}', false, false, '[]', '[]', 1, 1
            from entraway.litellm_users;
        insert into entraway.person_groups (user_id, tenant_id, assigned_groups, groups, since, confirmed_at)
            select object_id, tenant_id, 'known', jsonb_build_object(object_id, '{}'::jsonb), now(), now()
            from entraway.litellm_users on conflict do nothing;
        insert into entraway.made_teams (team_id, made_at, organizations_on)
            select team_id, now(), true from public."LiteLLM_TeamTable" on conflict do nothing;
        analyze"#;

#[rstest]
#[tokio::test]
async fn explain_reads_no_large_table_in_full(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut scene = Scene::new(store).await;
    if store == LiteLlm {
        // As in docs/litellm-indexes.sql. Created before rows change, because it would have to wait for older versions.
        let index = r#"create index on public."LiteLLM_TeamTable" (lower(coalesce(team_alias, team_id)), team_id)"#;
        scene.world.sql(index).await;
    }
    let [evals, staff] = assigned(&scene.world, ["Evals", "All Staff"]);
    let alice = person(&scene.world, "Alice Arden", &[evals, staff]);
    scene.world.sign_in(&scene.service, alice).await;
    scene.world.sql(if store == Native { MANY_NATIVE } else { MANY_LITELLM }).await;
    scene.world.statements().await;

    // Often enough for Postgres to switch to a generic plan.
    for _ in 0..7 {
        let report = scene.explain(&alice, "Team 7").await;
        assert_eq!(report["memberships"].as_array().unwrap().len(), 4, "{report:#}");
    }

    let pool = PgPool::connect(&cluster().await.url("postgres")).await.unwrap();
    let costs: Vec<(String, i64, i64)> = sqlx::query_as(
        "select left(query, 60), calls, (shared_blks_hit + shared_blks_read) / calls from pg_stat_statements
         where dbid = (select oid from pg_database where datname = $1) and toplevel
           and (query like '%reading as materialized%' or query like '%own_alias as name%')
           and query not like '%pg_stat_statements%'",
    )
    .bind(&scene.world.database_name)
    .fetch_all(&pool)
    .await
    .unwrap();
    pool.close().await;
    assert_eq!(costs.iter().map(|(_, calls, _)| calls).sum::<i64>(), 14, "two statements a report: {costs:#?}");
    for (query, _, pages) in costs {
        assert!(pages < MOST, "{pages} pages for {query} …: is an index missing, or not used?");
    }
}
