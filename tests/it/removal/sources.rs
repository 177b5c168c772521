//! Provenance: a membership ends with its last source, and an installation removes only what it gave.

use rstest::rstest;
use serde_json::json;

use super::{assigned, enter, json, leave, person, world};
use crate::support::{LiteLlm, Native, Service, StoreKind, World};

/// A second installation on the same database: another enterprise app of the same tenant.
async fn other_installation(world: &World) -> Service {
    world.service_with(|config| "11111111-2222-4333-8444-555555555555".clone_into(&mut config.policy.client_id)).await
}

async fn sources(world: &World) -> serde_json::Value {
    let table = match world.kind {
        Native => "team_members",
        LiteLlm => "litellm_team_members",
    };
    json(world, &format!("select to_jsonb(array_agg(cardinality(sources))) from entraway.{table}")).await
}

#[rstest]
#[tokio::test]
async fn membership_of_two_installations_ends_with_the_last(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let (one, two) = (world.service().await, other_installation(&world).await);
    world.sign_in(&one, alice).await;
    assert_eq!(sources(&world).await, json!([1]));
    world.sign_in(&two, alice).await;
    assert_eq!(sources(&world).await, json!([2]), "both gave it");

    leave(&world, alice, group);
    world.sign_in(&one, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()], "the other installation gives it still");
    world.sign_in(&two, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [""; 0]);
}

#[rstest]
#[tokio::test]
async fn other_installation_removes_nothing_that_it_did_not_give(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&world.service().await, alice).await;
    leave(&world, alice, group);
    world.sign_in(&other_installation(&world).await, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()]);
    let notes = &world.last_run().await["notes"];
    assert_eq!(notes[0]["reason"], "other_installation", "{notes}");
}

/// Rows of versions that kept no sources came from the group with the team's ID.
#[rstest]
#[tokio::test]
async fn membership_of_earlier_version_is_removed(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let table = if store == Native { "team_members" } else { "litellm_team_members" };
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("update entraway.{table} set sources = '{{}}'")))
        .execute(&world.pool)
        .await
        .unwrap();
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "nothing is written to learn the source");
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [""; 0]);
    enter(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(sources(&world).await, json!([1]));
}
