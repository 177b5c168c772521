//! Metrics of forward auth, the database, and rejected requests.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use reqwest::Method;
use rstest::rstest;

use super::{Numbers, Watch, moved};
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World};

/// Polls the metrics until `is_so` holds.
async fn until(watch: &Watch, what: &str, is_so: impl Fn(&Numbers) -> bool) -> Numbers {
    let begin = Instant::now();
    loop {
        let numbers = watch.read().await;
        if is_so(&numbers) {
            return numbers;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}: not after ten seconds:\n{}", numbers.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn verify(browser: &mut Browser, service: &Service) -> u16 {
    let request = browser.request(Method::GET, service.at("/auth/verify"));
    browser.send(request).await.status.as_u16()
}

#[rstest]
#[tokio::test]
async fn forward_auth_is_counted_by_status_and_lookup_source(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let watch = Watch::new(&service).await;
    let mut browser = world.sign_in(&service, alice).await;
    let listening = |numbers: &Numbers| numbers.of("entraway_sessions_listening") == 1;
    let mut before = until(&watch, "the database tells of changes", listening).await;
    assert_eq!(before.of("entraway_sessions_remembered"), 0);

    let mut old = browser.clone();
    for (status, class, lookup) in [(200, "2xx", "database"), (200, "2xx", "memory"), (200, "2xx", "memory")] {
        assert_eq!(verify(&mut browser, &service).await, status);
        let after = watch.read().await;
        let requests = format!("entraway_requests_total{{route=\"verify\",status=\"{class}\"}}");
        let answers = format!("entraway_forward_auth_answers_total{{status=\"{status}\"}}");
        let lookups = format!("entraway_session_lookups_total{{answer=\"{lookup}\"}}");
        assert_eq!(after.since(&before), moved([(&*requests, 1), (&*answers, 1), (&*lookups, 1)]));
        before = after;
    }
    assert_eq!(before.of("entraway_sessions_remembered"), 1);

    browser.post(service.at("/sso/logout")).await;
    let before = watch.read().await;
    assert_eq!(verify(&mut old, &service).await, 401);
    assert_eq!(verify(&mut Browser::new(), &service).await, 401);
    let refused = [
        (r#"entraway_requests_total{route="verify",status="4xx"}"#, 2),
        (r#"entraway_forward_auth_answers_total{status="401"}"#, 2),
        // The other request had no cookie.
        (r#"entraway_session_lookups_total{answer="nobody"}"#, 1),
    ];
    assert_eq!(watch.read().await.since(&before), moved(refused));

    world.database_goes_away().await;
    let deaf = |numbers: &Numbers| numbers.of("entraway_sessions_listening") == 0;
    let before = until(&watch, "the loss of the database is seen", deaf).await;
    assert_eq!(verify(&mut old, &service).await, 503);
    let failed = [
        (r#"entraway_requests_total{route="verify",status="5xx"}"#, 1),
        (r#"entraway_forward_auth_answers_total{status="503"}"#, 1),
        (r#"entraway_session_lookups_total{answer="failed"}"#, 1),
        (r#"entraway_postgres_refusals_total{why="unavailable"}"#, 1),
    ];
    assert_eq!(watch.read().await.since(&before), moved(failed));
}

#[tokio::test]
async fn connection_gauges_follow_usage() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world
        .service_with(|config| {
            config.database.max_connections = 2;
            config.limits.connections = 7;
        })
        .await;
    let watch = Watch::new(&service).await;
    let mut browser = world.sign_in(&service, alice).await;
    let idle = |numbers: &Numbers| numbers.of(r#"entraway_postgres_connections{state="in_use"}"#) == 0;
    let numbers = until(&watch, "the database is idle", idle).await;
    assert_eq!(numbers.of("entraway_postgres_connections_most"), 2);
    assert!((1..=2).contains(&numbers.of(r#"entraway_postgres_connections{state="idle"}"#)));
    assert_eq!(numbers.of("entraway_connections_most"), 7);
    assert_eq!(numbers.of("entraway_connections_open"), 1, "the browser's, not that of the metrics client");
    assert_eq!(numbers.of("entraway_postgres_waiting"), 0);
    assert!(numbers.of("entraway_start_time_seconds") > 1_700_000_000);

    // Three requests wait to read a locked table.
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table entraway.sessions").execute(&mut *lock).await.unwrap();
    let url = service.at("/api/me");
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let questions: Vec<_> = (0..3)
        .map(|_| {
            let request = browser.request(Method::GET, url.clone()).header("Cookie", cookies.join("; "));
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let full = |numbers: &Numbers| {
        numbers.of(r#"entraway_postgres_connections{state="in_use"}"#) == 2
            && numbers.of("entraway_postgres_waiting") == 1
    };
    until(&watch, "two are served and one waits", full).await;
    lock.rollback().await.unwrap();
    for question in questions {
        assert_eq!(question.await.unwrap(), 200);
    }
    let numbers = watch.read().await;
    assert_eq!(numbers.of("entraway_postgres_waiting"), 0);
    assert!(numbers.real("entraway_postgres_wait_seconds_sum") > 0.0);
    assert_eq!(browser.me(&service).await.status, 200);
}

#[tokio::test]
async fn rejected_requests_are_counted_by_limit() {
    let world = World::new().await;
    let service = world.service_with(|config| config.limits.sign_ins_per_address = NonZeroU32::new(1)).await;
    let watch = Watch::new(&service).await;
    Browser::new().begin(&service).await;
    let get = |path: String| Browser::new().request(Method::GET, service.at(&path));
    let long = "x".repeat(5_000);
    let headers = (0..8).fold(get("/".to_owned()), |request, n| request.header(format!("x-{n}"), &long));
    for (request, status, limit) in [
        (get("/sso/login".to_owned()), 429, "sign_ins_per_address"),
        (get(format!("/?{}", "x".repeat(9_000))), 414, "target"),
        (headers, 431, "headers"),
        (get("/".to_owned()).header("Cookie", "x".repeat(17_000)), 431, "cookies"),
        (get("/".to_owned()).body("x".repeat(17_000)), 413, "body"),
    ] {
        let before = watch.read().await;
        assert_eq!(Browser::new().send(request).await.status, status, "{limit}");
        let series = format!("entraway_limits_refused_total{{limit=\"{limit}\"}}");
        assert_eq!(watch.read().await.since(&before).get(series.as_str()), Some(&1), "{series}");
    }

    let none = world.service_with(|config| config.limits.concurrent_sign_ins = 0).await;
    let watch = Watch::new(&none).await;
    let (alice, _) = world.alice();
    assert_eq!(world.try_sign_in(&none, alice).await.code(), "too_many_sign_ins");
    let numbers = watch.read().await;
    assert_eq!(numbers.of(r#"entraway_limits_refused_total{limit="concurrent_sign_ins"}"#), 1);
    assert_eq!(numbers.of(r#"entraway_sign_ins_total{outcome="too_many_sign_ins"}"#), 1);

    let one = world.service_with(|config| config.limits.sign_ins_per_user = NonZeroU32::new(1)).await;
    let watch = Watch::new(&one).await;
    world.sign_in(&one, alice).await;
    assert_eq!(world.try_sign_in(&one, alice).await.code(), "too_many_sign_ins_of_user");
    let numbers = watch.read().await;
    assert_eq!(numbers.of(r#"entraway_limits_refused_total{limit="sign_ins_per_user"}"#), 1);
    assert_eq!(numbers.of(r#"entraway_sign_ins_total{outcome="too_many_sign_ins_of_user"}"#), 1);
}
