//! `default_team_params` other than limits: the default organization, member permissions, metadata and tags.

use serde_json::{Value, json};

use super::support::{
    ORGANIZATION, ORGANIZATION_MEMBER, TEAM, TEAM_MEMBER, all, assigned, by_hand, define, failures, person, places,
    team, user, versions, with_team_params, world,
};
use crate::support::World;

const DEFAULT: &str = "organization_id: \"the company's\", models: [gpt-4]";

async fn organization_by_hand(world: &World) {
    by_hand(
        world,
        r#"with budget as (
               insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by, updated_at)
               values ('by hand', 'bob', 'bob', '2026-01-01')
           )
           insert into public."LiteLLM_OrganizationTable"
           (organization_id, organization_alias, budget_id, created_by, updated_by, updated_at)
           values ('the company''s', 'The company', 'by hand', 'bob', 'bob', '2026-01-01')"#,
        &[],
    )
    .await;
}

#[tokio::test]
async fn orgs_off_puts_new_team_in_default_org_without_members() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    organization_by_hand(&world).await;
    let before = versions(&world, &[ORGANIZATION]).await;
    let service = with_team_params(&world, false, DEFAULT).await;
    world.sign_in(&service, alice).await;
    let team = team(&world, &group).await;
    assert_eq!((&team["organization_id"], &team["models"]), (&json!("the company's"), &json!(["gpt-4"])));
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    assert_eq!(all(&world, ORGANIZATION_MEMBER).await, [] as [Value; 0], "the proxy creates no such membership either");
    assert_eq!(versions(&world, &[ORGANIZATION]).await, before);
    assert_eq!(failures(&world).await, [""; 0]);
}

#[tokio::test]
async fn missing_default_organization_fails_teams_until_created() {
    let world = world().await;
    let [one, two] = assigned(&world, ["Evals", "Evals"]);
    let alice = person(&world, "Alice Arden", &[one, two]);
    let service = with_team_params(&world, false, DEFAULT).await;
    world.sign_in(&service, alice).await;
    let why = "team/Evals/23503: insert or update on table \"LiteLLM_TeamTable\" violates foreign key constraint \
               \"LiteLLM_TeamTable_organization_id_fkey\"";
    assert_eq!(failures(&world).await, [why, why], "the record reports both");
    for table in [TEAM, TEAM_MEMBER] {
        assert_eq!(all(&world, table).await, [] as [Value; 0], "no partial rows in {table}");
    }
    assert_eq!(user(&world, &alice).await["teams"], json!([]), "she is in no missing team");

    organization_by_hand(&world).await;
    world.sign_in(&service, alice).await;
    assert_eq!(failures(&world).await, [""; 0]);
    for group in [one, two] {
        assert_eq!(places(&world, &alice, &group).await, [1, 1, 1], "the next sign-in repairs it");
        assert_eq!(team(&world, &group).await["organization_id"], "the company's");
    }
}

#[tokio::test]
async fn default_organization_is_ignored_when_orgs_on() {
    let world = world().await;
    let [good, bad] = assigned(&world, ["Good", "Bad"]);
    let alice = person(&world, "Alice Arden", &[good, bad]);
    organization_by_hand(&world).await;
    define(&world, r#"alter table public."LiteLLM_OrganizationTable" add check (organization_alias <> 'Bad')"#).await;
    let service = with_team_params(&world, true, DEFAULT).await;
    world.sign_in(&service, alice).await;
    assert_eq!(team(&world, &good).await["organization_id"], json!(good));
    assert_eq!(team(&world, &good).await["models"], json!(["gpt-4"]), "the models of its organization");
    assert_eq!(team(&world, &bad).await["organization_id"], Value::Null, "the default one has no effect with the flag");
    assert_eq!(team(&world, &bad).await["models"], json!(["gpt-4"]));
    let members = all(&world, ORGANIZATION_MEMBER).await;
    assert_eq!((members.len(), &members[0]["organization_id"]), (1, &json!(good)), "{members:#?}");
}

#[tokio::test]
async fn member_permissions_and_tags_are_written_for_the_proxy() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let params = r#"team_member_permissions: [/key/generate, /key/info], tags: [eu, "a, b"],
        metadata: {cost_center: 4711, team_member_budget_id: mine, ä: {deep: [1, null, "x'"]}}"#;
    let service = with_team_params(&world, true, params).await;
    world.sign_in(&service, alice).await;
    let team = team(&world, &group).await;
    assert_eq!(team["team_member_permissions"], json!(["/key/generate", "/key/info"]));
    assert_eq!(
        team["metadata"],
        json!({ "cost_center": 4711, "ä": { "deep": [1, null, "x'"] }, "tags": ["eu", "a, b"] }),
        "tags are a key of the metadata, and team_member_budget_id is the proxy's own"
    );
    assert_eq!(all(&world, ORGANIZATION).await[0]["metadata"], json!({}), "they apply only to the team");
}

#[tokio::test]
async fn existing_team_gets_no_default_params() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    super::support::team_by_hand(&world, &group, ", metadata", r#", '{"tags": ["its own"]}'"#).await;
    let before = team(&world, &group).await;
    let params = "max_budget: 5, tags: [eu], team_member_permissions: [/key/info], team_member_budget: 3";
    let service = with_team_params(&world, true, params).await;
    world.sign_in(&service, alice).await;
    let mut after = team(&world, &group).await;
    after["members_with_roles"] = before["members_with_roles"].clone();
    after["updated_at"] = before["updated_at"].clone();
    assert_eq!(after, before, "everything except the roster and updated_at");
}
