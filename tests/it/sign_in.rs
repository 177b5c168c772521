//! The main flow: a sign-in creates organizations, teams and memberships in the database.

use chrono::TimeDelta;
use entra_simulator::{Endpoint, Fault, FaultRule, ObjectId};
use rstest::rstest;
use serde_json::json;

use crate::support::{LiteLlm, Native, Service, StoreKind, World, models_of_team};

#[rstest]
#[tokio::test]
async fn signin_creates_organizations_teams_and_memberships(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, evals, other) = world.simulator.edit(|directory| {
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
    assert_eq!(team["models"], models_of_team(store, &["gpt-4", "gpt-3.5-turbo"]));
    assert_eq!(team["tpm_limit"], 10_000);
    assert!(rows.teams.contains_key(&other.to_string()), "a group that Alice is not in has its team, too");
    assert_eq!(rows.teams_of(alice), [evals.to_string()]);
    assert_eq!(rows.organizations_of(alice), [evals.to_string()]);
    assert_eq!(rows.users[&alice.to_string()]["user_role"], "internal_user");

    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["user_id"], json!(alice));
    assert_eq!(me["teams"][0]["team_alias"], "Production LLM Evals");
    assert_eq!(me["last_sync"]["assigned_groups"], "known");
}

/// The schema was created by another role; the database user only owns it.
#[tokio::test]
async fn database_user_owning_only_the_schema_is_sufficient() {
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
async fn home_page_shows_changes_of_the_signin(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let erin = world.simulator.edit(|directory| directory.person("Erin Ellis", |_| {}));
    let service = world.service().await;
    // Her sign-in created an organization and a team of a group that she is not in.
    assert_eq!(last_sync(&world, &service, erin).await, "just now: account created.");

    world.sql("update {teams} set organization_id = null").await;
    world.simulator.edit(|directory| directory.put(erin, group));
    assert_eq!(last_sync(&world, &service, alice).await, "just now: account created; added to Production LLM Evals.");
    world.sql("delete from {organization_members}").await;
    let said = "just now: added to the organization Production LLM Evals, 1 team unchanged.";
    assert_eq!(last_sync(&world, &service, alice).await, said);
    assert_eq!(last_sync(&world, &service, alice).await, "just now: no changes, 1 team unchanged.");

    world.simulator.edit(|directory| {
        let [first, second] = ["First", "Second"].map(|name| directory.group(name));
        for group in [first, second] {
            directory.put(alice, group);
            directory.assign(group);
        }
        directory.change_person(alice, |alice| "new@contoso-sim.example".clone_into(&mut alice.upn));
    });
    let said = last_sync(&world, &service, alice).await;
    let (joined, rest) = said.split_once("; ").unwrap();
    assert!(["just now: added to First, Second", "just now: added to Second, First"].contains(&joined), "{said}");
    let changed = "2 organizations created; 2 teams created; details and roles updated, 1 team unchanged.";
    assert_eq!(rest, changed);
}

/// The "Last sync" line of the front page right after a sign-in.
async fn last_sync(world: &World, service: &Service, person: ObjectId) -> String {
    let page = world.sign_in(service, person).await.get(service.at("/")).await.body;
    let (_, section) = page.split_once("<h2>Last sync</h2>").expect("the page has that section");
    let (line, _) = section.split_once("</p>").unwrap();
    let text: String = line.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
    text.trim().to_owned()
}

/// While Microsoft does not return a list, the page shows the age of the team data, and that no membership is lost.
#[rstest]
#[tokio::test]
async fn home_page_names_unknown_lists(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let both = [Endpoint::AssignedTo, Endpoint::MemberOf];
    for (known_before, lists, said) in [
        (
            false,
            &both[..],
            "Microsoft did not report which groups are assigned to this application, or which groups you are in.",
        ),
        (true, &both[1..], "Microsoft did not report which groups you are in. Your teams are as of 10 minutes ago."),
        (
            true,
            &both[..1],
            "Microsoft did not report which groups are assigned to this application. Your teams are as of 10 minutes ago.",
        ),
    ] {
        if known_before {
            world.sign_in(&service, alice).await;
            world.clock.advance(TimeDelta::minutes(10));
        }
        for &list in lists {
            world.simulator.fault(FaultRule::on(list, Fault::status(403)));
        }
        let page = world.sign_in(&service, alice).await.get(service.at("/")).await.body;
        let whole = format!("</strong> {said} You were not added to new teams. You keep the teams that you had.</p>");
        assert!(page.contains(&whole), "{lists:?}: {page}");
        for insides in ["Authorization_RequestDenied", "Insufficient privileges"] {
            assert!(!page.contains(insides), "Graph's message is for administrators: {page}");
        }
        world.simulator.clear_faults();
    }
}
