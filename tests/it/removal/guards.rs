//! Guards: what is kept although the user left the group (rules 15 and 16). A guard never fails a sign-in.

use std::collections::BTreeSet;

use entra_simulator::{GroupId, ObjectId};
use rstest::rstest;
use serde_json::json;

use super::{assigned, leave, person, world};
use crate::support::sql_fixtures::{Deed, PUT_IN_TEAM};
use crate::support::{LiteLlm, Native, StoreKind, World, join_all};

/// `$1` is the user, `$2` the team.
const MAKE_TEAM_ADMIN: Deed = Deed::of(
    "update entraway.team_members set role = 'admin' where user_id = $1 and team_id = $2",
    r#"update {teams} set members_with_roles = (
           select jsonb_agg(case member ->> 'user_id' when $1 then member || '{"role": "admin"}' else member end)
           from jsonb_array_elements(members_with_roles) member)
       where team_id = $2"#,
);

async fn make_team_admin(world: &World, user: ObjectId, team: GroupId) {
    world.by_hand(MAKE_TEAM_ADMIN, &[&user, &team]).await;
}

#[rstest]
#[tokio::test]
async fn last_team_admin_is_kept_until_there_is_another(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let [alice, bob] = ["Alice Arden", "Bob Brook"].map(|name| person(&world, name, &[group]));
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;
    make_team_admin(&world, alice, group).await;
    leave(&world, alice, group);

    world.sign_in(&service, alice).await;
    let rows = world.rows().await;
    assert_eq!(rows.teams_of(alice), [group.to_string()]);
    assert_eq!(rows.organizations_of(alice), [group.to_string()], "the organization of the kept team");
    let note = json!({ "note": "removal_kept", "kind": "team", "id": group, "reason": "last_admin" });
    assert_eq!(world.last_run_of(alice).await["notes"], json!([note]));

    world.sign_in(&service, alice).await;
    let sql = "select to_jsonb(array_agg(array[action, cause, target_name])) from entraway.audit_events where result = 'kept'";
    let kept = json!([["team_member_removed", "last_admin", "Evals"]]);
    assert_eq!(super::json(&world, sql).await, kept, "recorded once, not at each sign-in");

    make_team_admin(&world, bob, group).await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [""; 0]);
}

/// LiteLLM's administrators may be service accounts, which never sign in.
#[tokio::test]
async fn admin_who_never_signed_in_does_not_replace_the_last() {
    let world = world(LiteLlm).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    make_team_admin(&world, alice, group).await;
    world.by_hand("insert into {users} (user_id, teams) values ($1, '{}')", &[&"bot"]).await;
    world.by_hand(PUT_IN_TEAM, &[&"bot", &group, &"admin"]).await;
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()]);
}

/// The guard counts under the team's lock, so two administrators who leave at once do not both go.
#[rstest]
#[tokio::test]
async fn concurrent_signins_keep_one_admin(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = ["Alice Arden", "Bob Brook", "Carol Cole"].map(|name| person(&world, name, &[group]));
    let service = world.service().await;
    for user in users {
        world.sign_in(&service, user).await;
        make_team_admin(&world, user, group).await;
    }
    for user in users {
        leave(&world, user, group);
    }
    join_all(users.map(|user| {
        let (world, service) = (&world, &service);
        async move { _ = world.sign_in(service, user).await }
    }))
    .await;
    let rows = world.rows().await;
    let left: Vec<_> = users.iter().filter(|user| !rows.teams_of(**user).is_empty()).collect();
    assert_eq!(left.len(), 1, "one administrator is left: {left:?}");
}

#[rstest]
#[tokio::test]
async fn last_org_admin_is_kept_in_organization(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let sql = "update {organization_members} set user_role = 'org_admin' where user_id = $1";
    world.by_hand(sql, &[&alice]).await;
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    let rows = world.rows().await;
    assert_eq!((rows.teams_of(alice).len(), rows.organizations_of(alice)), (0, vec![group.to_string()]));
}

#[rstest]
#[tokio::test]
async fn listed_admin_keeps_all_memberships(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let admins = BTreeSet::from([alice.to_string()]);
    let service = world.service_with(|config| config.policy.admin_user_ids = admins).await;
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    let rows = world.rows().await;
    assert_eq!((rows.teams_of(alice).len(), rows.organizations_of(alice).len()), (1, 1));
    assert_eq!(world.last_run().await["notes"][0]["reason"], "listed_admin");
}

/// Without the second grants file, the sync only adds, and says so. It removes as soon as the grants are there.
#[tokio::test]
async fn missing_grants_keep_memberships_and_are_noted() {
    let world = World::of(LiteLlm).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    leave(&world, alice, group);
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before);
    let note = json!({ "note": "removal_kept", "kind": "team", "id": group, "reason": "missing_privileges" });
    assert_eq!(world.last_run().await["notes"][0], note);

    world.grant_removal().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [""; 0]);
}
