//! Calls to Graph and Entra: each attempt by its result, and lists that stay unknown.

use entra_simulator::{Endpoint, Fault, FaultRule, TokenKind};
use rstest::rstest;

use super::Watch;
use crate::support::{LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn graph_calls_and_unknown_lists_are_counted_by_outcome(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let watch = Watch::new(&service).await;
    let graph = async |before: &super::Numbers| {
        let moved = watch.read().await;
        let moved = moved.since(before).into_iter().map(|(name, by)| (name.to_owned(), by));
        moved.filter(|(name, _)| name.contains("graph_") || name.contains("unknown")).collect::<Vec<_>>()
    };
    let named = |list: &[(&str, i64)]| list.iter().map(|(name, by)| ((*name).to_owned(), *by)).collect::<Vec<_>>();

    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::throttled(0)).times(2));
    world.simulator.fault(FaultRule::on(Endpoint::AssignedTo, Fault::status(503)).times(1));
    let before = watch.read().await;
    world.sign_in(&service, alice).await;
    assert_eq!(
        graph(&before).await,
        named(&[
            (r#"entraway_graph_calls_total{list="assigned_groups",outcome="graph_unavailable"}"#, 1),
            (r#"entraway_graph_calls_total{list="assigned_groups",outcome="ok"}"#, 1),
            (r#"entraway_graph_calls_total{list="member_of",outcome="graph_throttled"}"#, 2),
            (r#"entraway_graph_calls_total{list="member_of",outcome="ok"}"#, 1),
            (r#"entraway_graph_retries_total{list="assigned_groups"}"#, 1),
            (r#"entraway_graph_retries_total{list="member_of"}"#, 2),
        ]),
        "two 429 and a 503 that passed"
    );

    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::throttled(60)));
    let before = watch.read().await;
    world.sign_in(&service, alice).await;
    assert_eq!(
        graph(&before).await,
        named(&[
            (r#"entraway_graph_calls_total{list="assigned_groups",outcome="ok"}"#, 1),
            (r#"entraway_graph_calls_total{list="member_of",outcome="graph_throttled"}"#, 1),
            (r#"entraway_lists_unknown_total{list="member_of",why="graph_throttled"}"#, 1),
        ]),
        "a 429 that asks for more time than there is"
    );
    world.simulator.clear_faults();
}

#[tokio::test]
async fn each_unknown_list_code_has_its_own_series() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let watch = Watch::new(&service).await;
    for (fault, why) in [
        (Fault::status(401), "graph_unauthorized"),
        (Fault::status(403), "graph_forbidden"),
        (Fault::status(404), "graph_not_found"),
        (Fault::status(400), "graph_unexpected"),
        (Fault::Html, "graph_malformed"),
        (Fault::LoopingNextLink, "graph_page_loop"),
        (Fault::ForeignNextLink("https://graph.example.com/v1.0/x".to_owned()), "graph_foreign_link"),
    ] {
        let series = format!("entraway_lists_unknown_total{{list=\"member_of\",why=\"{why}\"}}");
        let before = watch.read().await;
        world.simulator.fault(FaultRule::on(Endpoint::MemberOf, fault));
        world.sign_in(&service, alice).await;
        assert_eq!(watch.read().await.since(&before).get(series.as_str()), Some(&1), "{series}");
        world.simulator.clear_faults();
    }

    world.service().await;
    world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::Html).token(TokenKind::AppOnly));
    let fresh = world.service().await;
    let watch = Watch::new(&fresh).await;
    world.sign_in(&fresh, alice).await;
    let numbers = watch.read().await;
    assert_eq!(numbers.of(r#"entraway_lists_unknown_total{list="assigned_groups",why="app_token"}"#), 1);
    assert_eq!(numbers.of(r#"entraway_entra_calls_total{call="app_token",outcome="failed"}"#), 1);
    assert_eq!(numbers.of(r#"entraway_lists_unknown_total{list="assigned_groups",why="other"}"#), 0);
}
