//! Audit events of a sign-in's sync, and sign-ins that arrive in another order than they started.

use chrono::TimeDelta;
use rstest::rstest;
use serde_json::{Value, json};

use super::{assigned, enter, leave, person, world};
use crate::support::{LiteLlm, Native, StoreKind, World};

/// Action, target kind, cause, group, before and after of all events, in order of time.
async fn events(world: &World) -> Vec<Value> {
    let sql = "select jsonb_build_array(action, target_kind, cause, before, after)
               from entraway.audit_events order by at, action, target_kind";
    sqlx::query_scalar(sql).fetch_all(&world.pool).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn signin_stores_an_event_for_each_change(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.sign_in(&service, alice).await;
    let joined = [
        json!(["account_created", "account", null, null, null]),
        json!(["organization_member_added", "organization", null, null, "internal_user"]),
        json!(["role_changed", "account", null, null, "internal_user"]),
        json!(["team_member_added", "team", null, null, "user"]),
    ];
    assert_eq!(events(&world).await, joined, "an unchanged sign-in stores none");
    sqlx::raw_sql("truncate entraway.audit_events").execute(&world.pool).await.unwrap();

    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    let removed = [
        json!(["organization_member_removed", "organization", "last_team_left", "internal_user", null]),
        json!(["team_member_removed", "team", "left_group", "user", null]),
    ];
    assert_eq!(events(&world).await, removed);
    let sql = format!(
        "select to_jsonb(array_agg(distinct array[actor, object_id, target_id, target_name, result,
             (run_id = (select run_id from entraway.sync_runs order by started_at desc limit 1))::text]))
         from entraway.audit_events where user_id = '{alice}'"
    );
    let expected = json!([["sign_in", alice, group, "Evals", "applied", "true"]]);
    assert_eq!(super::json(&world, &sql).await, expected);
}

/// Of two sign-ins, the one that started later wins, even if it is applied first: its list is newer.
#[rstest]
#[tokio::test]
async fn earlier_signin_does_not_undo_a_later_removal(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    world.clock.advance(TimeDelta::minutes(1));
    world.sign_in(&service, alice).await;
    // The clock goes back: this sign-in started before the one that removed the membership, with the older list.
    world.clock.step_wall_clock(TimeDelta::seconds(-30));
    enter(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [""; 0]);
    assert_eq!(
        super::json(&world, "select notes from entraway.sync_runs order by started_at desc offset 1 limit 1").await,
        json!([{ "note": "superseded" }])
    );
    world.clock.step_wall_clock(TimeDelta::minutes(1));
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()]);
}

#[tokio::test]
async fn audit_events_cannot_be_updated() {
    let world = world(Native).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&world.service().await, alice).await;
    let error =
        sqlx::raw_sql("update entraway.audit_events set result = 'kept'").execute(&world.pool).await.unwrap_err();
    assert!(error.to_string().contains("cannot be changed"), "{error}");
}

/// A later sign-in that had nothing to change decides, too.
#[rstest]
#[tokio::test]
async fn earlier_signin_does_not_undo_a_later_unchanged_one(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service_with(|config| config.policy.require_group = true).await;
    world.sign_in(&service, alice).await;
    world.clock.advance(TimeDelta::minutes(5));
    world.sign_in(&service, alice).await;
    world.clock.step_wall_clock(TimeDelta::seconds(-30));
    leave(&world, alice, group);
    let answer = world.try_sign_in(&service, alice).await;
    assert_eq!(answer.code(), "no_group", "{answer:#?}");
    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()], "also if the earlier one is denied");
}

/// The older token of an overlapping sign-in raises no role.
#[rstest]
#[tokio::test]
async fn earlier_signin_does_not_raise_a_lowered_role(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.clock.advance(TimeDelta::minutes(5));
    world.sign_in(&service, alice).await;
    world.clock.step_wall_clock(TimeDelta::seconds(-30));
    let roles = vec!["proxy_admin".to_owned()];
    world.simulator.edit(|directory| directory.change_person(alice, |user| user.app_roles = roles)).unwrap();
    world.sign_in(&service, alice).await;
    let role = &world.rows().await.users[&alice.to_string()]["user_role"];
    assert_ne!(role, "proxy_admin");
}

/// If the clocks of replicas differ by more than a minute, the order is unknown, and the sign-in changes memberships.
#[rstest]
#[tokio::test]
async fn event_far_in_the_future_blocks_no_changes(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.clock.step_wall_clock(TimeDelta::minutes(-30));
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [""; 0]);
}
