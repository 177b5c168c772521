//! Replicas that die during a run, and runs at intervals.

use std::time::{Duration, Instant};

use entraway::db::{RunStatus, RunTrigger};
use rstest::rstest;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Scene;
use crate::support::scene::{many_assigned, until};
use crate::support::{LiteLlm, Native, StoreKind, join_all};

const KILLS: u32 = 20;

/// The run is dropped at 20 moments, as if its replica had died; each time another replica takes over.
#[rstest]
#[tokio::test]
async fn run_that_dies_at_any_moment_is_finished(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 30).await;
    let groups = many_assigned(&scene.world, 12);
    scene.world.simulator.edit(|directory| {
        for user in &scene.users {
            for group in &groups {
                directory.put(*user, *group);
            }
        }
    });
    let begin = Instant::now();
    assert_eq!(scene.run().await.added, 30 * 12 * 2);
    let leavers = &scene.users[..4];
    scene.world.simulator.edit(|directory| {
        for user in leavers {
            for group in &groups {
                directory.take_out(*user, *group);
            }
        }
    });
    // Longer than reading and planning alone.
    let whole = begin.elapsed();
    let stop = CancellationToken::new();
    let mut finished = 0;
    for n in 1..=KILLS {
        let replica = scene.service.app.reconciliation();
        let run = timeout(whole * n / KILLS / 4, replica.run(RunTrigger::Interval, &stop)).await;
        finished += usize::from(run.is_ok());
        let expire = "update entraway.reconciliation_state set lease_expires_at = '-infinity'";
        sqlx::raw_sql(expire).execute(&scene.world.pool).await.unwrap();
    }
    println!("{store:?}: {finished} of {KILLS} runs finished; reading takes up to {whole:?}");
    let last = scene.run().await;
    assert_eq!((last.status, last.held), (RunStatus::Done, 0), "{last:?}");
    for user in leavers {
        assert_eq!(scene.teams_of(*user).await, [scene.group.to_string()]);
    }
    assert_eq!(scene.teams_of(scene.users[5]).await.len(), 13);
    let events = "select to_jsonb(array[count(*), count(distinct (object_id, target_id))])
                  from entraway.audit_events where action = 'team_member_removed'";
    assert_eq!(scene.json(events).await, json!([48, 48]), "each removal once");
    let running = "select to_jsonb(count(*)) from entraway.reconciliation_runs where status = 'running'";
    assert_eq!(scene.json(running).await, json!(0));
}

#[rstest]
#[tokio::test]
async fn concurrent_replicas_take_turns(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 12).await;
    scene.leave(scene.users[0]);
    let others = [scene.world.service().await, scene.world.service().await];
    let stop = CancellationToken::new();
    let services = others.iter().chain([&scene.service]);
    let runs =
        services.map(async |service| service.app.reconciliation().run(RunTrigger::Interval, &stop).await.unwrap());
    let finished: Vec<_> = join_all(runs).await.into_iter().flatten().collect();
    assert!(finished.iter().all(|run| run.status == RunStatus::Done), "{finished:?}");
    assert_eq!(finished.iter().map(|run| run.removed).sum::<usize>(), 2, "{finished:?}");
}

#[rstest]
#[tokio::test]
async fn service_runs_at_intervals(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let interval = Some(Duration::from_secs(5));
    let _service = scene.world.service_with(|config| config.sync.reconcile_interval = interval).await;
    scene.leave(scene.users[0]);
    until("a run removes the user", async || scene.teams_of(scene.users[0]).await.is_empty()).await;
}
