//! Principals that are not groups, and an app without a configured service principal.

use entra_simulator::{GroupId, Member, OtherKind, OtherObject, Principal};
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use super::support::{assigned, ids, organization_by_hand, person, team_by_hand};
use crate::support::{LiteLlm, Native, Service, StoreKind, World};

/// An instance without `service_principal_id`.
async fn unnamed(world: &World) -> Service {
    world.service_with(|config| config.entra.service_principal_id = None).await
}

/// Adds a directory role and an administrative unit to the tenant, with the IDs of two groups.
fn pretenders(world: &World, role: GroupId, unit: GroupId, member: Member) {
    let template_id = Uuid::new_v4();
    let object = |id: GroupId, kind, name: &str| OtherObject {
        id: id.as_uuid(),
        kind,
        name: name.to_owned(),
        members: vec![member],
    };
    world.simulator.edit(|directory| {
        directory.other_objects.push(object(role, OtherKind::DirectoryRole { template_id }, "Global Reader"));
        directory.other_objects.push(object(unit, OtherKind::AdministrativeUnit, "Branch Office"));
    });
}

#[rstest]
#[tokio::test]
async fn group_assigned_twice_is_one_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Twice"]);
    world.simulator.edit(|directory| {
        directory.assign_role(group, "internal_user");
        directory.assign_role(group, "org_admin");
    });
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&world.service().await, alice).await;

    let rows = world.rows().await;
    assert_eq!((rows.organizations.len(), rows.teams.len(), rows.team_members.len()), (1, 1, 1));
    assert_eq!(world.last_run().await["assigned_groups_read"], 1, "three assignments, one group");
}

#[rstest]
#[tokio::test]
async fn assigned_user_or_service_principal_is_no_group(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Real"]);
    let unassigned = world.simulator.edit(|directory| directory.group("Not assigned"));
    let alice = person(&world, "Alice Arden", &[group, unassigned]);
    world.simulator.edit(|directory| {
        directory.assign_principal(Principal::User(alice), Some("internal_user"));
        directory.assign_principal(Principal::ServicePrincipal(Uuid::new_v4()), Some("internal_user"));
        // A group's ID does not make a principal a group, even if the user is in that group.
        directory.assign_principal(Principal::ServicePrincipal(unassigned.as_uuid()), None);
    });
    world.sign_in(&world.service().await, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams.keys().cloned().collect::<Vec<_>>(), ids(&[group]));
    assert_eq!(rows.organizations.keys().cloned().collect::<Vec<_>>(), ids(&[group]));
    assert_eq!(rows.teams_of(alice), ids(&[group]));
}

#[rstest]
#[tokio::test]
async fn directory_role_or_admin_unit_is_no_group(#[values(Native, LiteLlm)] store: StoreKind) {
    for nested in [false, true] {
        let world = World::of(store).await;
        let [one, two] = assigned(&world, ["One", "Two"]);
        let alice = person(&world, "Alice Arden", &[]);
        pretenders(&world, one, two, Member::User(alice));
        let service = world.service_with(|config| config.sync.nested_groups = nested).await;
        world.sign_in(&service, alice).await;

        let rows = world.rows().await;
        assert_eq!(rows.teams.len(), 2);
        assert!(rows.teams_of(alice).is_empty(), "with nested_groups: {nested} she is in {:?}", rows.teams_of(alice));
        assert!(rows.organizations_of(alice).is_empty(), "with nested_groups: {nested}");
        assert_eq!(world.last_run().await["member_of_read"], 0, "with nested_groups: {nested}");
    }
}

#[rstest]
#[tokio::test]
async fn signin_without_service_principal_only_joins_existing(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [both, only_team, only_organization, neither] = assigned(&world, ["Both", "Team", "Organization", "Neither"]);
    let alice = person(&world, "Alice Arden", &[both, only_team, only_organization, neither]);
    team_by_hand(&world, &both, "Both").await;
    organization_by_hand(&world, &both, "Both").await;
    team_by_hand(&world, &only_team, "Team").await;
    organization_by_hand(&world, &only_organization, "Organization").await;
    let not_hers = world.simulator.edit(|directory| directory.group("Not hers"));
    team_by_hand(&world, &not_hers, "Not hers").await;
    let before = world.rows().await;

    world.sign_in(&unnamed(&world).await, alice).await;

    let rows = world.rows().await;
    assert_eq!((rows.organizations.len(), rows.teams.len()), (2, 3), "nothing was created");
    assert_eq!((&rows.organizations, &rows.teams), (&before.organizations, &before.teams), "nothing was changed");
    assert_eq!(rows.teams_of(alice), ids(&[both, only_team]));
    assert_eq!(rows.organizations_of(alice), ids(&[both, only_organization]));
    let run = world.last_run().await;
    assert_eq!((&run["assigned_groups"], &run["assigned_groups_read"]), (&json!("not_configured"), &json!(null)));
    assert_eq!(run["member_of_read"], 4);
}

#[rstest]
#[tokio::test]
async fn orgs_off_without_service_principal_joins_no_organization(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Group"]);
    let alice = person(&world, "Alice Arden", &[group]);
    team_by_hand(&world, &group, "Group").await;
    organization_by_hand(&world, &group, "Group").await;
    let service = world
        .service_with(|config| {
            config.entra.service_principal_id = None;
            config.policy.also_create_orgs = false;
        })
        .await;
    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams_of(alice), ids(&[group]));
    assert!(rows.organizations_of(alice).is_empty());
}

#[rstest]
#[tokio::test]
async fn directory_role_joins_no_team_without_service_principal(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [one, two] = assigned(&world, ["One", "Two"]);
    let alice = person(&world, "Alice Arden", &[]);
    pretenders(&world, one, two, Member::User(alice));
    for group in [one, two] {
        team_by_hand(&world, &group, "A team").await;
        organization_by_hand(&world, &group, "An organization").await;
    }
    world.sign_in(&unnamed(&world).await, alice).await;

    let rows = world.rows().await;
    assert!(rows.teams_of(alice).is_empty() && rows.organizations_of(alice).is_empty(), "{rows:#?}");
}
