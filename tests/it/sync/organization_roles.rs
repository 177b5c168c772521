//! Roles inside organizations: `org_admin` applies to organizations from the sync, and is removed with the app role.

use entra_simulator::{GroupId, ObjectId};
use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assigned, give_roles, ids, organization_by_hand, person};
use crate::support::{LiteLlm, Native, StoreKind, World};

/// The role in this organization.
async fn role_in(world: &World, person: ObjectId, organization: &dyn ToString) -> Value {
    let rows = world.rows().await;
    rows.organization_members[&format!("{person}/{}", organization.to_string())]["user_role"].clone()
}

#[rstest]
#[tokio::test]
async fn app_role_maps_to_organization_role(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let service = world.service().await;
    for (app_role, expected) in [
        ("org_admin", "org_admin"),
        ("proxy_admin", "internal_user"),
        ("internal_user", "internal_user"),
        ("proxy_admin_viewer", "internal_user_viewer"),
        ("internal_user_viewer", "internal_user_viewer"),
    ] {
        let alice = person(&world, "Alice Arden", &[group]);
        give_roles(&world, alice, &[app_role]);
        world.sign_in(&service, alice).await;
        assert_eq!(role_in(&world, alice, &group).await, expected, "for the app role {app_role}");
        let rows = world.rows().await;
        assert_eq!(
            rows.team_members[&format!("{alice}/{group}")]["role"],
            "user",
            "in the team every member is a user"
        );
    }
}

#[rstest]
#[tokio::test]
async fn org_admin_follows_app_role_in_managed_organizations(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [one, two, three] = assigned(&world, ["One", "Two", "Three"]);
    let alice = person(&world, "Alice Arden", &[one, two]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    for group in [one, two] {
        assert_eq!(role_in(&world, alice, &group).await, "internal_user", "before Entra gave the app role");
    }

    give_roles(&world, alice, &["org_admin"]);
    world.simulator.edit(|directory| directory.put(alice, three));
    world.sign_in(&service, alice).await;
    for group in [one, two, three] {
        assert_eq!(role_in(&world, alice, &group).await, "org_admin");
    }
    let row = if store == LiteLlm { "internal_user" } else { "org_admin" };
    assert_eq!(world.rows().await.users[&alice.to_string()]["user_role"], row);
    assert_eq!(world.last_run().await["user_updated"], true);
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "a second sign-in with the role writes nothing");

    give_roles(&world, alice, &[]);
    world.sign_in(&service, alice).await;
    for group in [one, two, three] {
        assert_eq!(role_in(&world, alice, &group).await, "internal_user", "after Entra took the app role away");
    }
}

#[rstest]
#[tokio::test]
async fn org_admin_is_removed_in_organizations_of_left_groups(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    give_roles(&world, alice, &["org_admin"]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;

    give_roles(&world, alice, &[]);
    world.simulator.edit(|directory| directory.take_out(alice, group));
    world.sign_in(&service, alice).await;

    assert_eq!(world.rows().await.organizations_of(alice), ids(&[group]), "the membership stays");
    assert_eq!(role_in(&world, alice, &group).await, "internal_user", "the role does not");
}

#[rstest]
#[tokio::test]
async fn org_admin_is_removed_while_orgs_are_off(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    give_roles(&world, alice, &["org_admin"]);
    world.sign_in(&world.service().await, alice).await;

    give_roles(&world, alice, &[]);
    world.sign_in(&world.service_with(|config| config.policy.also_create_orgs = false).await, alice).await;
    assert_eq!(role_in(&world, alice, &group).await, "internal_user");
}

/// Alice is in a group's organization, and by hand in an organization of no group.
async fn with_a_manual_membership(store: StoreKind) -> (World, ObjectId, GroupId) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&world.service().await, alice).await;
    organization_by_hand(&world, &"not a guid", "By hand").await;
    let sql = "insert into {organization_members} (user_id, organization_id, user_role)
               values ($1, 'not a guid', 'internal_user_viewer')";
    world.by_hand(sql, &[&alice]).await;
    (world, alice, group)
}

#[rstest]
#[tokio::test]
async fn manual_membership_keeps_its_role(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, alice, group) = with_a_manual_membership(store).await;
    for roles in [&["org_admin"][..], &["proxy_admin"], &[]] {
        give_roles(&world, alice, roles);
        world.sign_in(&world.service().await, alice).await;
        assert_eq!(role_in(&world, alice, &"not a guid").await, "internal_user_viewer", "with app roles {roles:?}");
    }
    assert_eq!(role_in(&world, alice, &group).await, "internal_user");
}

#[rstest]
#[tokio::test]
async fn manually_changed_organization_role_stays(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [changed, left] = assigned(&world, ["Changed by hand", "Left alone"]);
    let alice = person(&world, "Alice Arden", &[changed, left]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let sql = "update {organization_members} set user_role = 'org_admin' where organization_id = $1";
    world.by_hand(sql, &[&changed]).await;

    for (roles, in_the_other) in
        [(&[][..], "internal_user"), (&["internal_user_viewer"], "internal_user_viewer"), (&[], "internal_user")]
    {
        give_roles(&world, alice, roles);
        world.sign_in(&service, alice).await;
        assert_eq!(role_in(&world, alice, &changed).await, "org_admin", "with app roles {roles:?}");
        assert_eq!(role_in(&world, alice, &left).await, in_the_other, "with app roles {roles:?}");
    }
    let rows = world.rows().await;
    assert_eq!(rows.organization_members[&format!("{alice}/{changed}")]["source"], json!("entra"));
}
