//! Rules that an operator added to the database, which fail in unusual ways: triggers that silently skip a row, unique
//! names, constraints that are checked at commit.

use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assigned, failures, ids, person};
use crate::support::{LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn organization_skipped_by_trigger_leaves_standalone_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [good, skipped] = assigned(&world, ["Good", "Skipped"]);
    let alice = person(&world, "Alice Arden", &[good, skipped]);
    let service = world.service().await;
    world
        .sql(
            "create function skip() returns trigger language plpgsql as $$ begin return null; end $$;
             create trigger skip before insert on {organizations} for each row
             when (new.organization_alias = 'Skipped') execute function skip()",
        )
        .await;

    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams[&skipped.to_string()]["organization_id"], Value::Null);
    assert_eq!(rows.teams_of(alice), ids(&[good, skipped]));
    assert_eq!(rows.organizations_of(alice), ids(&[good]));
    let run = world.last_run().await;
    assert_eq!(run["failures"].as_array().unwrap().len(), 1, "the record reports it: {run:#}");
    assert_eq!((&run["failures"][0]["kind"], &run["failures"][0]["id"]), (&json!("organization"), &json!(skipped)));
}

#[rstest]
#[tokio::test]
async fn team_skipped_by_trigger_fails_only_that_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [good, skipped] = assigned(&world, ["Good", "Skipped"]);
    let alice = person(&world, "Alice Arden", &[good, skipped]);
    let service = world.service().await;
    world
        .sql(
            "create function skip() returns trigger language plpgsql as $$ begin return null; end $$;
             create trigger skip before insert on {teams} for each row
             when (new.team_alias = 'Skipped') execute function skip()",
        )
        .await;

    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams_of(alice), ids(&[good]));
    assert_eq!(rows.organizations_of(alice), ids(&[good, skipped]));
    let run = world.last_run().await;
    assert_eq!(run["failures"].as_array().unwrap().len(), 1, "the record reports it: {run:#}");
    assert_eq!((&run["failures"][0]["kind"], &run["failures"][0]["id"]), (&json!("team"), &json!(skipped)));
}

#[rstest]
#[tokio::test]
async fn duplicate_organization_name_leaves_standalone_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [good, one, two] = assigned(&world, ["Good", "Twin", "Twin"]);
    let alice = person(&world, "Alice Arden", &[good, one, two]);
    let service = world.service().await;
    world.sql("create unique index one_name on {organizations} (organization_alias)").await;

    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams_of(alice), ids(&[good, one, two]), "she is in all three teams");
    assert_eq!(rows.organizations_of(alice).len(), 2, "and in the organizations that could be created");
    let failures = failures(&world.last_run().await);
    let expected = "organization/Twin/23505: duplicate key value violates unique constraint \"one_name\"";
    assert_eq!(failures, [expected]);
}

#[rstest]
#[tokio::test]
async fn organization_rejected_at_commit_leaves_standalone_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [good, late] = assigned(&world, ["Good", "Late"]);
    let alice = person(&world, "Alice Arden", &[good, late]);
    let service = world.service().await;
    world
        .sql(
            "create function refuse() returns trigger language plpgsql as
             $$ begin raise exception 'refused at the very end'; end $$;
             create constraint trigger refuse after insert on {organizations}
             deferrable initially deferred for each row
             when (new.organization_alias = 'Late') execute function refuse()",
        )
        .await;

    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams_of(alice), ids(&[good, late]));
    assert_eq!(rows.organizations_of(alice), ids(&[good]));
    assert_eq!(failures(&world.last_run().await), ["organization/Late/P0001: refused at the very end"]);
}
