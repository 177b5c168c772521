//! What a run adds: memberships of users who have signed in before.

use entraway::db::RunStatus;
use entraway::policy::MembershipSync;
use rstest::rstest;
use serde_json::json;

use super::{Scene, run};
use crate::support::scene::{assigned, person};
use crate::support::{LiteLlm, Native, StoreKind};

#[rstest]
#[tokio::test]
async fn run_adds_known_users_and_creates_no_user(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 2).await;
    let alice = scene.users[0];
    let [other] = assigned(&scene.world, ["Other"]);
    let stranger = person(&scene.world, "Stranger", &[other]);
    scene.world.simulator.edit(|directory| directory.put(alice, other));
    let users = scene.world.rows().await.users.len();

    let finished = scene.run().await;
    assert_eq!((finished.status, finished.added, finished.removed), (RunStatus::Done, 2, 0), "{finished:?}");
    let rows = scene.world.rows().await;
    let mut expected = [scene.group.to_string(), other.to_string()];
    expected.sort();
    assert_eq!(rows.teams_of(alice), expected);
    assert_eq!(rows.organizations_of(alice), expected);
    assert_eq!((rows.users.len(), rows.teams_of(stranger)), (users, vec![]));
    let events = scene
        .json(
            "select jsonb_agg(jsonb_build_array(actor, action, target_name, evidence ->> 'list') order by action)
             from entraway.audit_events where actor = 'job'",
        )
        .await;
    let added = |action: &str| json!(["job", action, "Other", "members"]);
    assert_eq!(events, json!([added("organization_member_added"), added("team_member_added")]));

    let versions = scene.world.versions().await;
    assert_eq!(scene.run().await.added, 0);
    assert_eq!(scene.world.versions().await, versions, "a run without changes writes no row of the store");

    // The membership is managed: it ends with the group's.
    scene.world.simulator.edit(|directory| directory.take_out(alice, other));
    assert_eq!(scene.run().await.removed, 2);
    assert_eq!(scene.teams_of(alice).await, [scene.group.to_string()]);
}

#[rstest]
#[tokio::test]
async fn additive_sync_adds(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 1).await;
    let [other] = assigned(&scene.world, ["Other"]);
    scene.world.simulator.edit(|directory| directory.put(scene.users[0], other));
    let additive = scene.world.service_with(|config| config.policy.memberships = MembershipSync::Additive).await;
    assert_eq!(run(&additive).await.added, 2);
}

#[rstest]
#[tokio::test]
async fn user_who_returns_gets_the_membership_back(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let alice = scene.users[0];
    scene.leave(alice);
    assert_eq!(scene.run().await.removed, 2);
    scene.world.simulator.edit(|directory| directory.put(alice, scene.group));
    assert_eq!(scene.run().await.added, 2);
    assert_eq!(scene.teams_of(alice).await, [scene.group.to_string()]);
}

#[rstest]
#[tokio::test]
async fn organization_role_is_that_of_the_last_token(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 1).await;
    let alice = scene.users[0];
    let roles = vec!["org_admin".to_owned()];
    scene.world.simulator.edit(|directory| directory.change_person(alice, |user| user.app_roles = roles)).unwrap();
    scene.world.sign_in(&scene.service, alice).await;
    let [other] = assigned(&scene.world, ["Other"]);
    scene.world.simulator.edit(|directory| directory.put(alice, other));
    assert_eq!(scene.run().await.added, 2);
    let rows = scene.world.rows().await;
    let roles: Vec<_> = rows.organization_members.values().map(|member| member["user_role"].clone()).collect();
    assert_eq!(roles, [json!("org_admin"), json!("org_admin")]);
}
