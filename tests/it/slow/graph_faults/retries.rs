//! Transient faults: the list is known after retries.

use std::time::{Duration, Instant};

use entra_simulator::{Endpoint, Fault, FaultRule};
use rstest::rstest;

use super::{List, Scene};
use crate::support::{LiteLlm, Native, StoreKind};

#[rstest]
#[tokio::test]
async fn transient_graph_fault_is_retried(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    for fault in [
        Fault::status(429),
        Fault::throttled(0),
        Fault::status(500),
        Fault::status(502),
        Fault::status(503),
        Fault::status(504),
        Fault::CutBody,
        Fault::EmptyPageWithNextLink,
        Fault::Delay(Duration::from_millis(100)),
    ] {
        for list in List::BOTH {
            scene.world.simulator.fault(FaultRule::on(list.endpoint(), fault.clone()).times(1));
        }
        scene.signs_in(&format!("{fault:?}, once per list")).await;
        let run = scene.world.last_run().await;
        assert_eq!(
            (&run["assigned_groups_read"], &run["member_of_read"]),
            (&3.into(), &2.into()),
            "{fault:?}: {run:#}"
        );
        scene.world.simulator.clear_faults();
    }
    scene.recovers().await;
}

#[rstest]
#[tokio::test]
async fn several_transient_faults_in_a_row_are_retried(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    for list in List::BOTH {
        for fault in [Fault::status(429), Fault::CutBody, Fault::status(503)] {
            scene.world.simulator.fault(FaultRule::on(list.endpoint(), fault).times(1));
        }
    }
    scene.signs_in("three faults in a row").await;
    for list in List::BOTH {
        assert_eq!(
            scene.world.simulator.requests_to(list.endpoint()).len(),
            4,
            "{list:?}: three failures and a success"
        );
    }
    let run = scene.world.last_run().await;
    assert_eq!((&run["assigned_groups_read"], &run["member_of_read"]), (&3.into(), &2.into()), "{run:#}");
    scene.recovers().await;
}

#[rstest]
#[tokio::test]
async fn retry_waits_for_retry_after(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    for list in List::BOTH {
        scene.world.simulator.fault(FaultRule::on(list.endpoint(), Fault::throttled(1)).times(1));
    }
    let begin = Instant::now();
    scene.signs_in("429 with a Retry-After of a second").await;
    assert!(begin.elapsed() >= Duration::from_secs(1), "retried after {:?}", begin.elapsed());
    for list in List::BOTH {
        assert_eq!(scene.world.simulator.requests_to(list.endpoint()).len(), 2, "{list:?}: one retry");
    }
    scene.recovers().await;
}

#[rstest]
#[tokio::test]
async fn permanent_graph_fault_is_not_retried(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store).await;
    for fault in [Fault::status(404), Fault::status(400), Fault::Html, Fault::MissingValue, Fault::throttled(60)] {
        for list in List::BOTH {
            scene.world.simulator.clear_requests();
            scene.world.simulator.fault(FaultRule::on(list.endpoint(), fault.clone()));
            scene.signs_in(&format!("{fault:?}")).await;
            assert_eq!(scene.world.simulator.requests_to(list.endpoint()).len(), 1, "{list:?} with {fault:?}");
            scene.world.simulator.clear_faults();
        }
    }
}

#[tokio::test]
async fn retry_after_zero_still_backs_off() {
    let world = crate::support::World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::throttled(0)));
    world.sign_in(&service, alice).await;
    let asked = world.simulator.requests_to(Endpoint::MemberOf).len();
    assert!((2..30).contains(&asked), "{asked} requests to Graph in three seconds");
}
