//! `access.require_group`: an unknown list is not treated as empty, but denies the sign-in. The denial is recorded.

use entra_simulator::{Fault, FaultRule};
use rstest::rstest;
use serde_json::{Value, json};

use super::{List, Scene};
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World};

async fn requiring(world: &World) -> Service {
    world.service_with(|config| config.policy.require_group = true).await
}

#[rstest]
#[tokio::test]
async fn require_group_denies_on_unknown_lists_and_records_it(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    let service = requiring(&scene.world).await;
    let lists = [&[List::Assigned][..], &[List::MemberOf], &List::BOTH];
    for lists in lists {
        for fault in [Fault::Html, Fault::throttled(60), Fault::status(403)] {
            for list in lists {
                scene.world.simulator.fault(FaultRule::on(list.endpoint(), fault.clone()));
            }
            let mut before = scene.world.traces().await;
            let mut browser = Browser::new();
            let answer = browser.sign_in(&scene.world.simulator, &service, scene.alice).await;
            let how = format!("{lists:?} with {fault:?}");
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "groups_unknown"), "{how}");
            let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{how}: Retry-After {seconds} s");
            let session = browser.cookies.keys().find(|name| !name.contains("-attempt-"));
            assert_eq!(session, None, "{how}");
            assert_eq!(browser.me(&service).await.status, 401, "{how}");
            let run = scene.world.last_run().await;
            let states =
                [List::Assigned, List::MemberOf].map(|list| if lists.contains(&list) { "unknown" } else { "known" });
            assert_eq!([&run["assigned_groups"], &run["member_of"]], states, "{how}: {run:#}");
            let mut after = scene.world.traces().await;
            if !lists.contains(&List::MemberOf) {
                before.take_groups(scene.alice);
                let groups = after.take_groups(scene.alice);
                assert_eq!(
                    groups,
                    Some(scene.groups_of_unknown_assignment()),
                    "{how}: the user's own groups are known"
                );
            }
            assert_eq!(after, before.and_refused("groups_unknown"), "{how}: only the denial is recorded");
            scene.world.simulator.clear_faults();
        }
    }
    let mut browser = scene.world.sign_in(&service, scene.alice).await;
    assert_eq!(browser.me(&service).await.status, 200, "after recovery");
}

#[rstest]
#[tokio::test]
async fn require_group_denies_users_without_effective_group(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let (bob, carol) = world.simulator.edit(|directory| {
        let (bob, carol) = (directory.person("Bob Baker", |_| {}), directory.person("Carol Cox", |_| {}));
        let (unassigned, inner) = (directory.group("Not Assigned"), directory.group("Inner"));
        directory.put(bob, unassigned);
        directory.put(carol, inner);
        directory.nest(inner, group);
        (bob, carol)
    });
    let service = requiring(&world).await;
    let mut before = world.traces().await;
    for (person, how, group) in
        [(bob, "in a group that is not assigned", "Not Assigned"), (carol, "in a group in an assigned group", "Inner")]
    {
        let answer = world.try_sign_in(&service, person).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "no_group"), "{how}");
        assert!(!answer.headers.contains_key("retry-after"), "{how}: no Retry-After for a permanent denial");
        let mut after = world.traces().await;
        let groups = after.take_groups(person).unwrap();
        let groups: Vec<&Value> = groups.as_object().unwrap().values().collect();
        assert_eq!(groups, [&json!({ "name": group, "assigned": false })], "{how}: stored groups");
        before = before.and_refused("no_group");
        assert_eq!(after, before, "{how}: only the denial is recorded");
        before = world.traces().await;
    }
    world.sign_in(&service, alice).await;
}

#[rstest]
#[tokio::test]
async fn require_group_denies_all_without_assigned_groups(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    world.simulator.edit(|directory| directory.unassign(group));
    let service = requiring(&world).await;
    let answer = world.try_sign_in(&service, alice).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "no_group"));
}
