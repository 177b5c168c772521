//! Rows that the database rejects: only their own group is affected, and the sign-in succeeds.

use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assigned, failures, ids, many_assigned, person, versions};
use crate::support::{LiteLlm, Native, StoreKind, World, models_of_team};

const REFUSE_ORGANIZATION: &str = "
    create function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'this customer is not billable'; end $$;
    create trigger refuse before insert on {organizations} for each row
    when (new.organization_alias = 'Refused') execute function refuse()";

const REFUSE_TEAM: &str = "
    create function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'no more teams' using errcode = 'P0420'; end $$;
    create trigger refuse before insert on {teams} for each row
    when (new.team_alias = 'Refused') execute function refuse()";

const REFUSE_ALL_ORGANIZATIONS: &str = "
    create function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'billing is closed'; end $$;
    create trigger refuse before insert on {organizations} for each row execute function refuse()";

const REFUSE_ALL_TEAMS: &str = "
    create trigger refuse before insert on {teams} for each row execute function refuse()";

#[rstest]
#[tokio::test]
async fn organization_rejected_by_trigger_affects_only_its_group(#[values(Native, LiteLlm)] store: StoreKind) {
    an_organization_is_refused(store, REFUSE_ORGANIZATION, "organization/Refused/P0001: this customer is not billable")
        .await;
}

#[rstest]
#[tokio::test]
async fn organization_rejected_by_constraint_affects_only_its_group(#[values(Native, LiteLlm)] store: StoreKind) {
    let table = match store {
        Native => "organizations",
        LiteLlm => "LiteLLM_OrganizationTable",
    };
    an_organization_is_refused(
        store,
        "alter table {organizations} add constraint billable check (organization_alias <> 'Refused')",
        &format!("organization/Refused/23514: new row for relation \"{table}\" violates check constraint \"billable\""),
    )
    .await;
}

async fn an_organization_is_refused(store: StoreKind, obstacle: &'static str, failure: &str) {
    let world = World::of(store).await;
    let [good, refused, other] = assigned(&world, ["Good", "Refused", "Other"]);
    let alice = person(&world, "Alice Arden", &[good, refused]);
    let service = world.service().await;
    world.sql(obstacle).await;

    let mut browser = world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    let made: Vec<String> = rows.organizations.keys().cloned().collect();
    assert_eq!(made, ids(&[good, other]), "the other groups have their organizations");
    for group in [good, other] {
        assert_eq!(rows.teams[&group.to_string()]["organization_id"], json!(group));
        assert_eq!(rows.teams[&group.to_string()]["models"], models_of_team(store, &["gpt-4", "gpt-3.5-turbo"]));
    }
    let team = &rows.teams[&refused.to_string()];
    assert_eq!(team["organization_id"], Value::Null, "its team is standalone");
    assert_eq!(team["models"], json!(["gpt-4", "gpt-3.5-turbo"]), "with the models of any standalone team");
    assert_eq!((&team["max_budget"], &team["rpm_limit"]), (&json!(100), &json!(1_000)), "and its limits");
    assert_eq!(rows.teams_of(alice), ids(&[good, refused]));
    assert_eq!(rows.organizations_of(alice), ids(&[good]));

    let run = world.last_run().await;
    assert_eq!(failures(&run), [failure]);
    assert_eq!(run["failures"][0]["id"], json!(refused));
    assert_eq!(run["organizations_created"], json!(ids(&[good, other])), "the failed one was not created");
    assert_eq!(run["teams_created"], json!(ids(&[good, refused, other])));
    let text = run.to_string();
    let secret = world.simulator.edit(|directory| directory.client_secret.clone());
    for word in [&secret, &world.database, "eyJ", "Bearer", "password", "@contoso"] {
        assert!(!text.contains(word), "the record contains {word}: {text}");
    }
    let me = browser.me(&service).await.json();
    assert_eq!(me["last_sync"]["failures"], 1, "the user sees only the number");
}

#[rstest]
#[tokio::test]
async fn rejected_organization_is_created_at_a_later_signin(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [good, refused] = assigned(&world, ["Good", "Refused"]);
    let alice = person(&world, "Alice Arden", &[good, refused]);
    let service = world.service().await;
    world.sql(REFUSE_ORGANIZATION).await;
    world.sign_in(&service, alice).await;
    let before = world.versions().await;

    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "nothing changes while it is rejected");
    assert_eq!(failures(&world.last_run().await).len(), 1, "the retry is recorded");

    world.sql("drop trigger refuse on {organizations}").await;
    let team = versions(&world, &format!("team {refused}")).await;
    world.sign_in(&service, alice).await;
    let rows = world.rows().await;
    assert!(rows.organizations.contains_key(&refused.to_string()), "the organization is created now");
    assert_eq!(rows.organizations_of(alice), ids(&[good, refused]));
    assert_eq!(versions(&world, &format!("team {refused}")).await, team, "the team's row was written to");
    let run = world.last_run().await;
    assert_eq!(failures(&run), [""; 0]);
    assert_eq!(run["organizations_created"], json!([refused]));
    assert_eq!(run["notes"], json!([{ "note": "team_stays_standalone", "team": refused }]));

    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "nothing is left to do");
}

#[rstest]
#[tokio::test]
async fn rejected_team_affects_only_its_group_and_is_retried(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [good, refused] = assigned(&world, ["Good", "Refused"]);
    let alice = person(&world, "Alice Arden", &[good, refused]);
    let service = world.service().await;
    world.sql(REFUSE_TEAM).await;

    world.sign_in(&service, alice).await;
    let rows = world.rows().await;
    assert_eq!(rows.teams.keys().cloned().collect::<Vec<_>>(), ids(&[good]));
    assert_eq!(rows.teams_of(alice), ids(&[good]));
    assert_eq!(rows.organizations_of(alice), ids(&[good, refused]), "the organization was created, and Alice is in it");
    let run = world.last_run().await;
    assert_eq!(failures(&run), ["team/Refused/P0420: no more teams"]);
    assert_eq!(run["failures"][0]["id"], json!(refused));

    world.sql("drop trigger refuse on {teams}").await;
    world.sign_in(&service, alice).await;
    let rows = world.rows().await;
    assert_eq!(rows.teams[&refused.to_string()]["organization_id"], json!(refused));
    assert_eq!(rows.teams[&refused.to_string()]["models"], models_of_team(store, &["gpt-4", "gpt-3.5-turbo"]));
    assert_eq!(rows.teams_of(alice), ids(&[good, refused]));
}

#[rstest]
#[tokio::test]
async fn rejected_organizations_leave_standalone_teams(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = many_assigned(&world, 30);
    let alice = person(&world, "Alice Arden", &groups[..20]);
    let service = world.service().await;
    world.sql(REFUSE_ALL_ORGANIZATIONS).await;

    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert!(rows.organizations.is_empty() && rows.organization_members.is_empty());
    assert_eq!(rows.teams.len(), 30);
    for team in rows.teams.values() {
        assert_eq!(team["organization_id"], Value::Null, "in {team:#}");
        assert_eq!(team["models"], json!(["gpt-4", "gpt-3.5-turbo"]), "in {team:#}");
    }
    assert_eq!(rows.teams_of(alice), ids(&groups[..20]));
    let failures = failures(&world.last_run().await);
    assert_eq!(failures.len(), 30, "each has its entry: {failures:#?}");
    assert!(failures.iter().all(|failure| failure.ends_with("/P0001: billing is closed")), "{failures:#?}");
}

#[rstest]
#[tokio::test]
async fn user_signs_in_when_all_groups_are_rejected(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = many_assigned(&world, 3);
    let alice = person(&world, "Alice Arden", &groups);
    let service = world.service().await;
    world.sql(REFUSE_ALL_ORGANIZATIONS).await;
    world.sql(REFUSE_ALL_TEAMS).await;

    let mut browser = world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert!(rows.organizations.is_empty() && rows.teams.is_empty());
    assert_eq!(rows.users[&alice.to_string()]["user_role"], "internal_user");
    assert_eq!(failures(&world.last_run().await).len(), 6, "three organizations and three teams");
    assert_eq!(browser.me(&service).await.status, 200, "the session is valid");
}

#[rstest]
#[tokio::test]
async fn database_error_in_record_is_truncated(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Talkative"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world
        .sql(
            "create function refuse() returns trigger language plpgsql as
             $$ begin raise exception '%', repeat('ü', 100000); end $$;
             create trigger refuse before insert on {organizations} for each row execute function refuse()",
        )
        .await;

    world.sign_in(&service, alice).await;

    let run = world.last_run().await;
    let why = run["failures"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("P0001: üüü"), "{why}");
    assert!(why.chars().count() <= 300, "{} characters are too many for a record", why.chars().count());
}
