//! Graph's `$batch`: each request has its own status, faults and entry in the log.

use std::collections::BTreeMap;

use entra_simulator::{Directory, Endpoint, Fault, FaultRule, TokenKind};
use serde_json::{Value, json};

use super::support::{World, ids};

/// The sample directory, an app-only token, and the addresses of two groups' members.
async fn world() -> (World, String, [String; 2]) {
    let world = World::start(Directory::sample()).await;
    let token = world.app_token().await;
    let urls =
        world.simulator.edit(|d| [0, 1].map(|index| format!("/groups/{}/members?$select=id", d.groups[index].id)));
    (world, token, urls)
}

/// The items of the response by ID.
fn items(body: &Value) -> BTreeMap<&str, &Value> {
    body["responses"].as_array().unwrap().iter().map(|item| (item["id"].as_str().unwrap(), item)).collect()
}

#[tokio::test]
async fn batch_runs_each_request_in_any_order() {
    let (world, token, [one, two]) = world().await;
    let (status, body) = world.batch(&token, &[&one, &two, "/users/missing@example.com"]).await;
    assert_eq!(status, 200);
    assert_eq!(body["responses"][0]["id"], "2", "not in the order of the requests");
    let items = items(&body);
    assert_eq!(["0", "1", "2"].map(|id| items[id]["status"].as_u64().unwrap()), [200, 200, 404]);
    assert_eq!(ids(&items["0"]["body"]).len(), 2);
    assert_eq!(items["0"]["headers"]["x-ms-resource-unit"], "2", "3 for members, 1 less with $select");

    let logged = world.simulator.requests_to(Endpoint::GroupMembers);
    assert!(logged.iter().all(|request| request.in_batch && request.token == Some(TokenKind::AppOnly)));
    assert_eq!((logged.len(), world.simulator.requests_to(Endpoint::Batch).len()), (2, 1));
}

#[tokio::test]
async fn invalid_batches_are_rejected() {
    let (world, token, [one, _]) = world().await;
    let (status, body) = world.batch(&token, &[&*one; 21]).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("MaximumValueExceeded")));
    let item = json!({ "id": "a", "method": "GET", "url": one });
    let mut twin = item.clone();
    twin["id"] = json!("A");
    for requests in [json!([item, twin]), json!([]), json!("none")] {
        assert_eq!(world.post_batch(&token, &json!({ "requests": requests })).await.0, 400, "{requests}");
    }
    assert_eq!(world.batch("stranger", &[&one]).await.0, 401);
}

#[tokio::test]
async fn faults_apply_to_one_item_or_the_whole_batch() {
    let (world, token, [one, two]) = world().await;
    let group = one.split('/').nth(2).unwrap();
    let on_one = |fault: Fault| {
        world.simulator.clear_faults();
        world.simulator.fault(FaultRule::on(Endpoint::GroupMembers, fault).path(&group).page(1));
    };
    on_one(Fault::throttled(3));
    let (status, body) = world.batch(&token, &[&one, &two]).await;
    let by_id = items(&body);
    assert_eq!((status, &by_id["0"]["status"], &by_id["1"]["status"]), (200, &json!(429), &json!(200)));
    assert_eq!(by_id["0"]["headers"]["Retry-After"], "3");
    assert_eq!(by_id["0"]["headers"]["x-ms-throttle-limit-percentage"], "1.0");

    on_one(Fault::MissingItem);
    assert_eq!(items(&world.batch(&token, &[&one, &two]).await.1).into_keys().collect::<Vec<_>>(), ["1"]);
    on_one(Fault::MissingValue);
    assert_eq!(items(&world.batch(&token, &[&one]).await.1)["0"]["body"].get("value"), None);
    on_one(Fault::MalformedJson);
    assert!(items(&world.batch(&token, &[&one]).await.1)["0"]["body"].is_string());
    on_one(Fault::CutBody);
    assert!(items(&world.batch(&token, &[&one]).await.1)["0"]["body"].is_null());
    on_one(Fault::Items(vec![json!({ "id": "x" })]));
    assert_eq!(ids(&items(&world.batch(&token, &[&one]).await.1)["0"]["body"]), ["x"]);

    world.simulator.clear_faults();
    world.simulator.fault(FaultRule::on(Endpoint::Batch, Fault::status(503)).times(1));
    world.simulator.fault(FaultRule::on(Endpoint::Batch, Fault::MissingValue).times(1));
    assert_eq!(world.batch(&token, &[&one]).await.0, 503);
    assert_eq!(world.batch(&token, &[&one]).await.1.get("responses"), None);
}
