//! Organization memberships: they end with the user's last team in the organization (rule 14).

use rstest::rstest;
use serde_json::json;

use super::{assigned, leave, person, world};
use crate::support::sql_fixtures::{MAKE_ORGANIZATION, MAKE_TEAM, PUT_IN_TEAM, TAKE_OUT_OF_TEAM};
use crate::support::{LiteLlm, Native, StoreKind, World};

/// Moves an existing team into an organization by hand.
async fn move_team(world: &World, team: &dyn ToString, organization: &dyn ToString) {
    world.by_hand("update {teams} set organization_id = $2 where team_id = $1", &[team, organization]).await;
}

#[rstest]
#[tokio::test]
async fn organization_membership_stays_with_another_team(
    #[values(Native, LiteLlm)] store: StoreKind,
    #[values(true, false)] manual: bool,
) {
    let world = world(store).await;
    let [group, other] = assigned(&world, ["Evals", "Other"]);
    let groups = if manual { vec![group] } else { vec![group, other] };
    let alice = person(&world, "Alice Arden", &groups);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    // Another team in the organization of the group that Alice leaves: managed or manual.
    if manual {
        world.by_hand(MAKE_TEAM, &[&"by-hand", &"By hand"]).await;
        move_team(&world, &"by-hand", &group).await;
        world.by_hand(PUT_IN_TEAM, &[&alice, &"by-hand", &"user"]).await;
    } else {
        move_team(&world, &other, &group).await;
    }
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert!(!rows.teams_of(alice).contains(&group.to_string()));
    assert!(rows.organizations_of(alice).contains(&group.to_string()), "the other team keeps the membership");
    assert_eq!(world.last_run().await["removed_from_organizations"], json!([]));
}

#[rstest]
#[tokio::test]
async fn organization_created_by_hand_is_left_with_last_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [one, two] = assigned(&world, ["One", "Two"]);
    world.by_hand(MAKE_ORGANIZATION, &[&"platform", &"Platform"]).await;
    for team in [one, two] {
        world.by_hand(MAKE_TEAM, &[&team, &"Team"]).await;
        move_team(&world, &team, &"platform").await;
    }
    let alice = person(&world, "Alice Arden", &[one, two]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.organizations_of(alice), ["platform"]);

    leave(&world, alice, one);
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.organizations_of(alice), ["platform"], "one team is left");

    leave(&world, alice, two);
    world.sign_in(&service, alice).await;
    let rows = world.rows().await;
    assert_eq!((rows.organizations_of(alice).len(), rows.teams_of(alice).len()), (0, 0));
    assert_eq!(world.last_run().await["removed_from_organizations"], json!(["platform"]));
}

#[rstest]
#[tokio::test]
async fn manual_organization_membership_stays(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let sql = "insert into {organization_members} (user_id, organization_id, user_role, updated_at)
               values ($1, $2, 'internal_user', now())";
    world.by_hand(sql, &[&alice, &group]).await;
    world.simulator.edit(|directory| directory.put(alice, group));
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!((rows.teams_of(alice).len(), rows.organizations_of(alice)), (0, vec![group.to_string()]));
}

/// The setting changes what is created, not what is removed.
#[rstest]
#[tokio::test]
async fn organization_is_left_with_orgs_turned_off(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&world.service().await, alice).await;
    leave(&world, alice, group);
    let service = world.service_with(|config| config.policy.also_create_orgs = false).await;
    world.sign_in(&service, alice).await;
    let rows = world.rows().await;
    assert_eq!((rows.organizations_of(alice).len(), rows.teams_of(alice).len()), (0, 0));
    assert_eq!((rows.organizations.len(), rows.teams.len()), (1, 1), "the rows of the group stay");
}

/// A sign-in proves nothing about a group that is not assigned, even if its organization has no team of the user.
#[rstest]
#[tokio::test]
async fn organization_of_unassigned_group_is_kept(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group, _other] = assigned(&world, ["Evals", "Other"]);
    world.by_hand(MAKE_TEAM, &[&group, &"Standalone"]).await;
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.organizations_of(alice), [group.to_string()], "beside the standalone team");
    world.simulator.edit(|directory| directory.unassign(group));
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.organizations_of(alice), [group.to_string()]);
    world.simulator.edit(|directory| directory.assign(group));
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.organizations_of(alice), [""; 0]);
}

/// Rule 14 also applies when the last team membership ended in another way than by this sign-in.
#[rstest]
#[tokio::test]
async fn organization_without_teams_of_the_user_is_left_later(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    world.by_hand(MAKE_ORGANIZATION, &[&"platform", &"Platform"]).await;
    for team in [group.to_string(), "by-hand".to_owned()] {
        world.by_hand(MAKE_TEAM, &[&team, &"Team"]).await;
        move_team(&world, &team, &"platform").await;
    }
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.by_hand(PUT_IN_TEAM, &[&alice, &"by-hand", &"user"]).await;
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.organizations_of(alice), ["platform"], "the manual team keeps it");
    world.by_hand(TAKE_OUT_OF_TEAM, &[&alice, &"by-hand"]).await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.organizations_of(alice), [""; 0]);
}
