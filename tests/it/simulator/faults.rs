//! One test of each kind of fault.

use std::time::{Duration, Instant};

use entra_simulator::{Directory, Endpoint, EntraError, Fault, FaultRule, TokenKind};
use serde_json::{Value, json};

use super::support::{World, answer, ids, value};

const LIST: &str = "/v1.0/me/memberOf?$top=2";

async fn world() -> (World, String) {
    let directory = Directory::sample();
    let alice = directory.people[0].id;
    let world = World::start(directory).await;
    let token = world.delegated_token(alice).await;
    (world, token)
}

#[tokio::test]
async fn status_faults_have_microsoft_error_bodies() {
    let (world, token) = world().await;
    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::throttled(7)).times(1));
    let response = world.graph(&token, LIST).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "TooManyRequests");
    assert_eq!(world.graph_json(&token, LIST).await.0, 200);

    for (status, code) in [
        (401, "InvalidAuthenticationToken"),
        (403, "Authorization_RequestDenied"),
        (404, "Request_ResourceNotFound"),
        (503, "serviceNotAvailable"),
    ] {
        world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::status(status)).times(1));
        let (got, body) = world.graph_json(&token, LIST).await;
        assert_eq!((got, &body["error"]["code"]), (status, &json!(code)));
    }

    world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::status(503)).token(TokenKind::AppOnly));
    let (status, body) = world.app_only(&world.tenant()).await;
    assert_eq!((status, &body["error"]), (503, &json!("temporarily_unavailable")));
    let person = world.simulator.edit(|directory| directory.people[1].id);
    world.delegated_token(person).await;
    world.simulator.clear_faults();
    assert_eq!(world.app_only(&world.tenant()).await.0, 200);

    let body = json!({ "odd": true });
    world.simulator.fault(FaultRule::on(
        Endpoint::Discovery,
        Fault::Status { status: 500, retry_after: None, body: Some(body.clone()) },
    ));
    let response = world.get("/common/v2.0/.well-known/openid-configuration").await;
    assert_eq!((response.status().as_u16(), response.json::<Value>().await.unwrap()), (500, body));
}

#[tokio::test]
async fn entra_errors_arrive_by_redirect_or_as_json() {
    let (world, _) = world().await;
    world.simulator.fault(FaultRule::on(Endpoint::Authorize, Fault::Entra(EntraError::mfa_required())).times(1));
    let url = world.authorize_url(&world.tenant());
    let back = answer(&world.client.get(url).send().await.unwrap());
    assert_eq!((value(&back, "error"), value(&back, "state")), ("interaction_required", "the state"));

    world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::Entra(EntraError::mfa_required())));
    let person = world.simulator.edit(|directory| directory.people[0].id);
    let back = world.pick(&world.tenant(), person).await;
    let (status, body) = world.redeem(&world.tenant(), value(&back, "code"), &[]).await;
    assert_eq!(
        (status, &body["error"], &body["suberror"]),
        (400, &json!("interaction_required"), &json!("basic_action"))
    );
    assert!(body["claims"].is_string());
}

#[tokio::test]
async fn links_lead_astray() {
    let (world, token) = world().await;
    let good = world.graph_json(&token, LIST).await.1;

    world
        .simulator
        .fault(FaultRule::on(Endpoint::MemberOf, Fault::ForeignNextLink("https://evil.example/".to_owned())));
    assert_eq!(world.graph_json(&token, LIST).await.1["@odata.nextLink"], "https://evil.example/");
    world.simulator.clear_faults();

    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::LoopingNextLink));
    let once = world.graph_json(&token, LIST).await.1;
    let twice = world.graph_json(&token, once["@odata.nextLink"].as_str().unwrap()).await.1;
    assert_eq!((ids(&once), &once["@odata.nextLink"]), (ids(&twice), &twice["@odata.nextLink"]));
    world.simulator.clear_faults();

    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::EmptyPageWithNextLink).page(1));
    let empty = world.graph_json(&token, LIST).await.1;
    assert!(ids(&empty).is_empty());
    let full = world.graph_json(&token, empty["@odata.nextLink"].as_str().unwrap()).await.1;
    assert_eq!(ids(&full), ids(&good));
    world.simulator.clear_faults();

    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::MissingValue).page(2));
    let first = world.graph_json(&token, LIST).await.1;
    let second = world.graph_json(&token, first["@odata.nextLink"].as_str().unwrap()).await.1;
    assert!(first.get("value").is_some() && second.get("value").is_none());
}

#[tokio::test]
async fn bodies_are_spoiled() {
    let (world, token) = world().await;
    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::Html).times(1));
    let response = world.graph(&token, LIST).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));

    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::MalformedJson).times(1));
    let text = world.graph(&token, LIST).await.text().await.unwrap();
    assert!(!text.is_empty() && serde_json::from_str::<Value>(&text).is_err());

    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::CutBody).times(1));
    let response = world.graph(&token, LIST).await;
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());

    let stall = Fault::StallBody(Duration::from_mins(1));
    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, stall).times(1));
    let response = world.graph(&token, LIST).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), response.bytes()).await.is_err());
    assert_eq!(world.graph_json(&token, LIST).await.0, 200);
}

#[tokio::test]
async fn delay_and_hang_faults_hold_the_response() {
    let (world, token) = world().await;
    let wait = Duration::from_millis(150);
    let start = Instant::now();
    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::Delay(wait)).times(1));
    assert_eq!(world.graph_json(&token, LIST).await.0, 200);
    assert!(start.elapsed() >= wait);

    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::Hang(wait)).times(1));
    assert_eq!(world.graph_json(&token, LIST).await.0, 504);

    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::Hang(Duration::from_mins(1))));
    let simulator = world.simulator.clone();
    let stopper = async move {
        tokio::time::sleep(wait).await;
        simulator.stop();
    };
    let (response, ()) = tokio::join!(world.graph(&token, LIST), stopper);
    assert_eq!(response.status(), 504);
    tokio::time::sleep(wait).await;
    let url = world.simulator.admin_url();
    assert!(world.client.get(url).send().await.unwrap_err().is_connect());
}
