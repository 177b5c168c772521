//! Unknown is never empty: an incomplete group removes nothing, and the output names the reason and the fix.

use entra_simulator::{Directory, Endpoint, Fault, FaultRule};
use rstest::rstest;
use serde_json::json;

use super::super::program::environment;
use super::{members, plan, plan_with, planned, world};
use crate::support::Native;
use crate::support::scene::assigned;

#[tokio::test]
async fn failed_page_removes_nothing_from_its_group() {
    let world = world(Native).await;
    let [failing, other] = assigned(&world, ["Failing", "Other"]);
    let users = members(&world, failing, 2).await;
    let others = members(&world, other, 3).await;
    world.simulator.edit(|directory| {
        directory.take_out(users[0], failing);
        directory.take_out(others[0], other);
    });
    world.simulator.fault(FaultRule::on(Endpoint::GroupMembers, Fault::MissingValue).path(&failing));
    let (code, json) = planned(&world).await;
    assert_eq!(code, 2, "{json:#}");
    assert!(json["changes"].as_array().unwrap().iter().all(|change| change["user"] == json!(others[0])), "{json:#}");
    let incomplete = &json["incomplete"][0];
    let expected = (json!(failing), json!("Failing"), json!("graph_malformed"));
    assert_eq!((incomplete["group"].clone(), incomplete["name"].clone(), incomplete["code"].clone()), expected);
    assert_eq!(json["compared"], json!(3), "{json:#}");
}

#[rstest]
#[case::group_members(|directory: &mut Directory| directory.app_permissions.group_member_read = false,
    "member list: ", "→ Add the application permission GroupMember.Read.All and grant admin consent")]
#[case::assignments(|directory: &mut Directory| directory.app_permissions.application_read = false,
    "assigned groups: ", "→ Add the application permission Application.Read.All and grant admin consent")]
#[case::service_principal(
    Directory::replace_service_principal,
    "the enterprise app's service principal does not exist in the tenant (404)",
    "→ Set entra.service_principal_id"
)]
#[tokio::test]
async fn plan_without_any_complete_group_fails(
    #[case] change: fn(&mut Directory),
    #[case] message: &str,
    #[case] fix: &str,
) {
    let world = world(Native).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 2).await;
    let env = environment(&world);
    world.simulator.edit(|directory| {
        directory.take_out(users[0], group);
        change(directory);
    });
    let ended = plan_with(&world, &[], &env).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("no group could be read completely"), "{ended:?}");
    assert!(ended.stdout.contains("Incomplete groups, from which nothing is removed: 1\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains(message) && ended.stdout.contains(fix), "{}", ended.stdout);
}

#[tokio::test]
async fn missing_user_read_all_keeps_and_is_named() {
    let world = world(Native).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 3).await;
    world.simulator.edit(|directory| {
        directory.take_out(users[0], group);
        directory.app_permissions.user_read = false;
    });
    let ended = plan(&world, &[]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for line in [
        "\nKept: 1\n",
        "the state of the account is unknown: ",
        "→ Add the application permission User.Read.All and grant admin consent",
    ] {
        assert!(ended.stdout.contains(line), "no {line:?} in\n{}", ended.stdout);
    }
}

#[tokio::test]
async fn empty_assigned_list_is_held() {
    let world = world(Native).await;
    let [group] = assigned(&world, ["Evals"]);
    members(&world, group, 1).await;
    world.simulator.edit(|directory| directory.unassign(group));
    let ended = plan(&world, &[]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.contains("no group is assigned to the app"), "{}", ended.stdout);
}

#[tokio::test]
async fn plan_fails_without_a_database_or_entra() {
    let world = world(Native).await;
    let [group] = assigned(&world, ["Evals"]);
    members(&world, group, 1).await;
    world.simulator.fault(FaultRule::on(Endpoint::Discovery, Fault::status(503)));
    let ended = plan(&world, &[]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(ended.stderr.contains("failed to read Entra's discovery document"), "{ended:?}");
}
