//! What a run removes, and what it leaves alone.

use entraway::db::RunStatus;
use entraway::policy::MembershipSync;
use rstest::rstest;
use serde_json::json;

use super::{Scene, run};
use crate::support::scene::person;
use crate::support::sql_fixtures::{MAKE_TEAM, PUT_IN_TEAM, TAKE_OUT_OF_TEAM};
use crate::support::{LiteLlm, Native, StoreKind};

#[rstest]
#[tokio::test]
async fn run_removes_a_user_who_does_not_sign_in(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let [alice, bob] = [scene.users[0], scene.users[1]];
    let before = scene.world.versions().await;
    scene.leave(alice);
    let finished = scene.run().await;
    assert_eq!((finished.status, finished.removed, finished.skipped), (RunStatus::Done, 2, 0), "{finished:?}");
    let rows = scene.world.rows().await;
    assert_eq!(rows.teams_of(alice), [""; 0]);
    assert_eq!(rows.organizations_of(alice), [""; 0]);
    assert_eq!(rows.teams_of(bob), [scene.group.to_string()]);
    assert_eq!(rows.organizations_of(bob), [scene.group.to_string()]);
    let events = scene
        .json(
            "select jsonb_agg(jsonb_build_array(actor, action, target_kind, cause, before, result, run_id is not null,
                                                evidence ->> 'read_after' is not null) order by target_kind desc)
             from entraway.audit_events where actor = 'job'",
        )
        .await;
    let expected = json!([
        ["job", "team_member_removed", "team", "left_group", "user", "applied", true, true],
        ["job", "organization_member_removed", "organization", "last_team_left", null, "applied", true, true],
    ]);
    assert_eq!(events, expected);

    let after = scene.world.versions().await;
    let again = scene.run().await;
    assert_eq!((again.status, again.removed), (RunStatus::Done, 0), "{again:?}");
    assert_eq!(scene.world.versions().await, after, "a run without changes writes no row of the store");
    assert_ne!(before, after);
}

#[rstest]
#[tokio::test]
async fn run_is_recorded_with_its_plan(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    scene.leave(scene.users[0]);
    let finished = scene.run().await;
    let run = scene
        .json(
            "select jsonb_build_object('id', run_id, 'status', status, 'trigger', trigger, 'compared', compared,
                 'removed', removed, 'changes', jsonb_array_length(plan -> 'changes'), 'finished', finished_at >= started_at)
             from entraway.reconciliation_runs order by started_at desc limit 1",
        )
        .await;
    let expected = json!({
        "id": finished.run_id, "status": "done", "trigger": "command", "compared": 4, "removed": 2, "changes": 2,
        "finished": true,
    });
    assert_eq!(run, expected);
}

#[rstest]
#[tokio::test]
async fn manual_membership_stays(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let alice = scene.users[0];
    scene.world.by_hand(MAKE_TEAM, &[&"manual", &"Manual"]).await;
    scene.world.by_hand(PUT_IN_TEAM, &[&alice, &"manual", &"user"]).await;
    scene.leave(alice);
    assert_eq!(scene.run().await.removed, 2);
    assert_eq!(scene.teams_of(alice).await, ["manual"]);
}

/// Removed by hand: the run leaves alone what is there no longer, and the membership made by hand afterwards.
#[rstest]
#[tokio::test]
async fn membership_that_was_removed_by_hand_is_no_removal(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let alice = scene.users[0];
    scene.world.by_hand(TAKE_OUT_OF_TEAM, &[&alice, &scene.group]).await;
    scene.leave(alice);
    let finished = scene.run().await;
    let team_events = "select to_jsonb(count(*)) from entraway.audit_events where action = 'team_member_removed'";
    assert_eq!(scene.json(team_events).await, json!(0), "{finished:?}");
}

#[rstest]
#[tokio::test]
async fn unassigned_group_loses_its_members(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 2).await;
    let other = person(&scene.world, "Other", &[]);
    scene.world.simulator.edit(|directory| {
        let kept = directory.group("Kept");
        directory.assign(kept);
        directory.put(other, kept);
        directory.unassign(scene.group);
    });
    let finished = scene.run().await;
    assert_eq!((finished.status, finished.removed), (RunStatus::Done, 4), "{finished:?}");
    for user in &scene.users {
        assert_eq!(scene.teams_of(*user).await, [""; 0]);
    }
    let causes =
        "select to_jsonb(array_agg(distinct cause order by cause)) from entraway.audit_events where actor = 'job'";
    assert_eq!(scene.json(causes).await, json!(["group_unassigned", "last_team_left"]));
}

#[rstest]
#[tokio::test]
async fn additive_sync_removes_nothing(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    scene.leave(scene.users[0]);
    let additive = scene.world.service_with(|config| config.policy.memberships = MembershipSync::Additive).await;
    let finished = run(&additive).await;
    assert_eq!((finished.status, finished.removed, finished.held), (RunStatus::Done, 0, 0), "{finished:?}");
    assert_eq!(scene.teams_of(scene.users[0]).await, [scene.group.to_string()]);
}

#[rstest]
#[tokio::test]
async fn emptied_group_is_held(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 3).await;
    for user in &scene.users {
        scene.leave(*user);
    }
    let finished = scene.run().await;
    assert_eq!((finished.status, finished.removed), (RunStatus::Held, 0), "{finished:?}");
    assert_eq!(finished.held, 6);
    assert_eq!(scene.teams_of(scene.users[0]).await, [scene.group.to_string()]);
}

/// The session of a removed user sees the change at once, on every replica.
#[rstest]
#[tokio::test]
async fn open_session_loses_the_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let alice = scene.users[0];
    let mut browser = scene.world.sign_in(&scene.service, alice).await;
    let other = scene.world.service().await;
    let verify = format!("/auth/verify?team={}", scene.group);
    for service in [&scene.service, &other] {
        assert_eq!(browser.get(service.at(&verify)).await.status, 200);
    }
    scene.leave(alice);
    assert_eq!(scene.run().await.removed, 2);
    for service in [&scene.service, &other] {
        crate::support::scene::until("the session loses the team", async || {
            browser.get(service.at(&verify)).await.status == 403
        })
        .await;
    }
}
