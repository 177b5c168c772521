//! `access.require_group`: unknown is not "nobody", but it opens no door either.

use entraway::fake::{Fault, FaultRule};
use rstest::rstest;

use super::{List, Scene};
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World};

async fn requiring(world: &World) -> Service {
    world.service_with(|config| config.policy.require_group = true).await
}

#[rstest]
#[tokio::test]
async fn where_a_group_is_required_unknown_lists_let_nobody_in_and_write_nothing(
    #[values(Native, LiteLlm)] store: StoreKind,
) {
    let scene = Scene::new(store).await;
    let service = requiring(&scene.world).await;
    let lists = [&[List::Assigned][..], &[List::MemberOf], &List::BOTH];
    for lists in lists {
        for fault in [Fault::Html, Fault::throttled(60), Fault::status(403)] {
            for list in lists {
                scene.world.fake.fault(FaultRule::on(list.endpoint(), fault.clone()));
            }
            let before = scene.world.traces().await;
            let mut browser = Browser::new();
            let answer = browser.sign_in(&scene.world.fake, &service, scene.alice).await;
            let how = format!("{lists:?} with {fault:?}");
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "groups_unknown"), "{how}");
            let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{how}: come back in {seconds} s");
            assert!(browser.cookies.is_empty(), "{how}: {:?}", browser.cookies);
            assert_eq!(browser.me(&service).await.status, 401, "{how}");
            assert_eq!(scene.world.traces().await, before, "{how}: nothing is written");
            scene.world.fake.clear_faults();
        }
    }
    let mut browser = scene.world.sign_in(&service, scene.alice).await;
    assert_eq!(browser.me(&service).await.status, 200, "once it is known that she is in a group");
}

#[rstest]
#[tokio::test]
async fn where_a_group_is_required_those_in_none_stay_outside(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let (bob, carol) = world.fake.edit(|directory| {
        let (bob, carol) = (directory.person("Bob Baker", |_| {}), directory.person("Carol Cox", |_| {}));
        let (unassigned, inner) = (directory.group("Not Assigned"), directory.group("Inner"));
        directory.put(bob, unassigned);
        directory.put(carol, inner);
        directory.nest(inner, group);
        (bob, carol)
    });
    let service = requiring(&world).await;
    let before = world.traces().await;
    for (person, how) in [(bob, "in a group that is not assigned"), (carol, "in a group in an assigned group")] {
        let answer = world.try_sign_in(&service, person).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "no_group"), "{how}");
        assert!(!answer.headers.contains_key("retry-after"), "{how}: waiting does not help");
        assert_eq!(world.traces().await, before, "{how}: nothing is written");
    }
    world.sign_in(&service, alice).await;
}

#[rstest]
#[tokio::test]
async fn where_no_group_is_assigned_nobody_is_in_one(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    world.fake.edit(|directory| directory.unassign(group));
    let service = requiring(&world).await;
    let answer = world.try_sign_in(&service, alice).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "no_group"));
}
