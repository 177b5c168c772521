//! Graph's groups, members, users and deleted items, as an app reads them.

use entra_simulator::{Directory, Member};
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{World, ids};

/// The sample directory with an app-only token.
async fn world() -> (World, String) {
    let world = World::start(Directory::sample()).await;
    let token = world.app_token().await;
    (world, token)
}

fn types(body: &Value) -> Vec<&str> {
    body["value"].as_array().unwrap().iter().map(|item| item["@odata.type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn members_are_paged_and_typed() {
    let (world, token) = world().await;
    let (platform, on_call, dave, alice) = world.simulator.edit(|directory| {
        let [platform, on_call] = [2, 3].map(|index| directory.groups[index].id);
        directory.add_member(Member::Device(Uuid::new_v4()), platform);
        directory.add_member(Member::Contact(Uuid::new_v4()), platform);
        directory.add_member(Member::ServicePrincipal(Uuid::new_v4()), platform);
        directory.nest(platform, on_call);
        (platform, on_call, directory.people[3].id, directory.people[0].id)
    });
    let (status, all) = world.graph_json(&token, &format!("/v1.0/groups/{platform}/members?$select=id")).await;
    assert_eq!(status, 200);
    let [user, group, device, contact] =
        ["user", "group", "device", "orgContact"].map(|kind| format!("#microsoft.graph.{kind}"));
    assert_eq!(types(&all), [&user, &group, &device, &contact], "v1.0 leaves out service principals");
    assert_eq!(ids(&all)[..2], [alice.to_string(), on_call.to_string()]);
    assert_eq!(all["value"][0].as_object().unwrap().len(), 2, "type and id: {all}");

    let transitive = format!("/v1.0/groups/{platform}/transitiveMembers?$select=id&$top=3");
    let (_, first) = world.graph_json(&token, &transitive).await;
    let (_, second) = world.graph_json(&token, first["@odata.nextLink"].as_str().unwrap()).await;
    let read = [ids(&first), ids(&second)].concat();
    assert_eq!((ids(&first).len(), read.len()), (3, 5), "a cycle of groups ends: {read:?}");
    assert!(read.contains(&dave.to_string().as_str()), "through the nested group: {read:?}");
    assert!(second.get("@odata.nextLink").is_none());

    let one = format!("/v1.0/groups/{platform}?$select=id,displayName,visibility");
    let (status, body) = world.graph_json(&token, &one).await;
    assert_eq!(
        (status, &body["displayName"], &body["visibility"]),
        (200, &json!("Platform Engineering"), &json!("Private"))
    );
    let nowhere = format!("/v1.0/groups/{}/members", Uuid::new_v4());
    assert_eq!(world.graph_json(&token, &nowhere).await.0, 404);
}

#[tokio::test]
async fn missing_permissions_deny_or_limit_reads() {
    let (world, token) = world().await;
    let (group, alice) = world.simulator.edit(|directory| {
        directory.app_permissions.user_read = false;
        (directory.groups[0].id, directory.people[0].id)
    });
    let members = format!("/v1.0/groups/{group}/members");
    let (status, body) = world.graph_json(&token, &members).await;
    assert_eq!((status, ids(&body)[0]), (200, alice.to_string().as_str()));
    assert_eq!(body["value"][0]["displayName"], Value::Null, "limited information: {body}");
    let denied = json!("Authorization_RequestDenied");
    for path in
        [format!("/v1.0/users/{alice}"), "/v1.0/users".to_owned(), format!("/v1.0/directory/deletedItems/{alice}")]
    {
        let (status, body) = world.graph_json(&token, &path).await;
        assert_eq!((status, &body["error"]["code"]), (403, &denied), "{path}");
    }
    world.simulator.edit(|directory| directory.app_permissions.group_member_read = false);
    for path in [members.clone(), format!("/v1.0/groups/{group}")] {
        let (status, body) = world.graph_json(&token, &path).await;
        assert_eq!((status, &body["error"]["code"]), (403, &denied), "{path}");
    }

    world.simulator.edit(|directory| {
        directory.app_permissions.group_member_read = true;
        directory.change_group(group, |group| group.hidden_membership = true);
    });
    let (status, body) = world.graph_json(&token, &members).await;
    assert_eq!((status, ids(&body).len()), (200, 0), "hidden membership seems empty");
    world.simulator.edit(|directory| directory.app_permissions.member_read_hidden = true);
    assert_eq!(ids(&world.graph_json(&token, &members).await.1).len(), 2);
}

#[tokio::test]
async fn users_change_state_between_reads() {
    let (world, token) = world().await;
    let (group, alice) = world.simulator.edit(|directory| (directory.groups[0].id, directory.people[0].id));
    let user = format!("/v1.0/users/{alice}?$select=id,accountEnabled");
    let item = format!("/v1.0/directory/deletedItems/{alice}?$select=id");
    let members = format!("/v1.0/groups/{group}/members?$select=id");
    let is_member = async || ids(&world.graph_json(&token, &members).await.1).contains(&alice.to_string().as_str());

    let (_, page) = world.graph_json(&token, "/v1.0/users?$select=id,accountEnabled&$top=4").await;
    assert_eq!(ids(&page).len(), 4);
    assert_eq!(page["value"][0], json!({ "id": alice, "accountEnabled": true }));
    world.simulator.edit(|directory| directory.set_account_enabled(alice, false));
    assert_eq!(world.graph_json(&token, &user).await.1["accountEnabled"], json!(false));
    assert!(is_member().await, "a disabled user stays a member");

    assert!(world.simulator.edit(|directory| directory.soft_delete_person(alice)));
    assert_eq!(world.graph_json(&token, &user).await.0, 404);
    assert_eq!(world.graph_json(&token, &item).await.0, 200);
    let (_, deleted) = world.graph_json(&token, "/v1.0/directory/deletedItems/microsoft.graph.user").await;
    assert_eq!(ids(&deleted), [alice.to_string()]);
    assert!(!is_member().await);

    assert!(world.simulator.edit(|directory| directory.restore_person(alice)));
    assert_eq!((world.graph_json(&token, &user).await.0, world.graph_json(&token, &item).await.0), (200, 404));
    assert!(is_member().await);

    world.simulator.edit(|directory| directory.delete_person(alice));
    assert_eq!((world.graph_json(&token, &user).await.0, world.graph_json(&token, &item).await.0), (404, 404));
}

#[tokio::test]
async fn replaced_service_principal_is_not_found() {
    let (world, token) = world().await;
    let (old, client) = world.simulator.edit(|directory| {
        let old = directory.service_principal_id.clone();
        directory.replace_service_principal();
        (old, directory.client_id.clone())
    });
    for path in ["", "/appRoleAssignedTo"] {
        let (status, _) = world.graph_json(&token, &format!("/v1.0/servicePrincipals/{old}{path}")).await;
        assert_eq!(status, 404, "{path}");
        let by_app = format!("/v1.0/servicePrincipals(appId='{client}'){path}");
        assert_eq!(world.graph_json(&token, &by_app).await.0, 200, "{path}");
    }
}
