//! Complete member lists: only users, all pages, direct or nested, and deleted groups.

use entra_simulator::{Endpoint, Member};
use entraway::entra_facts::{GroupState, MemberList};
use uuid::Uuid;

use super::{BUDGET, Scene, assert_complete, simulated};

#[tokio::test]
async fn member_list_has_only_users() {
    let scene = Scene::new().await;
    let (group, users) = scene.group(3);
    let (empty, _) = scene.group(0);
    scene.simulator.edit(|directory| {
        for member in [
            Member::Group(simulated(empty)),
            Member::Device(Uuid::new_v4()),
            Member::Contact(Uuid::new_v4()),
            Member::ServicePrincipal(Uuid::new_v4()),
        ] {
            directory.add_member(member, simulated(group));
        }
        directory.set_account_enabled(users[0].as_uuid().into(), false);
    });
    let lists = scene.members(&[group, empty], false).await;
    assert_complete(&lists, group, &users);
    assert_complete(&lists, empty, &[]);
}

#[tokio::test]
async fn member_list_has_all_pages() {
    let scene = Scene::new().await;
    let (large, users) = scene.group(2_100);
    let (small, few) = scene.group(1);
    let lists = scene.members(&[large, small], false).await;
    assert_complete(&lists, large, &users);
    assert_complete(&lists, small, &few);
    let requests = scene.simulator.requests_to(Endpoint::GroupMembers);
    let pages = |group: &str| requests.iter().filter(|r| r.path.contains(group)).map(|r| r.page).collect::<Vec<_>>();
    assert_eq!((pages(&large.to_string()), pages(&small.to_string())), (vec![1, 2, 3], vec![1]));
    assert!(requests.iter().all(|request| request.path.contains("$top=999")), "{requests:#?}");
    assert_eq!(scene.simulator.requests_to(Endpoint::Batch).len(), 4, "one for the groups, one for each page");
}

#[tokio::test]
async fn nested_members_count_only_if_requested() {
    let scene = Scene::new().await;
    let (outer, own) = scene.group(1);
    let (inner, inside) = scene.group(2);
    scene.simulator.edit(|directory| {
        directory.nest(simulated(inner), simulated(outer));
        directory.nest(simulated(outer), simulated(inner));
    });
    let lists = scene.members(&[outer], false).await;
    assert_complete(&lists, outer, &own);
    let mut all = [own, inside].concat();
    all.sort_unstable();
    assert_complete(&scene.members(&[outer], true).await, outer, &all);
}

#[tokio::test]
async fn deleted_group_is_gone_and_not_empty() {
    let scene = Scene::new().await;
    let (group, _) = scene.group(2);
    let (other, users) = scene.group(2);
    scene.simulator.edit(|directory| directory.remove_group(simulated(group)));
    let lists = scene.members(&[group, other], false).await;
    assert_eq!(lists[&group], MemberList::Gone);
    assert_complete(&lists, other, &users);
    let asked = scene.simulator.requests_to(Endpoint::GroupMembers);
    assert!(asked.iter().all(|request| !request.path.contains(&group.to_string())), "{asked:#?}");
}

#[tokio::test]
async fn group_states_have_the_current_name() {
    let scene = Scene::new().await;
    let (renamed, _) = scene.group(0);
    let (gone, _) = scene.group(0);
    scene.simulator.edit(|directory| {
        directory.rename_group(simulated(renamed), "Renamed");
        directory.remove_group(simulated(gone));
    });
    let states = scene.graph.group_states(&scene.token, &[renamed, gone].into(), BUDGET).await;
    let exists = GroupState::Exists { name: Some("Renamed".to_owned()), hidden_membership: false };
    assert_eq!(states, [(renamed, exists), (gone, GroupState::Gone)].into());
}

#[tokio::test]
async fn member_list_shows_which_accounts_are_disabled() {
    let scene = Scene::new().await;
    let (group, users) = scene.group(3);
    scene.simulator.edit(|directory| directory.set_account_enabled(users[0].as_uuid().into(), false));
    let shown = async || match &scene.members(&[group], false).await[&group] {
        MemberList::Complete(list) => {
            (list.disabled().to_vec(), users.iter().map(|user| list.shows_enabled(*user)).collect())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(shown().await, (vec![users[0]], vec![false, true, true]));

    scene.simulator.edit(|directory| directory.app_permissions.user_read = false);
    assert_eq!(shown().await, (vec![], vec![false; 3]), "null without User.Read.All: unknown, never disabled");
}
