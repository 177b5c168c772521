//! Team memberships.

use entra_simulator::{Endpoint, Fault, FaultRule};
use entraway::policy::MembershipSync;
use rstest::rstest;
use serde_json::json;

use super::{assigned, enter, leave, person, places, world};
use crate::support::sql_fixtures::{MAKE_TEAM, PUT_IN_TEAM, TAKE_OUT_OF_TEAM};
use crate::support::{LiteLlm, Native, StoreKind};

#[rstest]
#[tokio::test]
async fn signin_removes_user_from_team_of_left_group(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [left, kept] = assigned(&world, ["Left", "Kept"]);
    let alice = person(&world, "Alice Arden", &[left, kept]);
    let bob = person(&world, "Bob Brook", &[left]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;
    leave(&world, alice, left);

    let mut browser = world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams_of(alice), [kept.to_string()]);
    assert_eq!(rows.organizations_of(alice), [kept.to_string()]);
    assert_eq!(rows.teams_of(bob), [left.to_string()], "other members stay");
    if store == LiteLlm {
        assert_eq!(places(&world, alice, left).await, json!([0, 0, 0]), "roster, own list, membership table");
        assert_eq!(places(&world, bob, left).await, json!([1, 1, 1]), "of the other member");
    }
    let run = world.last_run_of(alice).await;
    assert_eq!(
        (&run["removed_from_teams"], &run["removed_from_organizations"]),
        (&json!([left]), &json!([left])),
        "{run:#}"
    );
    let me = browser.me(&service).await.json();
    assert_eq!(me["teams"].as_array().unwrap().len(), 1, "{me:#}");
    assert_eq!(me["last_sync"]["removed_from_teams"], json!([left]), "{me:#}");

    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "the next sign-in changes nothing");
}

#[rstest]
#[tokio::test]
async fn user_who_returns_is_a_member_again(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    enter(&world, alice, group);
    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(
        (rows.teams_of(alice), rows.organizations_of(alice)),
        (vec![group.to_string()], vec![group.to_string()])
    );
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [""; 0], "the new membership is managed, too");
}

#[rstest]
#[tokio::test]
async fn additive_sync_removes_nothing(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service_with(|config| config.policy.memberships = MembershipSync::Additive).await;
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before);
}

#[rstest]
#[tokio::test]
async fn unknown_list_removes_nothing(
    #[values(Native, LiteLlm)] store: StoreKind,
    #[values(Endpoint::AssignedTo, Endpoint::MemberOf)] list: Endpoint,
) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    let before = world.versions().await;
    world.simulator.fault(FaultRule::on(list, Fault::status(403)));
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "{list:?} is unknown");
}

#[rstest]
#[tokio::test]
async fn group_that_is_not_assigned_removes_nothing(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group, _other] = assigned(&world, ["Evals", "Other"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    world.simulator.edit(|directory| directory.unassign(group));
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "a sign-in proves nothing about groups that are not assigned");
}

#[rstest]
#[tokio::test]
async fn manual_membership_stays(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group, home] = assigned(&world, ["Evals", "Home"]);
    let alice = person(&world, "Alice Arden", &[home]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.by_hand(PUT_IN_TEAM, &[&alice, &group, &"user"]).await;
    world.by_hand(MAKE_TEAM, &[&"by-hand", &"By hand"]).await;
    world.by_hand(PUT_IN_TEAM, &[&alice, &"by-hand", &"user"]).await;
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before);

    // Entering the group later changes nothing about the provenance: the membership was found.
    enter(&world, alice, group);
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert!(world.rows().await.teams_of(alice).contains(&group.to_string()), "a found membership is never removed");
}

/// LiteLLM's membership rows have no time, so the sync must see that the row was missing.
#[rstest]
#[tokio::test]
async fn membership_removed_and_added_by_hand_is_manual(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group, home] = assigned(&world, ["Evals", "Home"]);
    let alice = person(&world, "Alice Arden", &[group, home]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    world.by_hand(TAKE_OUT_OF_TEAM, &[&alice, &group]).await;
    world.sign_in(&service, alice).await;
    world.by_hand(PUT_IN_TEAM, &[&alice, &group, &"user"]).await;
    world.sign_in(&service, alice).await;
    assert!(world.rows().await.teams_of(alice).contains(&group.to_string()));
}

/// An additive sync sees that, too, so that a later change of the setting removes nothing that was made by hand.
#[rstest]
#[tokio::test]
async fn additive_sync_notices_membership_removed_by_hand(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group, home] = assigned(&world, ["Evals", "Home"]);
    let alice = person(&world, "Alice Arden", &[group, home]);
    let additive = world.service_with(|config| config.policy.memberships = MembershipSync::Additive).await;
    world.sign_in(&additive, alice).await;
    leave(&world, alice, group);
    world.by_hand(TAKE_OUT_OF_TEAM, &[&alice, &group]).await;
    world.sign_in(&additive, alice).await;
    world.by_hand(PUT_IN_TEAM, &[&alice, &group, &"user"]).await;
    world.sign_in(&world.service().await, alice).await;
    assert!(world.rows().await.teams_of(alice).contains(&group.to_string()));
}

/// The denial counts, and the user's sessions end, even if the database refuses the removal.
#[rstest]
#[tokio::test]
async fn failed_removal_does_not_undo_a_denial(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service_with(|config| config.policy.require_group = true).await;
    let mut browser = world.sign_in(&service, alice).await;
    let sql = "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
               create trigger refuse before delete on {organization_members} for each row execute function refuse()";
    world.sql(sql).await;
    leave(&world, alice, group);
    let answer = world.try_sign_in(&service, alice).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "no_group"), "{answer:#?}");
    assert_eq!(browser.me(&service).await.status, 401, "the session has ended");
    assert_eq!(world.last_run().await["outcome"], "no_group");
    assert_eq!(world.rows().await.teams_of(alice).len(), 1, "nothing is removed in part");
}

#[rstest]
#[tokio::test]
async fn removal_without_service_principal_follows_own_groups(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&world.service().await, alice).await;
    leave(&world, alice, group);
    let service = world.service_with(|config| config.entra.service_principal_id = None).await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [""; 0]);
}

#[rstest]
#[tokio::test]
async fn denied_user_loses_memberships(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service_with(|config| config.policy.require_group = true).await;
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);

    let answer = world.try_sign_in(&service, alice).await;

    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "no_group"), "{answer:#?}");
    let rows = world.rows().await;
    assert_eq!((rows.teams_of(alice).len(), rows.organizations_of(alice).len()), (0, 0));
    assert_eq!(rows.users.len(), 1, "the account stays");
    let run = world.last_run().await;
    assert_eq!((&run["outcome"], &run["removed_from_teams"]), (&json!("no_group"), &json!([group])), "{run:#}");
}

/// Sessions show the removal on every replica, and forward auth denies the team.
#[rstest]
#[tokio::test]
async fn other_replicas_deny_the_team_after_removal(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let (one, other) = (world.service().await, world.service().await);
    let mut browser = world.sign_in(&one, alice).await;
    let path = format!("/auth/verify?team={group}");
    assert_eq!(browser.get(other.at(&path)).await.status, 200, "before");
    leave(&world, alice, group);
    world.sign_in(&one, alice).await;
    crate::support::scene::until("the other replica denies the team", async || {
        browser.get(other.at(&path)).await.status == 403
    })
    .await;
}
