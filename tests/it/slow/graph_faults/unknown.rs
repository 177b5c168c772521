//! Faults that are not retried.

use entra_simulator::{Fault, FaultRule};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{List, Scene};
use crate::support::{LiteLlm, Native, StoreKind};

fn says(body: Value) -> Fault {
    Fault::Status { status: 200, retry_after: None, body: Some(body) }
}

fn after(status: u16, seconds: u64) -> Fault {
    Fault::Status { status, retry_after: Some(seconds), body: None }
}

#[rstest]
#[tokio::test]
async fn graph_error_status_makes_the_list_unknown(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    for list in List::BOTH {
        for (how, said, fault) in [
            ("401", "401", Fault::status(401)),
            ("403", "403", Fault::status(403)),
            ("404", "404", Fault::status(404)),
            ("400", "Graph answered 400", Fault::status(400)),
            ("410", "Graph answered 410", Fault::status(410)),
            ("a redirect", "Graph answered 302", Fault::status(302)),
            ("no content", "response is invalid", Fault::status(299)),
            ("429 with a Retry-After of an hour", "429", Fault::throttled(3_600)),
            ("503 with a Retry-After of a minute", "503", after(503, 60)),
            ("500 with an overflowing Retry-After", "500", after(500, u64::MAX)),
        ] {
            scene.world.simulator.fault(FaultRule::on(list.endpoint(), fault));
            scene.finds_unknown(list, said, &format!("{list:?} with {how}")).await;
            scene.world.simulator.clear_faults();
        }
    }
    scene.recovers().await;
}

#[rstest]
#[tokio::test]
async fn malformed_graph_response_makes_the_list_unknown(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    let group = json!({ "@odata.type": "#microsoft.graph.group", "id": Uuid::new_v4(), "displayName": "Made Up",
        "principalType": "Group", "principalId": Uuid::new_v4(), "principalDisplayName": "Made Up" });
    let but = |name: &str, value: Value| {
        let mut odd = group.clone();
        odd[name] = value;
        says(json!({ "value": [group, odd] }))
    };
    for list in List::BOTH {
        let id = if list == List::Assigned { "principalId" } else { "id" };
        for (how, fault) in [
            ("HTML", Fault::Html),
            ("truncated JSON", Fault::MalformedJson),
            ("no `value`", Fault::MissingValue),
            ("a null value", says(json!({ "value": null }))),
            ("a value that is not a list", says(json!({ "value": { "0": group } }))),
            ("a list instead of an object", says(json!([group]))),
            ("null", says(Value::Null)),
            ("text", says(json!("value"))),
            ("an error with status 200", says(json!({ "error": { "code": "UnknownError", "message": "" } }))),
            ("an entry that is not an object", says(json!({ "value": [group, null] }))),
            ("an entry without a type", says(json!({ "value": [group, {}] }))),
            ("a group whose id is not a GUID", but(id, json!("1"))),
            ("a group whose id is null", but(id, Value::Null)),
            ("a group whose id is a number", but(id, json!(7))),
            ("a group whose name is an object", but("displayName", json!({}))),
            ("a next link that is not a string", says(json!({ "value": [group], "@odata.nextLink": 2 }))),
            ("a next link that is not a URL", says(json!({ "value": [group], "@odata.nextLink": "next" }))),
            ("a relative next link", says(json!({ "value": [group], "@odata.nextLink": "/v1.0/me/memberOf" }))),
        ] {
            let odd_name = how == "a group whose name is an object" && list == List::Assigned;
            let fault = if odd_name { but("principalDisplayName", json!({})) } else { fault };
            scene.world.simulator.fault(FaultRule::on(list.endpoint(), fault));
            scene.finds_unknown(list, "response is invalid", &format!("{list:?} with {how}")).await;
            scene.world.simulator.clear_faults();
        }
    }
    scene.recovers().await;
}

#[rstest]
#[tokio::test]
async fn looping_pages_make_the_list_unknown(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    for list in List::BOTH {
        scene.world.simulator.fault(FaultRule::on(list.endpoint(), Fault::LoopingNextLink));
        scene
            .finds_unknown(
                list,
                "pages repeat or exceed the limit",
                &format!("{list:?} whose next page is the same page"),
            )
            .await;
        scene.world.simulator.clear_faults();
    }
    scene.recovers().await;
}
