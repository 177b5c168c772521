//! Databases that are not a proxy's, or whose schema this version does not support: reported by name before anything is
//! created.

use std::time::Duration;

use entraway::db::DbError;
use entraway::http::{App, StartError};

use super::support::{assigned, define, person, places, plain, world};
use crate::cli::program::{CONFIG, Folder, run};
use crate::support::{Browser, World};

/// The problems that startup reports.
async fn complaints(world: &World) -> Vec<String> {
    match App::build(world.config(), world.clock.clone(), Duration::from_secs(3)).await {
        Err(StartError::Db(DbError::NotLiteLlm(problems))) => problems,
        Err(other) => panic!("the start failed, but with {other:?}"),
        Ok(_) => Vec::new(),
    }
}

/// Resets the database to one in which Entraway never ran but may create its schema.
async fn never_served(world: &World) {
    define(
        world,
        &format!("drop schema entraway cascade; grant create on database {} to entraway", world.database_name),
    )
    .await;
}

async fn has_our_schema(world: &World) -> bool {
    super::support::json(world, "select to_jsonb(to_regnamespace('entraway') is not null)", &[]).await == true
}

#[tokio::test]
async fn startup_rejects_database_without_litellm_tables() {
    let world = world().await;
    never_served(&world).await;
    define(&world, "drop schema public cascade; create schema public; grant usage on schema public to public").await;
    let tables = super::support::WRITTEN.map(|table| format!("missing table public.\"{table}\""));
    let mut complaints = complaints(&world).await;
    complaints.sort();
    let mut expected = tables.to_vec();
    expected.sort();
    assert_eq!(complaints, expected);
    assert!(!has_our_schema(&world).await, "a schema was created in a foreign database");

    define(&world, "drop schema public").await;
    assert_eq!(self::complaints(&world).await.len(), 6, "without a schema public");
    assert!(!has_our_schema(&world).await, "a schema was created in a foreign database");
}

#[tokio::test]
async fn startup_names_each_schema_problem_and_creates_nothing() {
    for (sql, expected) in [
        (
            r#"alter table public."LiteLLM_BudgetTable" add tier text not null;
               alter table public."LiteLLM_OrganizationTable" alter created_at type timestamptz;
               alter table public."LiteLLM_TeamTable" rename column members_with_roles to roster;
               alter table public."LiteLLM_TeamTable" drop column default_team_member_models;
               revoke update (teams) on public."LiteLLM_UserTable" from entraway;
               alter table public."LiteLLM_UserTable" alter tpm_limit type integer, alter password set not null;
               revoke insert (user_role), select (user_role) on public."LiteLLM_OrganizationMembership" from entraway;
               alter table public."LiteLLM_TeamMembership" rename to "Memberships";
               create view public."LiteLLM_TeamMembership" as table public."Memberships""#,
            &[
                "LiteLLM_BudgetTable.tier is required, but this version of Entraway does not know it",
                "LiteLLM_OrganizationTable.created_at is of type timestamp with time zone, not timestamp without time zone",
                "missing column LiteLLM_TeamTable.members_with_roles",
                "missing column LiteLLM_TeamTable.default_team_member_models",
                "missing privilege UPDATE on LiteLLM_UserTable.teams",
                "LiteLLM_UserTable.tpm_limit is of type integer, not bigint",
                "LiteLLM_UserTable.password is required, but this version of Entraway does not know it",
                "missing privilege SELECT on LiteLLM_OrganizationMembership.user_role",
                "missing privilege INSERT on LiteLLM_OrganizationMembership.user_role",
                "missing table public.\"LiteLLM_TeamMembership\"",
            ][..],
        ),
        ("revoke usage on schema public from public, entraway", &["missing privilege USAGE on schema public"]),
        // Harmless additions of a newer proxy.
        (
            r#"alter table public."LiteLLM_TeamTable" add "new" text, add newer text not null default 'x',
                   add newest bigint not null generated always as identity, add double bigint not null
                   generated always as (coalesce(tpm_limit, 0) * 2) stored;
               create table public."LiteLLM_New" (id text not null)"#,
            &[],
        ),
    ] {
        let world = world().await;
        never_served(&world).await;
        define(&world, sql).await;
        assert_eq!(complaints(&world).await, expected, "after {sql}");
        assert_eq!(
            has_our_schema(&world).await,
            expected.is_empty(),
            "our schema is created only without problems: {sql}"
        );
    }
}

#[tokio::test]
async fn check_command_names_schema_problems_and_creates_nothing() {
    let world = world().await;
    never_served(&world).await;
    define(
        &world,
        r#"alter table public."LiteLLM_TeamTable" drop column admins;
           revoke select (budget_id) on public."LiteLLM_BudgetTable" from entraway"#,
    )
    .await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", &format!("store: litellm\n{CONFIG}"));
    let directory = world.simulator.edit(|directory| directory.clone());
    let env = [
        ("LISTEN", "127.0.0.1:0".to_owned()),
        ("DB", world.database.clone()),
        ("TENANT", directory.tenant_id.to_string()),
        ("CLIENT", directory.client_id),
        ("SECRET", directory.client_secret),
        ("PRINCIPAL", directory.service_principal_id),
        ("AUTHORITY", world.simulator.authority_url().to_string()),
        ("GRAPH", world.simulator.graph_url().to_string()),
        ("KEY", format!("{}==", "A".repeat(86))),
        ("ORGS", "true".to_owned()),
    ];
    let args = ["check", "--config", &config];
    let ended = run(&folder, &args, &env).await;
    let failures: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert_eq!(
        failures,
        [
            "FAIL  LiteLLM's tables: missing privilege SELECT on LiteLLM_BudgetTable.budget_id",
            "FAIL  LiteLLM's tables: missing column LiteLLM_TeamTable.admins",
        ],
        "{ended:?}"
    );
    assert_eq!(ended.code, 1);
    assert!(!has_our_schema(&world).await, "check created a schema in a database that cannot be served");

    define(
        &world,
        r#"alter table public."LiteLLM_TeamTable" add admins text[]; grant insert (admins) on public."LiteLLM_TeamTable" to entraway;
           grant select (budget_id) on public."LiteLLM_BudgetTable" to entraway"#,
    )
    .await;
    let ended = run(&folder, &args, &env).await;
    let said = "ok    LiteLLM's tables: all required columns and grants exist";
    assert!(ended.stdout.lines().any(|line| line == said), "{ended:?}");
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[tokio::test]
async fn readyz_fails_while_a_column_is_missing_and_recovers() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let (alice, bob) = (person(&world, "Alice Arden", &[group]), person(&world, "Bob Birch", &[group]));
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    let ready = async || {
        // Results are shared for a second.
        world.clock.advance(chrono::TimeDelta::seconds(1));
        let answer = Browser::new().get(service.at("/readyz")).await;
        (answer.status.as_u16(), answer.json()["postgres"].clone())
    };
    assert_eq!(ready().await.0, 200);
    define(&world, r#"alter table public."LiteLLM_TeamTable" rename column members_with_roles to roster"#).await;
    assert_eq!(ready().await, (503, "failing".into()));
    let reason = service.app.db().check_tables().await.unwrap_err().to_string();
    assert!(reason.contains("missing column LiteLLM_TeamTable.members_with_roles"), "the reason names it: {reason}");
    let answer = world.try_sign_in(&service, bob).await;
    assert!(answer.status.is_server_error(), "{answer:#?}");
    define(&world, r#"alter table public."LiteLLM_TeamTable" rename column roster to members_with_roles"#).await;
    assert_eq!(ready().await.0, 200, "it recovers");
    world.sign_in(&service, bob).await;
    assert_eq!(places(&world, &bob, &group).await, [1, 1, 1]);
}
