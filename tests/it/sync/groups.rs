//! Effective groups: empty ones, many, none, and nested groups.

use entra_simulator::{Endpoint, Fault, FaultRule};
use rstest::rstest;
use serde_json::json;

use super::support::{assigned, ids, many_assigned, person};
use crate::support::{LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn empty_group_gets_organization_and_team_without_members(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [empty] = assigned(&world, ["Empty"]);
    let alice = person(&world, "Alice Arden", &[]);
    world.sign_in(&world.service().await, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.organizations.keys().cloned().collect::<Vec<_>>(), ids(&[empty]));
    assert_eq!(rows.teams.keys().cloned().collect::<Vec<_>>(), ids(&[empty]));
    assert!(rows.organization_members.is_empty() && rows.team_members.is_empty());
    assert_eq!(rows.users.len(), 1, "a user without groups still gets a row");
}

#[rstest]
#[tokio::test]
async fn user_in_over_one_page_of_groups_is_in_all_teams(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = many_assigned(&world, 1_100);
    let alice = person(&world, "Alice Arden", &groups);
    world.sign_in(&world.service().await, alice).await;

    for endpoint in [Endpoint::AssignedTo, Endpoint::MemberOf] {
        let pages: Vec<usize> = world.simulator.requests_to(endpoint).iter().map(|request| request.page).collect();
        assert_eq!(pages, [1, 2], "the test needs two pages of {endpoint:?}");
    }
    let rows = world.rows().await;
    assert_eq!((rows.organizations.len(), rows.teams.len()), (1_100, 1_100));
    assert_eq!(rows.teams_of(alice), ids(&groups));
    assert_eq!(rows.organizations_of(alice), ids(&groups));
}

#[rstest]
#[tokio::test]
async fn empty_first_page_does_not_end_the_list(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = many_assigned(&world, 300);
    let alice = person(&world, "Alice Arden", &groups);
    for endpoint in [Endpoint::AssignedTo, Endpoint::MemberOf] {
        world.simulator.fault(FaultRule::on(endpoint, Fault::EmptyPageWithNextLink).times(1));
    }
    world.sign_in(&world.service().await, alice).await;

    assert_eq!(world.rows().await.teams_of(alice), ids(&groups));
    let run = world.last_run().await;
    assert_eq!((&run["assigned_groups_read"], &run["member_of_read"]), (&json!(300), &json!(300)));
}

#[rstest]
#[tokio::test]
async fn unassigned_groups_create_nothing(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = world.simulator.edit(|directory| {
        let (alice, group) = (directory.person("Alice Arden", |_| {}), directory.group("Not assigned"));
        directory.put(alice, group);
        alice
    });
    world.sign_in(&world.service().await, alice).await;

    let rows = world.rows().await;
    assert!(rows.organizations.is_empty() && rows.teams.is_empty(), "{rows:#?}");
    let run = world.last_run().await;
    assert_eq!((&run["assigned_groups"], &run["assigned_groups_read"]), (&json!("known"), &json!(0)));
    assert_eq!(run["member_of_read"], 1);
}

#[rstest]
#[tokio::test]
async fn empty_assigned_list_joins_no_existing_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Was assigned"]);
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;

    world.simulator.edit(|directory| {
        directory.unassign(group);
        directory.put(alice, group);
    });
    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert!(rows.teams_of(alice).is_empty() && rows.organizations_of(alice).is_empty(), "{rows:#?}");
}

#[rstest]
#[tokio::test]
async fn user_joins_direct_groups_only_by_default(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [outer, inner] = assigned(&world, ["Outer", "Inner"]);
    world.simulator.edit(|directory| directory.nest(inner, outer));
    let alice = person(&world, "Alice Arden", &[inner]);
    world.sign_in(&world.service().await, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams_of(alice), ids(&[inner]));
    assert!(rows.teams.contains_key(&outer.to_string()), "the outer group has its team, without her");
}

#[rstest]
#[tokio::test]
async fn nested_groups_join_outer_groups_through_cycles(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [top, middle, bottom] = assigned(&world, ["Top", "Middle", "Bottom"]);
    world.simulator.edit(|directory| {
        directory.nest(middle, top);
        directory.nest(bottom, middle);
        directory.nest(top, bottom);
        // An unassigned group in between does not interrupt the nesting.
        directory.unassign(middle);
    });
    let alice = person(&world, "Alice Arden", &[bottom]);
    let service = world.service_with(|config| config.sync.nested_groups = true).await;
    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams_of(alice), ids(&[top, bottom]));
    assert_eq!(rows.organizations_of(alice), ids(&[top, bottom]));
    assert!(!rows.teams.contains_key(&middle.to_string()), "the group that is not assigned has no team");
}

#[rstest]
#[tokio::test]
async fn every_assignable_group_kind_gets_a_team(#[values(Native, LiteLlm)] store: StoreKind) {
    use entra_simulator::GroupKind;
    let kinds = [GroupKind::Security, GroupKind::Dynamic, GroupKind::MailEnabledSecurity, GroupKind::Microsoft365];
    let world = World::of(store).await;
    let groups = world.simulator.edit(|directory| {
        kinds.map(|kind| {
            let group = directory.group_with(&format!("{kind:?}"), |group| group.kind = kind);
            directory.assign(group);
            group
        })
    });
    let alice = person(&world, "Alice Arden", &groups);
    world.sign_in(&world.service().await, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), ids(&groups));
}
