//! Every reason that makes a member list unknown. A group beside it stays complete.

use std::time::Duration;

use entra_simulator::{Endpoint, Fault, FaultRule};
use entraway::domain::{GroupId, ObjectId};
use rstest::rstest;
use serde_json::{Value, json};

use super::{SHORT, Scene, assert_complete, assert_unknown, simulated};

/// A group of two pages, and another group.
struct Groups {
    failing: GroupId,
    other: GroupId,
    users_of_other: Vec<ObjectId>,
}

async fn groups() -> (Scene, Groups) {
    let scene = Scene::with_budget(SHORT).await;
    let (failing, _) = scene.group(1_200);
    let (other, users_of_other) = scene.group(2);
    (scene, Groups { failing, other, users_of_other })
}

/// Asserts that the fault makes the list unknown, on the first and on the second page.
async fn assert_unknown_after(fault: Fault, code: &str) {
    for page in [1, 2] {
        let (scene, groups) = groups().await;
        scene.simulator.fault(FaultRule::on(Endpoint::GroupMembers, fault.clone()).path(&groups.failing).page(page));
        let lists = scene.members(&[groups.failing, groups.other], false).await;
        assert_unknown(&lists, groups.failing, code);
        assert_complete(&lists, groups.other, &groups.users_of_other);
    }
}

fn foreign(link: &str) -> Fault {
    Fault::ForeignNextLink(link.to_owned())
}

#[rstest]
#[case::unavailable(Fault::status(503), "graph_unavailable")]
#[case::bad_request(Fault::status(400), "graph_unexpected")]
#[case::missing_value(Fault::MissingValue, "graph_malformed")]
#[case::broken_json(Fault::MalformedJson, "graph_malformed")]
#[case::cut_body(Fault::CutBody, "graph_malformed")]
#[case::html(Fault::Html, "graph_malformed")]
#[case::looping_link(Fault::LoopingNextLink, "graph_page_loop")]
#[case::foreign_host(foreign("https://evil.example/v1.0/groups/x/members"), "graph_foreign_link")]
#[tokio::test]
async fn failed_page_makes_list_unknown(#[case] fault: Fault, #[case] code: &str) {
    assert_unknown_after(fault, code).await;
}

#[tokio::test]
async fn next_link_to_other_scheme_or_version_is_rejected() {
    let (scene, groups) = groups().await;
    let mut https = scene.simulator.graph_url();
    let beta = https.join("/beta/groups/x/members").unwrap();
    https = https.to_string().replacen("http:", "https:", 1).parse().unwrap();
    for link in [https.as_str(), beta.as_str()] {
        scene.simulator.clear_faults();
        scene.simulator.fault(FaultRule::on(Endpoint::GroupMembers, foreign(link)).path(&groups.failing));
        let lists = scene.members(&[groups.failing, groups.other], false).await;
        assert_unknown(&lists, groups.failing, "graph_foreign_link");
    }
}

#[tokio::test]
async fn endless_list_is_unknown_and_not_cut() {
    let (scene, groups) = groups().await;
    let endless = FaultRule::on(Endpoint::GroupMembers, Fault::EmptyPageWithNextLink).path(&groups.failing);
    scene.simulator.fault(endless);
    let budget = Duration::from_mins(2);
    let ids = [groups.failing, groups.other].into();
    let lists = scene.graph.group_members(&scene.token, &ids, false, budget).await;
    assert_unknown(&lists, groups.failing, "graph_page_loop");
    assert_complete(&lists, groups.other, &groups.users_of_other);
    let pages = scene.simulator.requests_to(Endpoint::GroupMembers).len() - 1;
    assert_eq!(pages, 1_000, "the maximum number of pages");
}

#[rstest]
#[case::missing_item(Fault::MissingItem, "graph_missing_item")]
#[case::failed_dependency(Fault::status(424), "graph_unexpected")]
#[case::throttled(Fault::throttled(60), "graph_throttled")]
#[case::server_error(Fault::status(500), "graph_unavailable")]
#[case::unauthorized(Fault::status(401), "graph_unauthorized")]
#[case::forbidden(Fault::status(403), "graph_forbidden")]
#[case::not_found_although_it_exists(Fault::status(404), "graph_inconsistent")]
#[tokio::test]
async fn failed_batch_item_makes_list_unknown(#[case] fault: Fault, #[case] code: &str) {
    assert_unknown_after(fault, code).await;
}

#[rstest]
#[case::outer_error(Fault::status(400), "graph_unexpected")]
#[case::no_responses(Fault::MissingValue, "graph_malformed")]
#[case::broken_json(Fault::MalformedJson, "graph_malformed")]
#[case::cut_body(Fault::CutBody, "graph_unreachable")]
#[case::hangs(Fault::Hang(Duration::from_mins(1)), "graph_timeout")]
#[tokio::test]
async fn failed_batch_makes_all_lists_unknown(#[case] fault: Fault, #[case] code: &str) {
    let (scene, groups) = groups().await;
    scene.simulator.fault(FaultRule::on(Endpoint::Batch, fault));
    let lists = scene.members(&[groups.failing, groups.other], false).await;
    assert_unknown(&lists, groups.failing, code);
    assert_unknown(&lists, groups.other, code);
}

#[tokio::test]
async fn withdrawn_permission_makes_all_lists_unknown() {
    let (scene, groups) = groups().await;
    scene.simulator.edit(|directory| directory.app_permissions.group_member_read = false);
    let lists = scene.members(&[groups.failing, groups.other], false).await;
    assert_unknown(&lists, groups.failing, "graph_forbidden");
    assert_unknown(&lists, groups.other, "graph_forbidden");
}

#[rstest]
#[case::no_type(json!({ "id": "11111111-2222-4333-8444-555555555555" }))]
#[case::no_id(json!({ "@odata.type": "#microsoft.graph.user" }))]
#[case::null_id(json!({ "@odata.type": "#microsoft.graph.user", "id": null }))]
#[case::invalid_id(json!({ "@odata.type": "#microsoft.graph.user", "id": "alice" }))]
#[case::null(Value::Null)]
#[tokio::test]
async fn member_without_type_or_id_makes_list_unknown(#[case] member: Value) {
    assert_unknown_after(Fault::Items(vec![member]), "graph_malformed").await;
}

#[tokio::test]
async fn hidden_membership_is_never_complete() {
    let (scene, groups) = groups().await;
    for may_read in [false, true] {
        scene.simulator.edit(|directory| {
            directory.change_group(simulated(groups.failing), |group| group.hidden_membership = true);
            directory.app_permissions.member_read_hidden = may_read;
        });
        let lists = scene.members(&[groups.failing, groups.other], false).await;
        assert_unknown(&lists, groups.failing, "graph_hidden_membership");
        assert_complete(&lists, groups.other, &groups.users_of_other);
    }
}

#[tokio::test]
async fn group_that_cannot_be_read_is_unknown_and_not_gone() {
    for (fault, code) in [
        (Fault::status(403), "graph_forbidden"),
        (Fault::throttled(60), "graph_throttled"),
        (Fault::MissingItem, "graph_missing_item"),
        (Fault::Html, "graph_malformed"),
        (another_group(), "graph_malformed"),
    ] {
        let (scene, groups) = groups().await;
        scene.simulator.fault(FaultRule::on(Endpoint::Group, fault).path(&groups.failing));
        let lists = scene.members(&[groups.failing, groups.other], false).await;
        assert_unknown(&lists, groups.failing, code);
        assert_complete(&lists, groups.other, &groups.users_of_other);
    }
}

/// An answer about another group.
fn another_group() -> Fault {
    let body = json!({ "id": "11111111-2222-4333-8444-555555555555", "displayName": "Another", "visibility": null });
    Fault::Status { status: 200, retry_after: None, body: Some(body) }
}

#[tokio::test]
async fn unread_nested_group_makes_outer_list_unknown() {
    let (scene, groups) = groups().await;
    let (inner, _) = scene.group(2);
    scene.simulator.edit(|directory| directory.nest(simulated(inner), simulated(groups.failing)));
    for (fault, code) in [(Fault::status(403), "graph_forbidden"), (Fault::status(404), "graph_inconsistent")] {
        scene.simulator.clear_faults();
        scene.simulator.fault(FaultRule::on(Endpoint::Group, fault).path(&inner));
        let lists = scene.members(&[groups.failing, groups.other], true).await;
        assert_unknown(&lists, groups.failing, code);
        assert_complete(&lists, groups.other, &groups.users_of_other);
    }
    scene.simulator.clear_faults();
    scene.simulator.edit(|directory| {
        directory.change_group(simulated(inner), |group| group.hidden_membership = true);
    });
    let lists = scene.members(&[groups.failing, groups.other], true).await;
    assert_unknown(&lists, groups.failing, "graph_hidden_membership");
}
