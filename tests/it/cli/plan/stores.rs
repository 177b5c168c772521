//! What is read from both stores: managed memberships only, in a constant number of statements.

use entraway::domain::StoreKind;
use entraway::policy::MembershipSync;
use rstest::rstest;
use serde_json::json;

use super::super::program::{CONFIG, environment};
use super::{accept_settings, changes, members, plan, plan_of, planned, world};
use crate::support::scene::{assigned, many_assigned, person};
use crate::support::sql_fixtures::{Deed, MAKE_TEAM, PUT_IN_TEAM, TAKE_OUT_OF_TEAM};
use crate::support::{LiteLlm, Native, World};

/// `$1` is the user, `$2` the team.
const MAKE_TEAM_ADMIN: Deed = Deed::of(
    "update entraway.team_members set role = 'admin' where user_id = $1 and team_id = $2",
    r#"update {teams} set members_with_roles = (
           select jsonb_agg(case member ->> 'user_id' when $1 then member || '{"role": "admin"}' else member end)
           from jsonb_array_elements(members_with_roles) member)
       where team_id = $2"#,
);

#[rstest]
#[tokio::test]
async fn manual_memberships_are_not_compared(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 2).await;
    world.by_hand(MAKE_TEAM, &[&"manual", &"Manual"]).await;
    world.by_hand(PUT_IN_TEAM, &[&users[0], &"manual", &"user"]).await;
    let carol = person(&world, "Carol Cole", &[]);
    world.sign_in(&world.service().await, carol).await;
    world.by_hand(PUT_IN_TEAM, &[&carol, &group, &"user"]).await;
    let (code, json) = planned(&world).await;
    assert_eq!((code, changes(&json), &json["compared"]), (0, vec![], &json!(2)), "{json:#}");
}

#[rstest]
#[tokio::test]
async fn membership_that_was_removed_by_hand_is_not_compared(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 2).await;
    world.by_hand(TAKE_OUT_OF_TEAM, &[&users[0], &group]).await;
    world.simulator.edit(|directory| directory.take_out(users[0], group));
    let (_, json) = planned(&world).await;
    assert!(changes(&json).iter().all(|change| change[0] == "organization"), "{json:#}");
    assert_eq!(json["compared"], json!(1), "{json:#}");
}

#[rstest]
#[tokio::test]
async fn last_admin_of_a_team_is_kept(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 5).await;
    for user in &users[..2] {
        world.by_hand(MAKE_TEAM_ADMIN, &[user, &group]).await;
    }
    world.simulator.edit(|directory| users[..2].iter().for_each(|user| directory.take_out(*user, group)));
    let ended = plan(&world, &[]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    let (kept, gone) = if users[0] < users[1] { (users[0], users[1]) } else { (users[1], users[0]) };
    for line in [
        &format!("({gone}), administrator\n"),
        "\nKept: 1\n",
        &format!("({kept}) in team Evals ({group})\n"),
        "    The user is its last administrator with an enabled account. Otherwise it would end: The user left the group.\n",
    ] {
        assert!(ended.stdout.contains(line), "no {line:?} in\n{}", ended.stdout);
    }
}

#[tokio::test]
async fn missing_privileges_keep_everything() {
    let world = World::of(LiteLlm).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 3).await;
    world.simulator.edit(|directory| directory.take_out(users[0], group));
    let ended = plan(&world, &[]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("→ Run docs/litellm-grants-removal.sql"), "{}", ended.stdout);
}

#[rstest]
#[tokio::test]
async fn plan_reads_all_memberships_in_one_statement(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    members(&world, group, 1).await;
    let groups = many_assigned(&world, 6);
    for group in groups {
        members(&world, group, 2).await;
    }
    world.statements().await;
    let (_, json) = planned(&world).await;
    assert_eq!(json["compared"], json!(13), "{json:#}");
    let statements = world.statements().await;
    let of_plan: Vec<_> = statements.iter().filter(|(sql, _)| sql.contains("user_teams")).collect();
    assert!(matches!(of_plan[..], [(_, 1)]), "{of_plan:#?}");
    let others = statements.iter().filter(|(sql, _)| sql.contains("team_members") && !sql.contains("user_teams"));
    let others: Vec<_> = others.filter(|(sql, _)| !sql.contains("ctid")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[tokio::test]
async fn additive_sync_is_planned_as_follow() {
    let world = world(Native).await;
    let [group] = assigned(&world, ["Evals"]);
    let service = world.service_with(|config| config.policy.memberships = MembershipSync::Additive).await;
    let [alice, bob] = ["Alice Arden", "Bob Brook"].map(|name| person(&world, name, &[group]));
    world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;
    world.simulator.edit(|directory| directory.take_out(alice, group));
    let yaml = CONFIG.replace("sync: {", "sync: {memberships: additive, ");
    accept_settings(&world, &yaml, &environment(&world)).await;
    let ended = plan_of(&world, &yaml, &[], &environment(&world)).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stdout.contains("sync.memberships is additive: memberships are only added."), "{}", ended.stdout);
}
