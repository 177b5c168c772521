//! The service is killed repeatedly during many concurrent sign-ins.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rstest::rstest;

use super::storm::{Came, Chance, Storm, everybody_gets_in_now, everybodys_group, nothing_is_half, until};
use crate::cli::program::{CONFIG, Folder, Program, environment};
use crate::support::{LiteLlm, Native, StoreKind, World};

/// Number of kills per store.
const TIMES: usize = 10;

/// Waits until Postgres has ended the connections of killed services.
async fn until_postgres_is_done(world: &World) {
    until("Postgres ends the connections of killed services", async || {
        let sql = "select count(*) from pg_stat_activity
                   where datname = current_database() and application_name like 'entraway%'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
        count == 0
    })
    .await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_service_leaves_no_partial_signin(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let group = everybodys_group(&world);
    let folder = Folder::new();
    let kind = if store == Native { "native" } else { "litellm" };
    let config = folder.file("config.yaml", &format!("{CONFIG}store: {kind}\nlimits: {{sign_ins_per_address: 0}}\n"));
    let env = environment(&world);
    let start = async || {
        let mut program = Program::start(&folder, &["serve", "--config", &config], &env);
        let base = program.ready().await;
        (program, base)
    };

    let (mut program, first) = start().await;
    let place = Arc::new(Mutex::new(Some(first)));
    let storm = Storm::begin(&world.simulator, &place, group);
    let mut chance = Chance::new();
    for turn in 1..=TIMES {
        storm.until_more_are_in(1).await;
        tokio::time::sleep(chance.time(Duration::from_millis(60))).await;
        *place.lock().unwrap() = None;
        program.signal("KILL");
        drop(program);
        until_postgres_is_done(&world).await;
        nothing_is_half(&world, &[], &format!("kill {turn}, seed {}", chance.seed)).await;
        let (new, at) = start().await;
        program = new;
        *place.lock().unwrap() = Some(at);
    }
    storm.until_more_are_in(1).await;
    let mut tries = storm.end().await;
    nothing_is_half(&world, &tries, &format!("after {TIMES} times, seed {}", chance.seed)).await;
    let broken = tries.iter().filter(|one| one.came == Came::Broken).count();
    assert!(broken > 0, "{TIMES} kills interrupted no sign-in (seed {})", chance.seed);
    for one in &tries {
        assert!(!matches!(one.came, Came::Refused { .. }), "{}: {:?} (seed {})", one.person, one.came, chance.seed);
    }
    let at = place.lock().unwrap().clone().unwrap();
    for one in tries.iter_mut().filter(|one| one.came == Came::In) {
        let answer = one.browser.get(at.join("/auth/verify").unwrap()).await;
        assert_eq!(answer.status, 200, "issued sessions survive (seed {}): {answer:#?}", chance.seed);
    }
    everybody_gets_in_now(&world, &at, &mut tries).await;
    assert_eq!(program.terminate().await.code, 0);
}
