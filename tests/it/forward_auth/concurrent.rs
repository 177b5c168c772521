//! Concurrent lookups of sessions that are not cached: they are batched, and each gets the answer for its own user.

use std::time::Duration;

use chrono::TimeDelta;
use entraway::db::Db;
use rstest::rstest;

use super::{alice, one, status, until, verify};
use crate::support::scene::{many_assigned, person, until_it_waits};
use crate::support::{Browser, LiteLlm, Native, StoreKind, World, join_all};

/// Lookups wait for the database while this lock is held.
const LOCK: &str = "lock table entraway.sessions in access exclusive mode";

#[tokio::test]
async fn unreadable_session_does_not_fail_its_batch() {
    let world = World::of(LiteLlm).await;
    let first = world.service().await;
    let (alice, group) = world.alice();
    let mut broken = world.sign_in(&first, alice).await;
    let mut good = world.sign_in(&first, person(&world, "Bob", &[group])).await;
    world
        .sql(
            r#"with alice as (update "LiteLLM_UserTable" set sso_user_id = 'nobody' where user_alias = 'Alice Arden'
                              returning user_id),
                    ours as (update entraway.litellm_users set object_id = 'nobody' where user_id in (table alice))
               update entraway.sessions set user_id = 'nobody' where user_id in (table alice)"#,
        )
        .await;
    let service = world.service().await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query(LOCK).execute(&mut *lock).await.unwrap();
    let free = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        lock.rollback().await.unwrap();
    };
    let mut again = (good.clone(), broken.clone());
    let answers = tokio::join!(
        status(&mut good, &service),
        status(&mut broken, &service),
        status(&mut again.0, &service),
        status(&mut again.1, &service),
        free
    );
    assert_eq!(answers, (200, 500, 200, 500, ()), "Bob, Alice with an unreadable ID, and both again");
}

#[tokio::test]
async fn canceled_lookups_do_not_fail_other_waiters() {
    let world = World::new().await;
    let service = world.service().await;
    let browser = alice(&world, &service).await;
    let second = world.service().await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query(LOCK).execute(&mut *lock).await.unwrap();
    // More requests than concurrent batches are canceled before their answer.
    let impatient = (0..10).map(|_| async {
        let mut browser = browser.clone();
        tokio::time::timeout(Duration::from_millis(300), status(&mut browser, &second)).await
    });
    let left = join_all(impatient).await;
    assert!(left.iter().all(Result::is_err), "the lock keeps all lookups waiting: {left:?}");
    until_it_waits(&world).await;
    let free = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lock.rollback().await.unwrap();
    };
    let stayed = join_all((0..10).map(|_| async { status(&mut browser.clone(), &second).await }));
    let (stayed, ()) = tokio::join!(stayed, free);
    assert_eq!(stayed, [200; 10], "lookups that came later and were not canceled");
    let known = async || second.app.sessions().cached_count() == 1;
    until("the session is cached", known).await;
}

/// Consecutive lookups share a connection for a while and then acquire another one, which may be the same.
#[tokio::test]
async fn held_connection_is_released_before_acquiring_another() {
    let world = World::new().await;
    drop(world.service().await);
    let store = Db::new(Native, &world.database.clone().into(), 1).unwrap();
    let mut callers = store.session_reader();
    for n in 0..3 {
        let found = callers.read(&[[0; 32]], world.clock.now(), TimeDelta::hours(1)).await;
        let found = found.unwrap_or_else(|error| panic!("lookup {n} on the only connection: {error}"));
        assert!(found.is_empty(), "no session has that token");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Many sessions.
mod slow {
    use super::*;

    #[rstest]
    #[tokio::test]
    async fn concurrent_lookups_are_batched_and_answered_per_user(#[values(Native, LiteLlm)] store: StoreKind) {
        let world = World::of(store).await;
        let groups = many_assigned(&world, 5);
        let first = world.service().await;
        let mut browsers = Vec::new();
        for n in 0..40 {
            let who = person(&world, &format!("Person {n}"), &groups[n % 4..=n % 4 + n % 2]);
            browsers.push((who, world.sign_in(&first, who).await));
        }
        // A session that has ended, and a browser without one.
        let mut gone = browsers[0].1.clone();
        sqlx::query("delete from entraway.sessions where user_id = $1")
            .bind(browsers.remove(0).0.to_string())
            .execute(&world.pool)
            .await
            .unwrap();
        let mut anonymous = Browser::new();

        world.clock.advance(TimeDelta::minutes(5));
        // The cache of this replica is empty.
        let second = world.service().await;
        world.statements().await;
        let mut lock = world.pool.begin().await.unwrap();
        sqlx::query(LOCK).execute(&mut *lock).await.unwrap();
        let free = async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            lock.rollback().await.unwrap();
        };
        let asks = browsers.iter().map(|(who, browser)| async {
            let answer = verify(&mut browser.clone(), &second, "/auth/verify", &[]).await;
            let header = |name| one(&answer.headers, name).to_owned();
            (*who, answer.status.as_u16(), header("x-auth-request-user"), header("x-auth-request-teams"))
        });
        let (answers, gone, anonymous, ()) =
            tokio::join!(join_all(asks), status(&mut gone, &second), status(&mut anonymous, &second), free);
        let rows = world.rows().await;
        for (who, status, user, teams) in answers {
            assert_eq!((status, user), (200, who.to_string()), "{who} got the answer of another user");
            let mut expected = rows.teams_of(who);
            expected.sort();
            assert_eq!(teams, expected.join(","), "the teams of {who}");
        }
        assert_eq!((gone, anonymous), (401, 401), "no session, in a batch with live ones");

        let left_behind = async || {
            sqlx::query_scalar::<_, i64>(
                "select count(*) from entraway.sessions where last_seen_at < created_at + interval '5 minutes'",
            )
            .fetch_one(&world.pool)
            .await
            .unwrap()
        };
        until("each last_seen_at is updated", async || left_behind().await == 0).await;
        let statements = world.statements().await;
        for what in ["select s.token_hash", "update entraway.sessions set last_seen_at"] {
            let calls: i64 = statements.iter().filter(|(sql, _)| sql.starts_with(what)).map(|(_, calls)| calls).sum();
            assert!((1..=10).contains(&calls), "{calls} times «{what} …» for 40 concurrent lookups: {statements:#?}");
        }
    }
}
