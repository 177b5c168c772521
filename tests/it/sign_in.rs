//! The main job: sign in, and find organizations, teams and memberships in the database.

use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn a_person_signs_in_and_their_groups_are_organizations_teams_and_memberships() {
    let world = World::new().await;
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
