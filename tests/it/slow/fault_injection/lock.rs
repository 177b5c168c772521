//! Another session holds a database lock that a sign-in needs: the sign-in times out, and other requests do not wait.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rstest::rstest;

use super::storm::{LONG, until};
use crate::support::scene::{assigned, person, until_it_waits};
use crate::support::{Browser, LiteLlm, Native, StoreKind, World, join_all};

/// Limits of docs/reference/limits.md (lock timeout and connection timeout), plus a margin for a busy machine.
const IN_TIME: Duration = Duration::from_secs(8 + 5 + 7);

/// Well below the lock timeout.
const AT_ONCE: Duration = Duration::from_secs(5);

#[rstest]
#[tokio::test]
async fn signin_blocked_on_user_row_fails_while_others_continue(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [all, some, other] = assigned(&world, ["All", "Some", "Other"]);
    let (alice, bob) = (person(&world, "Alice Arden", &[all]), person(&world, "Bob Birch", &[other]));
    let service = world.service().await;
    let mut known = world.sign_in(&service, alice).await;
    world.simulator.edit(|directory| directory.put(alice, some));
    let mut held = world.pool.begin().await.unwrap();
    world.by_hand_on(&mut *held, "select from {users} where user_id = $1 for update", &[&alice]).await;

    let begin = Instant::now();
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
    let waiting = tokio::spawn(async move { (browser.get(callback).await, begin.elapsed()) });
    until_it_waits(&world).await;
    for path in ["/auth/verify", "/api/me", "/", "/teams"] {
        assert_eq!(known.get(service.at(path)).await.status, 200, "{path} of the same user in another browser");
    }
    let mut other = world.sign_in(&service, bob).await;
    assert_eq!(other.get(service.at("/auth/verify")).await.status, 200, "another user signs in meanwhile");
    assert!(!waiting.is_finished(), "the blocked sign-in still waits");

    let (answer, took) = waiting.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "database_unavailable"), "{answer:#?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:#?}");
    assert!(took < IN_TIME, "the sign-in failed only after {took:?}");
    held.rollback().await.unwrap();
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice).len(), 2);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn blocked_signins_leave_connections_for_reads(#[values(Native, LiteLlm)] store: StoreKind) {
    const MANY: usize = 20;
    let world = World::of(store).await;
    let [group] = assigned(&world, ["All"]);
    let service = world.service().await;
    let mut known = Vec::new();
    for number in 0..6 {
        known.push(world.sign_in(&service, person(&world, &format!("Known {number}"), &[group])).await);
    }
    let mut newcomers = Vec::new();
    for number in 0..MANY {
        let new_user = person(&world, &format!("New {number}"), &[group]);
        let mut browser = Browser::new();
        let entra = browser.begin(&service).await;
        newcomers.push((browser.pick(&world.simulator, &service, &entra, new_user).await, browser));
    }
    let _new = assigned(&world, ["New"]);
    let mut held = world.pool.begin().await.unwrap();
    let lock = sqlx::AssertSqlSafe(world.statement("lock table {teams} in share row exclusive mode"));
    sqlx::raw_sql(lock).execute(&mut *held).await.unwrap();

    let signing_in: Vec<_> = newcomers
        .into_iter()
        .map(|(callback, mut browser)| tokio::spawn(async move { browser.get(callback).await }))
        .collect();
    until_it_waits(&world).await;
    until("all sign-in permits are in use", async || service.app.db().pool().in_use >= 3).await;
    let begin = Instant::now();
    for browser in &mut known {
        // Not cached yet: each session is read from the database.
        let answer = browser.get(service.at("/auth/verify")).await;
        assert_eq!(answer.status, 200, "existing session: {answer:#?}");
    }
    for path in ["/api/me", "/", "/teams"] {
        let answer = known[0].get(service.at(path)).await;
        assert_eq!(answer.status, 200, "{path} with an existing session: {answer:#?}");
    }
    assert!(!signing_in.iter().all(tokio::task::JoinHandle::is_finished), "the sign-ins are still blocked");

    held.rollback().await.unwrap();
    let answers = join_all(signing_in.into_iter().map(async |one| one.await.unwrap())).await;
    let took = begin.elapsed();
    assert!(took < IN_TIME, "the last response took {took:?}");
    for answer in &answers {
        match answer.status.as_u16() {
            303 => {}
            503 => {
                assert_eq!(answer.code(), "database_unavailable", "{answer:#?}");
                assert!(answer.headers.contains_key("retry-after"), "{answer:#?}");
            }
            _ => panic!("neither signed in nor asked to retry: {answer:#?}"),
        }
    }
    let last = person(&world, "Last", &[group]);
    world.sign_in(&service, last).await;
    assert_eq!(world.rows().await.teams.len(), 2);
}

#[rstest]
#[tokio::test]
async fn locked_session_row_does_not_block_requests(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    world.clock.advance(TimeDelta::seconds(61));
    let mut held = world.pool.begin().await.unwrap();
    sqlx::query("select from entraway.sessions for update").execute(&mut *held).await.unwrap();
    let begin = Instant::now();
    for path in ["/auth/verify", "/api/me", "/"] {
        assert_eq!(browser.get(service.at(path)).await.status, 200, "{path}");
    }
    let took = begin.elapsed();
    assert!(took < AT_ONCE, "requests waited {took:?} for the locked session row");
    held.rollback().await.unwrap();
    let seen = "select last_seen_at from entraway.sessions";
    let before: chrono::DateTime<chrono::Utc> = sqlx::query_scalar(seen).fetch_one(&world.pool).await.unwrap();
    assert_eq!(browser.get(service.at("/api/me")).await.status, 200);
    let after: chrono::DateTime<chrono::Utc> = sqlx::query_scalar(seen).fetch_one(&world.pool).await.unwrap();
    assert!(after > before, "last_seen_at is updated after the lock is released: {before}, {after}");
    assert!(begin.elapsed() < LONG);
}
