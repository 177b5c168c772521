//! Unusual names: the tables always receive text that they can store.

use entra_simulator::GroupId;
use rstest::rstest;

use super::support::{assigned, ids, person};
use crate::support::{LiteLlm, Native, Rows, StoreKind, World};

/// A group's name as organization and as team.
fn aliases(rows: &Rows, group: GroupId) -> [&str; 2] {
    let id = group.to_string();
    [&rows.organizations[&id]["organization_alias"], &rows.teams[&id]["team_alias"]]
        .map(|alias| alias.as_str().unwrap())
}

#[rstest]
#[tokio::test]
async fn groups_with_same_name_stay_separate(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = assigned(&world, ["Research", "Research", "research"]);
    let alice = person(&world, "Alice Arden", &groups[..2]);
    world.sign_in(&world.service().await, alice).await;
    let rows = world.rows().await;
    assert_eq!((rows.organizations.len(), rows.teams.len()), (3, 3));
    assert_eq!(rows.teams_of(alice), ids(&groups[..2]));
}

#[rstest]
#[tokio::test]
async fn group_names_come_from_assignments_if_list_has_none(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    world.simulator.edit(|directory| directory.app_permissions.delegated_group_member_read = false);
    let [hers, other] = assigned(&world, ["Hers", "Other"]);
    let alice = person(&world, "Alice Arden", &[hers]);
    world.sign_in(&world.service().await, alice).await;
    let rows = world.rows().await;
    assert_eq!(aliases(&rows, hers), ["Hers"; 2]);
    assert_eq!(aliases(&rows, other), ["Other"; 2]);
    assert_eq!(rows.teams_of(alice), ids(&[hers]));
}
