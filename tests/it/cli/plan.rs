//! `entraway plan`: what Entra no longer gives, for users who do not sign in; and nothing is written.

mod filter;
mod gate;
mod incomplete;
mod slow;
mod stores;

use std::collections::BTreeSet;
use std::path::Path;

use entra_simulator::{GroupId, ObjectId};
use entraway::config::{self, Env};
use entraway::domain::StoreKind;
use entraway::reconcile::removal_settings;
use rstest::rstest;
use serde_json::{Value, json};

use super::program::{CONFIG, Ended, Folder, environment, run};
use crate::support::scene::{assigned, person};
use crate::support::{LiteLlm, Native, World, no_address_is_in};

/// A prepared store in which memberships can be removed.
async fn world(store: StoreKind) -> World {
    let world = World::of(store).await;
    world.grant_removal().await;
    world
}

/// Creates this many users in a group and signs them in.
async fn members(world: &World, group: GroupId, count: usize) -> Vec<ObjectId> {
    let service = world.service().await;
    let mut users = Vec::new();
    for n in 1..=count {
        let user = person(world, &format!("User {n}"), &[group]);
        world.sign_in(&service, user).await;
        users.push(user);
    }
    users
}

/// As a run that had nothing to remove: with these settings, a plan is no longer held as that of the first run.
async fn accept_settings(world: &World, yaml: &str, env: &[(&str, String)]) {
    let env: Env = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let config = config::parse(Some(yaml), Path::new(""), &env).unwrap().config;
    let tenants = BTreeSet::from([env["TENANT"].parse().unwrap()]);
    sqlx::query("update entraway.reconciliation_state set accepted_settings = $1")
        .bind(removal_settings(&config, &tenants))
        .execute(&world.pool)
        .await
        .unwrap();
}

/// The configuration of this store.
fn yaml_for(world: &World) -> String {
    format!("{CONFIG}{}", if world.kind == LiteLlm { "store: litellm\n" } else { "" })
}

/// Runs the command after a run that accepted the settings. It must write nothing, and show no e-mail address.
async fn plan(world: &World, words: &[&str]) -> Ended {
    plan_with(world, words, &environment(world)).await
}

/// The same with this environment.
async fn plan_with(world: &World, words: &[&str], env: &[(&str, String)]) -> Ended {
    accept_settings(world, &yaml_for(world), env).await;
    plan_of(world, &yaml_for(world), words, env).await
}

/// The same with this configuration, and without a run before.
async fn plan_of(world: &World, yaml: &str, words: &[&str], env: &[(&str, String)]) -> Ended {
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", yaml);
    let before = world.versions().await;
    let ended = run(&folder, &[&["plan", "--config", &config], words].concat(), env).await;
    assert_eq!(world.versions().await, before, "it writes nothing");
    no_address_is_in("the output", &ended.all());
    ended
}

/// The plan as JSON, with its exit code.
async fn planned(world: &World) -> (i32, Value) {
    let ended = plan(world, &["--output", "json"]).await;
    let json = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended.code, json)
}

/// Target kind, user and cause of each change.
fn changes(plan: &Value) -> Vec<[&str; 3]> {
    plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| ["kind", "user", "cause"].map(|key| change[key].as_str().unwrap()))
        .collect()
}

#[rstest]
#[tokio::test]
async fn plan_shows_user_who_left_without_signing_in(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 3).await;
    let in_step = plan(&world, &[]).await;
    assert_eq!((in_step.code, in_step.stderr.as_str()), (0, ""), "{in_step:?}");
    assert!(in_step.stdout.contains("3 managed team memberships compared with Entra\n"), "{}", in_step.stdout);
    assert!(in_step.stdout.contains("Result: 0 memberships to remove. This command changes nothing."), "{in_step:?}");
    world.simulator.edit(|directory| directory.take_out(users[0], group));

    let ended = plan(&world, &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (2, ""), "{ended:?}");
    for line in [
        &format!("team Evals ({group}): 1 to remove\n  User 1 ({})\n", users[0]),
        &format!("    The user left the group. Group {group} has 2 users, without this one.\n"),
        &format!("organization Evals ({group}): 1 to remove\n  User 1 ({})\n", users[0]),
        "    The user has no other membership in the organization.\n",
        "Result: 2 memberships to remove. This command changes nothing.\n",
    ] {
        assert!(ended.stdout.contains(line), "no {line:?} in\n{}", ended.stdout);
    }

    let (code, json) = planned(&world).await;
    let evidence = json!({ "what": "member_list", "members": 2 });
    let change = json!({
        "kind": "team", "id": group, "name": "Evals", "user": users[0], "user_name": "User 1", "is_admin": false,
        "cause": "left_group", "group": group, "evidence": evidence, "held": false,
    });
    assert_eq!((code, &json["changes"][0], &json["compared"]), (2, &change, &json!(3)), "{json:#}");
    assert!(json["read_at"].is_string(), "{json:#}");
}

#[rstest]
#[tokio::test]
async fn plan_shows_unassigned_and_deleted_groups(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [unassigned, deleted, kept] = assigned(&world, ["Unassigned", "Deleted", "Kept"]);
    let mut users = Vec::new();
    for group in [unassigned, deleted, kept] {
        users.extend(members(&world, group, 1).await);
    }
    world.simulator.edit(|directory| {
        directory.unassign(unassigned);
        directory.remove_group(deleted);
    });
    let (code, json) = planned(&world).await;
    let [first, second] = [users[0].to_string(), users[1].to_string()];
    let mut found = changes(&json);
    found.sort_unstable();
    let mut expected = vec![
        ["team", &first, "group_unassigned"],
        ["team", &second, "group_deleted"],
        ["organization", &first, "last_team_left"],
        ["organization", &second, "last_team_left"],
    ];
    expected.sort_unstable();
    assert_eq!((code, found), (2, expected), "{json:#}");
}

#[rstest]
#[tokio::test]
async fn emptied_group_is_held(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    members(&world, group, 3).await;
    world.simulator.edit(|directory| directory.empty_group(group));
    let ended = plan(&world, &[]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    for line in [
        "[held]\n",
        "\nExceeded limits: 1\n",
        &format!("Group {group}: Entra gives none of its 3 memberships any longer. The limit is 3"),
        "Result: 6 memberships to remove, 6 of them held by a limit.",
    ] {
        assert!(ended.stdout.contains(line), "no {line:?} in\n{}", ended.stdout);
    }
}

#[rstest]
#[tokio::test]
async fn disabled_account_keeps_and_deleted_loses_memberships(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 4).await;
    world.simulator.edit(|directory| {
        directory.set_account_enabled(users[0], false);
        directory.soft_delete_person(users[1]);
    });
    let (code, json) = planned(&world).await;
    assert_eq!((code, changes(&json)), (2, vec![]), "{json:#}");
    let [disabled, deleted] = [users[0], users[1]].map(|user| user.to_string());
    let mut accounts: Vec<_> = json["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| ["object_id", "action", "cause"].map(|key| change[key].as_str().unwrap()))
        .collect();
    accounts.sort_unstable_by_key(|change| change[2]);
    let expected = [[&*disabled, "disable", "disabled"], [&*deleted, "disable", "soft_deleted"]];
    assert_eq!(accounts, expected, "{json:#}");
    let kept = &json["kept"];
    assert_eq!((&kept[0]["user"], &kept[0]["reason"]), (&json!(users[1]), &json!("account_soft_deleted")), "{json:#}");
    world.simulator.edit(|directory| directory.delete_person(users[1]));
    let (code, json) = planned(&world).await;
    let user = users[1].to_string();
    let expected = vec![["team", &user, "account_deleted"], ["organization", &user, "last_team_left"]];
    assert_eq!((code, changes(&json)), (2, expected), "{json:#}");
}
