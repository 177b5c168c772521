//! One replica at a time: the lease, and what happens when it is lost.

use std::time::Duration;

use entraway::db::{ApplyingRun, DbError, RunStatus, RunTrigger};
use entraway::policy::KeysOnRemoval;
use rstest::rstest;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Scene;
use crate::support::{LiteLlm, Native, StoreKind};

const LONG: Duration = Duration::from_mins(1);

#[rstest]
#[tokio::test]
async fn second_replica_does_not_run(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 1).await;
    let db = scene.service.app.db();
    let lease = db.take_lease(Uuid::from_u128(1), LONG).await.unwrap().unwrap();
    assert_eq!(db.take_lease(Uuid::from_u128(2), LONG).await.unwrap(), None);
    assert_eq!(db.take_lease(Uuid::from_u128(1), LONG).await.unwrap(), None, "one run of a replica at a time");
    let stop = CancellationToken::new();
    assert!(scene.service.app.reconciliation().run(RunTrigger::Interval, &stop).await.unwrap().is_none());
    assert!(db.renew_lease(lease, LONG).await.unwrap());
    db.release_lease(lease).await.unwrap();
    assert_eq!(scene.run().await.status, RunStatus::Done);
}

#[rstest]
#[tokio::test]
async fn replica_that_lost_the_lease_cannot_write(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let db = scene.service.app.db();
    let paused = db.take_lease(Uuid::from_u128(1), Duration::ZERO).await.unwrap().unwrap();
    let next = db.take_lease(Uuid::from_u128(2), LONG).await.unwrap().unwrap();
    assert!(!db.renew_lease(paused, LONG).await.unwrap());
    db.release_lease(paused).await.unwrap();
    let now = scene.world.clock.now();
    let start = |lease| db.start_run(lease, Uuid::from_u128(7), RunTrigger::Interval, now);
    assert!(matches!(start(paused).await, Err(DbError::LeaseLost)));
    let applying = |lease| ApplyingRun {
        lease,
        run_id: Uuid::from_u128(7),
        started_at: now,
        keys_on_removal: KeysOnRemoval::Block,
    };
    let removals = scene.removals_of(scene.users[0]);
    assert!(matches!(db.apply_removals(&applying(paused), &removals, now).await, Err(DbError::LeaseLost)));
    assert_eq!(scene.teams_of(scene.users[0]).await, [scene.group.to_string()]);
    start(next).await.unwrap();
    let removed = db.apply_removals(&applying(next), &removals, now).await.unwrap();
    assert_eq!((removed.removed, removed.skipped), (1, 0));
}

/// A user who signed in after the run began to read is in the team for a reason that the run does not know.
#[rstest]
#[tokio::test]
async fn later_signin_wins(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let db = scene.service.app.db();
    let lease = db.take_lease(Uuid::from_u128(1), LONG).await.unwrap().unwrap();
    let started_at = scene.world.clock.now();
    let run = ApplyingRun { lease, run_id: Uuid::from_u128(7), started_at, keys_on_removal: KeysOnRemoval::Block };
    scene.world.sign_in(&scene.service, scene.users[0]).await;
    let removals = scene.removals_of(scene.users[0]);
    let removed = db.apply_removals(&run, &removals, scene.world.clock.now()).await.unwrap();
    assert_eq!((removed.removed, removed.skipped), (0, 1));
    assert_eq!(scene.teams_of(scene.users[0]).await, [scene.group.to_string()]);
}

#[rstest]
#[tokio::test]
async fn membership_with_a_new_source_is_left_alone(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let db = scene.service.app.db();
    let lease = db.take_lease(Uuid::from_u128(1), LONG).await.unwrap().unwrap();
    let now = scene.world.clock.now();
    let run = ApplyingRun { lease, run_id: Uuid::from_u128(7), started_at: now, keys_on_removal: KeysOnRemoval::Block };
    let mut removals = scene.removals_of(scene.users[0]);
    removals.removals[0].sources.push("another:source".to_owned());
    let removed = db.apply_removals(&run, &removals, now).await.unwrap();
    assert_eq!((removed.removed, removed.skipped), (0, 1));
}

#[tokio::test]
async fn stopped_run_gives_the_lease_back() {
    let scene = Scene::new(Native, 1).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let run = scene.service.app.reconciliation().run(RunTrigger::Interval, &stop).await.unwrap().unwrap();
    // An unlucky choice finishes first: then the run is done.
    assert!(matches!(run.status, RunStatus::Interrupted | RunStatus::Done), "{run:?}");
    assert_eq!(scene.run().await.status, RunStatus::Done);
}

#[tokio::test]
async fn run_of_a_dead_replica_is_recorded_as_interrupted() {
    let scene = Scene::new(Native, 1).await;
    let db = scene.service.app.db();
    let lease = db.take_lease(Uuid::from_u128(1), Duration::ZERO).await.unwrap();
    assert!(lease.is_some());
    sqlx::raw_sql(
        "insert into entraway.reconciliation_runs (run_id, trigger, started_at, status)
         values (gen_random_uuid(), 'interval', now(), 'running')",
    )
    .execute(&scene.world.pool)
    .await
    .unwrap();
    scene.run().await;
    let statuses = "select to_jsonb(array_agg(status order by started_at)) from entraway.reconciliation_runs";
    assert_eq!(scene.json(statuses).await, json!(["done", "interrupted", "done"]));
}

#[tokio::test]
async fn plan_is_deleted_after_7_days_and_run_after_90() {
    let scene = Scene::new(Native, 1).await;
    let counts = "select jsonb_build_array(count(*), count(plan)) from entraway.reconciliation_runs";
    for (age, expected) in [(6, json!([1, 1])), (2, json!([1, 0])), (83, json!([0, 0]))] {
        scene.world.clock.advance(chrono::TimeDelta::days(age));
        scene.service.app.delete_expired().await.unwrap();
        assert_eq!(scene.json(counts).await, expected, "after {age} days more");
    }
}
