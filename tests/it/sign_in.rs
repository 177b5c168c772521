//! The main job: sign in, and find organizations, teams and memberships in the database.

use rstest::rstest;
use serde_json::json;

use crate::support::{LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn a_person_signs_in_and_their_groups_are_organizations_teams_and_memberships(
    #[values(Native, LiteLlm)] store: StoreKind,
) {
    let world = World::of(store).await;
    let (alice, evals, other) = world.fake.edit(|directory| {
        let alice = directory.person("Alice Arden", |_| {});
        let (evals, other) = (directory.group("Production LLM Evals"), directory.group("Other"));
        directory.put(alice, evals);
        directory.assign(evals);
        directory.assign(other);
        (alice, evals, other)
    });
    let service = world.service().await;

    let mut browser = world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    let organization = &rows.organizations[&evals.to_string()];
    assert_eq!(organization["organization_alias"], "Production LLM Evals");
    assert_eq!(organization["models"], json!(["gpt-4", "gpt-3.5-turbo"]));
    assert_eq!(organization["max_budget"], 100.0);
    assert_eq!(organization["budget_duration"], "30d");
    let team = &rows.teams[&evals.to_string()];
    assert_eq!(team["team_alias"], "Production LLM Evals");
    assert_eq!(team["organization_id"], json!(evals));
    assert_eq!(team["models"], json!(["all-org-models"]));
    assert_eq!(team["tpm_limit"], 10_000);
    assert!(rows.teams.contains_key(&other.to_string()), "a group that Alice is not in has its team too");
    assert_eq!(rows.teams_of(alice), [evals.to_string()]);
    assert_eq!(rows.organizations_of(alice), [evals.to_string()]);
    assert_eq!(rows.users[&alice.to_string()]["user_role"], "internal_user");

    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["user_id"], json!(alice));
    assert_eq!(me["teams"][0]["team_alias"], "Production LLM Evals");
    assert_eq!(me["last_sync"]["assigned_groups"], "known");
}

/// Somebody else made the schema, for a user who may do no more than own it.
#[tokio::test]
async fn a_database_user_who_only_owns_the_schema_is_enough() {
    let world = World::new().await;
    let role = format!("{}_app", world.database_name);
    let sql = format!(
        "create role {role} login; drop schema entraway cascade;
         create schema entraway authorization {role}; revoke all on schema public from public"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
    let (alice, group) = world.alice();
    let mut config = world.config();
    config.database.url = world.database.replace("postgres@localhost", &format!("{role}@localhost")).into();
    for start in ["the first", "the second"] {
        let service = world.service_of(config.clone()).await;
        world.sign_in(&service, alice).await;
        assert_eq!(world.rows().await.teams_of(alice), [group.to_string()], "{start} start");
    }
}

#[rstest]
#[tokio::test]
async fn the_page_tells_what_a_sign_in_did(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let erin = world.fake.edit(|directory| directory.person("Erin Ellis", |_| {}));
    let service = world.service().await;
    let mut browser = world.sign_in(&service, erin).await;
    let page = browser.get(service.at("/")).await.body;
    assert!(page.contains("made your account; created 1 organization; created 1 team."), "{page}");

    world.sql("update {teams} set organization_id = null").await;
    world.fake.edit(|directory| directory.put(erin, group));
    let mut browser = world.sign_in(&service, alice).await;
    assert!(browser.get(service.at("/")).await.body.contains("joined Production LLM Evals."));
    world.sql("delete from {organization_members}").await;
    let mut browser = world.sign_in(&service, alice).await;
    let page = browser.get(service.at("/")).await.body;
    assert!(page.contains("joined the organization Production LLM Evals."), "{page}");
    let mut browser = world.sign_in(&service, alice).await;
    assert!(browser.get(service.at("/")).await.body.contains("nothing had to be changed."));
}
