//! The session cache: a change invalidates it on every replica within a second.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::Method;
use rstest::rstest;
use sqlx::AssertSqlSafe;

use super::{alice, one, remembers, status, trusting, until, verify};
use crate::support::sql_fixtures::MAKE_TEAM;
use crate::support::{Answer, LiteLlm, Native, StoreKind, World};

/// Deletes all sessions without a notification. A session that is still accepted comes from the cache.
async fn delete_sessions_silently(world: &World) {
    sqlx::query("delete from entraway.sessions").execute(&world.pool).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn cached_session_is_used_for_at_most_a_minute(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    let mut browser = alice(&world, &service).await;
    remembers(&service).await;
    assert_eq!(status(&mut browser, &service).await, 200);
    world.statements().await;
    for _ in 0..10 {
        assert_eq!(status(&mut browser, &service).await, 200);
    }
    assert_eq!(world.statements().await, [], "ten requests with a cached session");
    delete_sessions_silently(&world).await;
    world.clock.advance(TimeDelta::seconds(55));
    assert_eq!(status(&mut browser, &service).await, 200, "there was no notification");
    world.clock.advance(TimeDelta::seconds(6));
    assert_eq!(status(&mut browser, &service).await, 401, "a minute-old entry is read again");
}

const FOR_PAGES: [&str; 5] = [
    "content-security-policy",
    "cross-origin-opener-policy",
    "permissions-policy",
    "referrer-policy",
    "x-frame-options",
];

/// An allowed request without a body takes the fast path; one with a body takes the regular route.
#[rstest]
#[tokio::test]
async fn verify_response_is_the_same_on_and_off_the_fast_path(#[values(Native, LiteLlm)] store: StoreKind) {
    // A test that logs at debug level, in any thread, would disable the fast path.
    let _quiet = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    let world = World::of(store).await;
    let service = world.service_with(trusting).await;
    let mut browser = alice(&world, &service).await;
    remembers(&service).await;
    let headers = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{answer:#?}");
        let mut headers: Vec<_> = answer.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.retain(|(name, _)| name != "date");
        headers.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        headers
    };
    assert_eq!(status(&mut browser, &service).await, 200);
    assert_eq!(service.app.sessions().cached_count(), 1);
    for path in ["/auth/verify", "/auth/verify?role=internal_user&role=internal_user_viewer"] {
        let id = ("x-request-id", "from-the-proxy");
        let fast = verify(&mut browser, &service, path, &[id]).await;
        let with_body = browser.request(Method::GET, service.at(path)).header(id.0, id.1).body("x");
        let regular = browser.send(with_body).await;
        // Only the regular route adds headers for pages, so the two requests took different ways.
        let (for_pages, rest): (Vec<_>, Vec<_>) =
            headers(&regular).into_iter().partition(|(name, _)| FOR_PAGES.contains(&name.as_str()));
        assert_eq!(headers(&fast), rest, "{path}");
        assert_eq!(for_pages.len(), FOR_PAGES.len(), "{path}: {for_pages:?}");
        assert_eq!(one(&fast.headers, "x-request-id"), "from-the-proxy");
        for answer in [&fast, &regular] {
            assert_eq!(one(&answer.headers, "cross-origin-resource-policy"), "same-origin", "{path}");
            assert_eq!(one(&answer.headers, "x-content-type-options"), "nosniff", "{path}");
        }
    }
    let twice = [("x-request-id", "from-the-proxy"), ("x-request-id", "from-the-client")];
    let answer = verify(&mut browser, &service, "/auth/verify", &twice).await;
    assert!(!one(&answer.headers, "x-request-id").starts_with("from-the"), "of two IDs, one may be the client's");
    let (one_id, another) = (
        one(&verify(&mut browser, &service, "/auth/verify", &[]).await.headers, "x-request-id").to_owned(),
        one(&verify(&mut browser, &service, "/auth/verify", &[]).await.headers, "x-request-id").to_owned(),
    );
    assert_ne!(one_id, another, "each answer has its own ID");
}

#[tokio::test]
async fn expired_session_is_rejected_from_cache() {
    let world = World::new().await;
    let service = world.service_with(|config| config.session.lifetime = Duration::from_secs(90)).await;
    let mut browser = alice(&world, &service).await;
    remembers(&service).await;
    world.clock.advance(TimeDelta::seconds(50));
    assert_eq!(status(&mut browser, &service).await, 200);
    world.clock.advance(TimeDelta::seconds(41));
    assert_eq!(status(&mut browser, &service).await, 401, "after 90 seconds, 41 of them cached");
}

#[tokio::test]
async fn idle_timeout_applies_to_cached_sessions() {
    let world = World::new().await;
    let service = world.service_with(|config| config.session.idle_timeout = Duration::from_mins(4)).await;
    let mut used = alice(&world, &service).await;
    remembers(&service).await;
    for _ in 0..30 {
        world.clock.advance(TimeDelta::seconds(20));
        assert_eq!(status(&mut used, &service).await, 200, "used for ten minutes");
    }
    world.clock.advance(TimeDelta::seconds(241));
    assert_eq!(status(&mut used, &service).await, 401, "not used for four minutes");
}

#[rstest]
#[tokio::test]
async fn signout_reaches_other_replicas_within_a_second(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (here, elsewhere) = (world.service().await, world.service().await);
    let mut browser = alice(&world, &here).await;
    remembers(&here).await;
    remembers(&elsewhere).await;
    let mut old = browser.clone();
    for service in [&here, &elsewhere] {
        assert_eq!(status(&mut browser, service).await, 200);
    }
    browser.post(here.at("/sso/logout")).await;
    assert_eq!(status(&mut old, &here).await, 401, "where the sign-out was");
    let begin = Instant::now();
    until("the other replica rejects the session", async || status(&mut old, &elsewhere).await == 401).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "it took {:?}", begin.elapsed());
}

#[rstest]
#[tokio::test]
async fn signin_changes_reach_other_sessions_of_the_user(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (person, _) = world.alice();
    let (here, elsewhere) = (world.service().await, world.service().await);
    let mut old = world.sign_in(&here, person).await;
    remembers(&here).await;
    remembers(&elsewhere).await;
    for service in [&here, &elsewhere] {
        let answer = verify(&mut old, service, "/auth/verify", &[]).await;
        assert_eq!(one(&answer.headers, "x-auth-request-role"), "internal_user");
    }
    let evals = world.simulator.edit(|directory| {
        let evals = directory.group("Evals");
        directory.put(person, evals);
        directory.assign_role(evals, "proxy_admin");
        evals
    });
    world.sign_in(&elsewhere, person).await;
    for service in [&here, &elsewhere] {
        until("the first session has the new role and team", async || {
            let answer = verify(&mut old, service, "/auth/verify", &[]).await;
            one(&answer.headers, "x-auth-request-role") == "proxy_admin"
                && one(&answer.headers, "x-auth-request-teams").contains(&evals.to_string())
        })
        .await;
    }
}

#[tokio::test]
async fn manual_changes_reach_cached_sessions_within_a_second() {
    let world = World::new().await;
    let (person, group) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, person).await;
    remembers(&service).await;
    world.by_hand(MAKE_TEAM, &[&"t-1", &"By hand"]).await;
    world.by_hand(MAKE_TEAM, &[&"t-2", &"By hand, too"]).await;
    let both = |a: &str, b: &str| format!("{a},{b}");
    let group = group.to_string();
    for (sql, header, expected) in [
        ("update entraway.users set user_role = 'proxy_admin'", "role", "proxy_admin".to_owned()),
        ("update entraway.users set user_alias = null", "name", String::new()),
        (
            "insert into entraway.team_members (user_id, team_id) select user_id, 't-1' from entraway.users",
            "teams",
            both(&group, "t-1"),
        ),
        ("update entraway.team_members set team_id = 't-2' where team_id = 't-1'", "teams", both(&group, "t-2")),
        ("delete from entraway.teams where team_id = 't-2'", "teams", group.clone()),
        ("delete from entraway.organization_members", "organizations", String::new()),
        ("truncate entraway.team_members", "teams", String::new()),
    ] {
        // Caches the state before the change.
        assert_eq!(status(&mut browser, &service).await, 200);
        let begin = Instant::now();
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&world.pool).await.unwrap();
        until(sql, async || {
            let answer = verify(&mut browser, &service, "/auth/verify", &[]).await;
            one(&answer.headers, &format!("x-auth-request-{header}")) == expected
        })
        .await;
        assert!(begin.elapsed() < Duration::from_secs(1), "{sql}: it took {:?}", begin.elapsed());
    }
    // A change of spend does not notify.
    assert_eq!(status(&mut browser, &service).await, 200);
    sqlx::query("update entraway.team_members set spend = spend + 1").execute(&world.pool).await.unwrap();
    sqlx::query("update entraway.users set spend = spend + 1").execute(&world.pool).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.statements().await;
    assert_eq!(status(&mut browser, &service).await, 200);
    assert_eq!(world.statements().await, [], "a change of spend invalidates no session");
}

#[tokio::test]
async fn cache_is_not_used_while_the_listener_is_disconnected() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = alice(&world, &service).await;
    remembers(&service).await;
    assert_eq!(status(&mut browser, &service).await, 200);
    world.database_goes_away().await;
    until("the loss is noticed", async || !service.app.sessions().is_caching()).await;
    assert_eq!(status(&mut browser, &service).await, 503, "an unknown session is neither signed out nor stale");
    world.database_comes_back().await;
    delete_sessions_silently(&world).await;
    remembers(&service).await;
    assert_eq!(status(&mut browser, &service).await, 401, "a change during the outage is not missed");
}

#[tokio::test]
async fn stalled_listener_is_detected_within_a_second() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = alice(&world, &service).await;
    remembers(&service).await;
    assert_eq!(status(&mut browser, &service).await, 200);
    delete_sessions_silently(&world).await;
    // Stopped, not terminated: the connection stays open without any packet.
    let pid: i32 = sqlx::query_scalar(
        "select pid from pg_stat_activity where datname = current_database() and application_name = 'entraway listens'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    let signal = |name: &str| {
        let done = std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
        assert!(done.success(), "kill {name} {pid}");
    };
    signal("-STOP");
    let begin = Instant::now();
    until("the cache is not used", async || status(&mut browser, &service).await == 401).await;
    let took = begin.elapsed();
    signal("-CONT");
    assert!(took < Duration::from_millis(1_300), "it took {took:?}");
}

#[rstest]
#[tokio::test]
async fn session_limit_evicts_the_oldest_session(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (person, _) = world.alice();
    let service = world.service_with(|config| config.session.max_per_user = 3).await;
    remembers(&service).await;
    let mut browsers = Vec::new();
    for _ in 0..3 {
        browsers.push(world.sign_in(&service, person).await);
        world.clock.advance(TimeDelta::seconds(1));
    }
    for browser in &mut browsers {
        assert_eq!(status(browser, &service).await, 200, "three are allowed");
    }
    browsers.push(world.sign_in(&service, person).await);
    let mut statuses = Vec::new();
    for browser in &mut browsers {
        statuses.push(status(browser, &service).await);
    }
    assert_eq!(statuses, [401, 200, 200, 200], "the oldest ends");
    // Another user has a limit of their own.
    let bob = world.simulator.edit(|directory| directory.person("Bob", |_| {}));
    let mut bob = world.sign_in(&service, bob).await;
    assert_eq!(status(&mut bob, &service).await, 200);
    assert_eq!(world.traces().await.sessions, 4);
}

#[tokio::test]
async fn concurrent_signins_respect_the_session_limit() {
    let world = World::new().await;
    let (person, _) = world.alice();
    let (a, b) = tokio::join!(
        world.service_with(|config| config.session.max_per_user = 5),
        world.service_with(|config| config.session.max_per_user = 5)
    );
    world.sign_in(&a, person).await;
    let sign_ins = (0..24).map(|n| world.sign_in(if n % 2 == 0 { &a } else { &b }, person));
    crate::support::join_all(sign_ins).await;
    assert_eq!(world.traces().await.sessions, 5);
}

#[tokio::test]
async fn concurrent_signins_replace_expired_sessions() {
    let world = World::new().await;
    let (person, _) = world.alice();
    let service = world.service().await;
    let mut browsers = Vec::new();
    for _ in 0..12 {
        browsers.push(world.sign_in(&service, person).await);
    }
    for round in 0..3 {
        // Each sign-in replaces its own expired session and also tries to delete the other expired ones.
        world.clock.advance(TimeDelta::hours(25));
        let sign_ins = browsers.iter_mut().map(|browser| async {
            let answer = browser.sign_in(&world.simulator, &service, person).await;
            assert_eq!(answer.status, 303, "round {round}: {answer:#?}");
        });
        crate::support::join_all(sign_ins).await;
        assert_eq!(world.traces().await.sessions, 12, "round {round}: each has one, and the old ones are gone");
    }
}

#[tokio::test]
async fn front_channel_logout_ends_only_sessions_of_its_sid() {
    let world = World::new().await;
    let (person, _) = world.alice();
    let service = world.service().await;
    remembers(&service).await;
    let mut browsers = Vec::new();
    for sid in ["11111111-aaaa", "11111111-aaaa", "22222222-bbbb"] {
        world.simulator.next_id_token(move |token| {
            token.claims.insert("sid".to_owned(), sid.into());
        });
        browsers.push(world.sign_in(&service, person).await);
    }
    world.simulator.clear_faults();
    // Without `sid`, as in Entra's tokens if the claim is not requested.
    world.simulator.next_id_token(|token| drop(token.claims.remove("sid")));
    browsers.push(world.sign_in(&service, person).await);
    let logout = |query: &str| service.at(&format!("/sso/frontchannel-logout{query}"));
    let statuses = async |browsers: &mut Vec<crate::support::Browser>| {
        let mut all = Vec::new();
        for browser in browsers {
            all.push(status(browser, &service).await);
        }
        all
    };
    assert_eq!(statuses(&mut browsers).await, [200; 4]);
    // A frame sends no cookie. If one arrives, it is ignored.
    let long = format!("?sid={}", "x".repeat(129));
    for (expected, query) in [
        (400, ""),
        (400, "?sid="),
        (400, long.as_str()),
        (400, "?sid=11111111-aaaa&sid=22222222-bbbb"),
        (400, "?sid=%00"),
        (200, "?sid=33333333-cccc"),
        (200, "?sid=%25"),
        (200, "?sid=11111111-aaa_"),
        (200, "?sid=11111111-AAAA"),
    ] {
        let mut browser = browsers[0].clone();
        let answer = browser.get(logout(query)).await;
        assert_eq!(answer.status, expected, "{query}: {answer:#?}");
        assert!(answer.set_cookies().is_empty(), "{query}");
    }
    assert_eq!(statuses(&mut browsers).await, [200; 4], "nothing of that ended anything");
    let known = crate::support::Browser::new().get(logout("?sid=11111111-aaaa&iss=x")).await;
    let unknown = crate::support::Browser::new().get(logout("?sid=44444444-dddd")).await;
    assert_eq!((known.status.as_u16(), known.body.as_str()), (200, ""));
    assert_eq!(
        (unknown.status, unknown.body),
        (known.status, known.body),
        "the answer does not reveal which sessions exist"
    );
    assert_eq!(statuses(&mut browsers).await, [401, 401, 200, 200]);
    let post = browsers[2].request(Method::POST, logout("?sid=22222222-bbbb"));
    assert_eq!(browsers[2].clone().send(post).await.status, 405);
}

#[tokio::test]
async fn expiry_job_runs_on_one_replica_at_a_time() {
    let world = World::new().await;
    let service = world.service().await;
    alice(&world, &service).await;
    world.clock.advance(TimeDelta::hours(25));
    let mut other = world.pool.begin().await.unwrap();
    let ours: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended('entraway purge', 0))")
        .fetch_one(&mut *other)
        .await
        .unwrap();
    assert!(ours, "the lock is free");
    assert_eq!(service.app.delete_expired().await.unwrap(), 0, "another replica holds the lock");
    assert_eq!(world.traces().await.sessions, 1);
    other.rollback().await.unwrap();
    assert!(service.app.delete_expired().await.unwrap() > 0);
    assert_eq!(world.traces().await.sessions, 0);
}
