//! Concurrent sign-ins: above the limit users are asked to retry, and can.

use std::time::Duration;

use entra_simulator::{Endpoint, Fault, FaultRule};
use entraway::config::Config;
use rstest::rstest;
use sqlx::{Postgres, Transaction};
use url::Url;

use crate::errors::shown;
use crate::support::scene::{assigned, person, until_it_waits};
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World, join_all};

fn one_at_a_time(config: &mut Config) {
    config.limits.concurrent_sign_ins = 1;
}

/// Blocks every sign-in at its last step while the transaction is open.
async fn hold_sessions(world: &World) -> Transaction<'static, Postgres> {
    let mut held = world.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table entraway.sessions in exclusive mode").execute(&mut *held).await.unwrap();
    held
}

/// A browser that returns from Entra.
async fn comes_back(world: &World, service: &Service, name: &str) -> (Browser, Url) {
    let new_user = person(world, name, &[]);
    let mut browser = Browser::new();
    let login = browser.get(service.at("/sso/login?return_to=/a/b")).await;
    let callback = browser.pick(&world.simulator, service, &login.location(), new_user).await;
    (browser, callback)
}

#[tokio::test]
async fn signin_over_concurrency_limit_can_be_retried() {
    let world = World::new().await;
    let service = world.service_with(one_at_a_time).await;
    let (mut first, first_callback) = comes_back(&world, &service, "First").await;
    let (mut second, second_callback) = comes_back(&world, &service, "Second").await;
    let held = hold_sessions(&world).await;
    let signing_in = tokio::spawn(async move { first.get(first_callback).await });
    until_it_waits(&world).await;

    let whose = (second.clone(), second_callback.clone());
    let page = shown(&world, (503, "too_many_sign_ins"), async || whose.clone()).await;
    assert!(page.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(page.body.contains("return_to=%2Fa%2Fb"), "a link that keeps the destination: {}", page.body);
    assert!(page.set_cookies().is_empty(), "the login state stays in the browser: {:?}", page.set_cookies());
    for path in ["/", "/sso/login", "/api/me", "/healthz"] {
        let answer = Browser::new().get(service.at(path)).await;
        assert_ne!(answer.status, 503, "{path} needs no sign-in permit: {answer:#?}");
    }
    held.rollback().await.unwrap();

    assert_eq!(signing_in.await.unwrap().status, 303);
    let answer = second.get(second_callback).await;
    assert_eq!(answer.status, 303, "the same page, loaded again: {answer:#?}");
    assert_eq!(answer.location().path(), "/a/b");
    assert_eq!(second.me(&service).await.json()["user"]["display_name"], "Second");
}

#[tokio::test]
async fn aborted_signin_releases_its_permit() {
    let world = World::new().await;
    let service = world.service_with(one_at_a_time).await;
    let (mut first, first_callback) = comes_back(&world, &service, "First").await;
    let (mut second, second_callback) = comes_back(&world, &service, "Second").await;
    let held = hold_sessions(&world).await;
    let signing_in = tokio::spawn(async move { first.get(first_callback).await });
    until_it_waits(&world).await;
    assert_eq!(second.get(second_callback.clone()).await.status, 503);
    signing_in.abort();
    held.rollback().await.unwrap();
    for _ in 0..200 {
        let answer = second.get(second_callback.clone()).await;
        if answer.status == 303 {
            return;
        }
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "too_many_sign_ins"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the permit of a disconnected browser was never released");
}

#[tokio::test]
async fn callback_without_login_state_takes_no_permit() {
    let world = World::new().await;
    let service = world.service_with(|config| config.limits.concurrent_sign_ins = 1).await;
    let (mut first, first_callback) = comes_back(&world, &service, "First").await;
    let held = hold_sessions(&world).await;
    let signing_in = tokio::spawn(async move { first.get(first_callback).await });
    until_it_waits(&world).await;
    let answer = Browser::new().get(service.at("/sso/callback?state=aaaaaaaaaaaa.b&code=c")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "attempt_unknown"));
    held.rollback().await.unwrap();
    assert_eq!(signing_in.await.unwrap().status, 303);
}

/// Hundreds of sign-ins.
mod slow {
    use super::*;

    #[rstest]
    #[tokio::test]
    async fn signin_burst_over_limit_leaves_no_partial_membership(#[values(Native, LiteLlm)] store: StoreKind) {
        const PEOPLE: usize = 40;
        let world = World::of(store).await;
        let groups = assigned(&world, ["Evals", "Research"]);
        let service = world.service_with(|config| config.limits.concurrent_sign_ins = 4).await;
        let people: Vec<_> = (0..PEOPLE).map(|number| person(&world, &format!("Person {number}"), &groups)).collect();
        let waiting = join_all(people.iter().map(async |new_user| {
            let mut browser = Browser::new();
            let entra = browser.begin(&service).await;
            let callback = browser.pick(&world.simulator, &service, &entra, *new_user).await;
            (browser, callback)
        }))
        .await;

        for stalled in [Endpoint::Token, Endpoint::MemberOf] {
            world.simulator.fault(FaultRule::on(stalled, Fault::Delay(Duration::from_millis(400))));
        }
        let come = |waiting: Vec<(Browser, Url)>| {
            join_all(waiting.into_iter().map(async |(mut browser, callback)| {
                let answer = browser.get(callback.clone()).await;
                (browser, callback, answer)
            }))
        };
        let (mut inside, mut refused) = (Vec::new(), Vec::new());
        for (browser, callback, answer) in come(waiting).await {
            match answer.status.as_u16() {
                303 => inside.push(browser),
                503 => refused.push((browser, callback)),
                _ => panic!("neither signed in nor asked to retry: {answer:#?}"),
            }
        }
        assert!(inside.len() >= 4, "only {} users of the first wave signed in", inside.len());
        assert!(!refused.is_empty(), "{PEOPLE} at once, and the limit of 4 rejected none");
        assert_eq!(
            world.sessions_and_runs().await.0,
            i64::try_from(inside.len()).unwrap(),
            "a rejected user has no session"
        );

        world.simulator.clear_faults();
        for (mut browser, callback) in refused {
            let answer = browser.get(callback).await;
            assert_eq!(answer.status, 303, "after the burst: {answer:#?}");
            inside.push(browser);
        }
        for browser in &mut inside {
            assert_eq!(browser.me(&service).await.json()["teams"].as_array().unwrap().len(), 2);
        }
        let rows = world.rows().await;
        for new_user in people {
            assert_eq!(rows.teams_of(new_user).len(), 2, "{new_user} is in both teams or in none");
        }
        assert_eq!(world.sessions_and_runs().await, (40, 40));
    }
}
