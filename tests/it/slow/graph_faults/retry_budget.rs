//! Transient faults that outlast the retry budget.

use std::time::{Duration, Instant};

use entra_simulator::{Endpoint, Fault, FaultRule, TokenKind};
use rstest::rstest;

use super::{List, Scene};
use crate::support::{LiteLlm, Native, StoreKind, join_all};

const LONG: Duration = Duration::from_mins(1);

/// Description, reason in the sync record, and faults, each with the page it affects.
type Trouble = (&'static str, &'static str, Vec<(Option<usize>, Fault)>);

fn troubles() -> Vec<Trouble> {
    vec![
        ("429 without Retry-After", "429", vec![(None, Fault::status(429))]),
        ("500", "500", vec![(None, Fault::status(500))]),
        ("a truncated body", "could not be reached", vec![(None, Fault::CutBody)]),
        ("a stalled body", "in time", vec![(None, Fault::StallBody(LONG))]),
        ("no response", "in time", vec![(None, Fault::Hang(LONG))]),
        ("500 on its second page", "500", vec![(Some(1), Fault::EmptyPageWithNextLink), (Some(2), Fault::status(500))]),
        ("endless pages", "Graph", vec![(None, Fault::EmptyPageWithNextLink)]),
    ]
}

#[rstest]
#[tokio::test]
async fn faults_beyond_the_budget_make_the_list_unknown(#[values(Native, LiteLlm)] store: StoreKind) {
    let cases: Vec<(List, Trouble)> =
        List::BOTH.into_iter().flat_map(|list| troubles().into_iter().map(move |trouble| (list, trouble))).collect();
    // Concurrently, because each case takes the whole budget.
    let scenes = join_all(cases.iter().map(|_| Scene::new(store))).await;
    join_all(scenes.iter().zip(cases).map(async |(scene, (list, (how, said, faults)))| {
        for (page, fault) in faults {
            scene.world.simulator.fault(FaultRule { page, ..FaultRule::on(list.endpoint(), fault) });
        }
        let how = format!("{list:?} with {how}");
        let begin = Instant::now();
        scene.finds_unknown(list, said, &how).await;
        assert!(begin.elapsed() < Duration::from_secs(8), "{how}: the sign-in takes much longer than the budget");
        scene.recovers().await;
    }))
    .await;
}

#[rstest]
#[tokio::test]
async fn hanging_app_token_request_delays_signin_only_once(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    // A new service has no app token yet.
    let scene = Scene { service: scene.world.service().await, ..scene };
    scene.world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::Hang(LONG)).token(TokenKind::AppOnly));
    let begin = Instant::now();
    scene.finds_assigned_unknown("token endpoint could not be reached", "no app token").await;
    assert!(begin.elapsed() < Duration::from_secs(9), "the sign-in took {:?}", begin.elapsed());
    scene.recovers().await;
}
