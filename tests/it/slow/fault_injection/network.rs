//! The network between the service and Postgres fails, at every step of a sign-in and at random.

use std::time::{Duration, Instant};

use entra_simulator::GroupId;
use reqwest::Method;
use rstest::rstest;

use super::storm::{
    Came, Chance, LONG, Storm, Try, all_refusals_are_for_want_of_the_database, any_number, everybody_gets_in_now,
    everybodys_group, nothing_is_half, until,
};
use super::tcp_proxy::{Lost, Proxy};
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World, join_all};

const TIMES: usize = 15;

/// A service with one database connection through the proxy, and one user who signed in.
async fn scene(store: StoreKind) -> (World, Proxy, Service, GroupId) {
    let mut world = World::of(store).await;
    let proxy = Proxy::start().await;
    world.database = proxy.address(&world);
    let group = everybodys_group(&world);
    let service = world
        .service_with(|config| {
            any_number(config);
            config.database.max_connections = 1;
        })
        .await;
    assert_eq!(Try::of_new_user(&world.simulator, &service.at("/"), group).await.came, Came::In);
    (world, proxy, service, group)
}

/// Signs in a new user while this message is lost. Returns the user and whether the message was lost.
async fn with(scene: &(World, Proxy, Service, GroupId), lost: Lost) -> (Vec<Try>, bool) {
    let (world, proxy, service, group) = scene;
    proxy.lose(lost);
    let tries = vec![Try::of_new_user(&world.simulator, &service.at("/"), *group).await];
    let was_lost = proxy.has_lost();
    all_refusals_are_for_want_of_the_database(&tries);
    all_or_nothing_is_there(world, &tries[0], lost).await;
    (tries, was_lost)
}

/// Asserts that the new groups and the user are both stored or both missing. Valid because no other user signs in.
async fn all_or_nothing_is_there(world: &World, one: &Try, lost: Lost) {
    nothing_is_half(world, std::slice::from_ref(one), &format!("{lost:?}")).await;
    let rows = world.rows().await;
    let there = one.groups.iter().all(|group| rows.teams.contains_key(&group.to_string()));
    assert_eq!(there, rows.users.contains_key(&one.person.to_string()), "{lost:?}: new groups and their user");
}

#[rstest]
#[tokio::test]
async fn signin_is_atomic_under_connection_loss(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = scene(store).await;
    for lost in [Lost::Question, Lost::Answer] {
        for n in 1.. {
            assert!(n < 200, "a sign-in never ran out of messages to the database");
            let (mut tries, was_lost) = with(&scene, lost(n)).await;
            everybody_gets_in_now(&scene.0, &scene.2.at("/"), &mut tries).await;
            if !was_lost {
                assert!(n > 6, "a sign-in sends more than {n} messages: does it go through the proxy?");
                break;
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn lost_commit_writes_nothing_and_lost_reply_writes_all(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = scene(store).await;
    for (lost, written) in [(Lost::Commit, false), (Lost::AnswerToCommit, true)] {
        let (mut tries, was_lost) = with(&scene, lost).await;
        assert!(was_lost, "{lost:?}: a COMMIT was sent");
        assert!(matches!(tries[0].came, Came::Refused { .. }), "{lost:?}: an unknown outcome does not sign in");
        until("Postgres is done", async || {
            scene.0.rows().await.users.contains_key(&tries[0].person.to_string()) == written
        })
        .await;
        all_or_nothing_is_there(&scene.0, &tries[0], lost).await;
        let before = scene.0.versions().await;
        everybody_gets_in_now(&scene.0, &scene.2.at("/"), &mut tries).await;
        assert_eq!(scene.0.versions().await == before, written, "{lost:?}: existing rows are not written again");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_connection_loss_leaves_no_partial_signin(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut world = World::of(store).await;
    let proxy = Proxy::start().await;
    world.database = proxy.address(&world);
    let group = everybodys_group(&world);
    let service = world.service_with(any_number).await;
    let mut known = Try::of_new_user(&world.simulator, &service.at("/"), group).await.browser;
    let storm = Storm::at(&world, &service, group);
    let mut chance = Chance::new();
    for turn in 1..=TIMES {
        storm.until_more_are_in(1).await;
        tokio::time::sleep(chance.time(Duration::from_millis(60))).await;
        proxy.cut();
        let answer = known.get(service.at("/auth/verify")).await;
        let status = answer.status.as_u16();
        assert!(
            status == 200 || status == 503 && answer.headers.contains_key("retry-after"),
            "round {turn}: {answer:#?}"
        );
    }
    storm.until_more_are_in(10).await;
    let mut tries = storm.end().await;
    let refused = tries.iter().filter(|one| one.came != Came::In).count();
    assert!(refused > 0, "no request failed in {TIMES} cuts (seed {})", chance.seed);
    all_refusals_are_for_want_of_the_database(&tries);
    nothing_is_half(&world, &tries, &format!("seed {}", chance.seed)).await;
    everybody_gets_in_now(&world, &service.at("/"), &mut tries).await;
    until("sessions are remembered", async || service.app.sessions().is_caching()).await;
    assert_eq!(known.get(service.at("/auth/verify")).await.status, 200);
}

/// A failover or a firewall that dropped its state: connections are gone, and new ones can be opened.
#[tokio::test]
async fn idle_connection_loss_does_not_fail_forward_auth() {
    let mut world = World::new().await;
    let proxy = Proxy::start().await;
    world.database = proxy.address(&world);
    let (alice, _) = world.alice();
    let service = world.service().await;
    let browser = world.sign_in(&service, alice).await;
    let ask = async || browser.clone().get(service.at("/auth/verify")).await.status.as_u16();
    for turn in 0..20 {
        // Concurrently, before any request has noticed the previous cut.
        assert_eq!(join_all((0..6).map(|_| ask())).await, [200; 6], "round {turn}, after the previous cut");
        proxy.cut();
    }
}

/// A host without power or a firewall that drops packets: nothing arrives, and connections do not end.
#[tokio::test]
async fn pool_recovers_when_network_stalls_under_load() {
    let mut world = World::new().await;
    let proxy = Proxy::start().await;
    world.database = proxy.address(&world);
    let (alice, _) = world.alice();
    let browser = world.sign_in(&world.service().await, alice).await;
    let service = world.service_with(|config| config.database.max_connections = 3).await;
    let ask = async || browser.clone().get(service.at("/auth/verify")).await.status.as_u16();
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table entraway.sessions in access exclusive mode").execute(&mut *lock).await.unwrap();
    let falls_silent = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.silence();
        lock.rollback().await.unwrap();
    };
    let (asked, ()) = tokio::join!(join_all((0..12).map(|_| ask())), falls_silent);
    assert_eq!(asked, [503; 12], "all connections were in use when the network fell silent");
    until("requests succeed again", async || ask().await == 200).await;
}

#[tokio::test]
async fn pool_recovers_when_network_stalls_after_a_reply() {
    let mut world = World::new().await;
    let proxy = Proxy::start().await;
    world.database = proxy.address(&world);
    let service = world.service_with(|config| config.database.max_connections = 1).await;
    // This token is unknown, so each request queries the database.
    let cookie = format!("entraway={}", "A".repeat(43));
    let ask = async || {
        let mut browser = Browser::new();
        let request = browser.request(Method::GET, service.at("/auth/verify")).header("cookie", &cookie);
        browser.send(request).await.status.as_u16()
    };
    for turn in 0..3 {
        assert_eq!(ask().await, 401, "round {turn}");
        // Usually before the connection is returned to the pool.
        proxy.silence();
        until("requests succeed again", async || ask().await == 401).await;
    }
}

/// The browser disconnects during BEGIN, so the service cannot know whether Postgres started the transaction.
#[rstest]
#[tokio::test]
async fn abandoned_transaction_does_not_leak_into_the_next(
    #[values(Native, LiteLlm)] store: StoreKind,
    #[values(true, false)] answered: bool,
) {
    let (world, proxy, service, group) = scene(store).await;
    let mut known = Try::of_new_user(&world.simulator, &service.at("/"), group).await;
    let base = service.at("/");
    let sessions = async || -> i64 {
        sqlx::query_scalar("select count(*) from entraway.sessions").fetch_one(&world.pool).await.unwrap()
    };
    assert_eq!(sessions().await, 2, "sessions of two users");
    let (begun, go_on) = proxy.hold_begin();
    tokio::select! {
        one = Try::of_new_user(&world.simulator, &base, group) => panic!("no BEGIN: {:?}", one.came),
        begun = begun => begun.unwrap(),
    }
    // Gives the service time to notice that the browser disconnected.
    tokio::time::sleep(Duration::from_secs(1)).await;
    if answered {
        go_on.send(()).unwrap();
    } else {
        drop(go_on);
    }
    // Without the reply, the service discards its only connection before it opens another one.
    let begin = Instant::now();
    while known.browser.post(service.at("/sso/logout")).await.status != 303 {
        assert!(begin.elapsed() < LONG, "sign-out still fails");
    }
    assert_eq!(sessions().await, 1, "one session was ended, and the abandoned sign-in created none");
}
