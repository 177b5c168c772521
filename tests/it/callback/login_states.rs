//! Sign-ins in several tabs and on several replicas, and the cookie keys that replicas share.

use chrono::TimeDelta;
use entraway::config::CookieKey;

use super::parameter;
use crate::support::{Browser, Service, World, join_all};

async fn with_keys(world: &World, keys: &[u8]) -> Service {
    let keys: Vec<CookieKey> = keys.iter().map(|byte| CookieKey::from([*byte; 64])).collect();
    world.service_with(|config| config.session.cookie_keys = keys).await
}

#[tokio::test]
async fn signins_in_several_tabs_finish_in_any_order() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = Browser::new();
    let mut tabs = Vec::new();
    for _ in 0..5 {
        let entra = browser.begin(&service).await;
        tabs.push(browser.pick(&world.simulator, &service, &entra, alice).await);
    }
    for tab in [3, 0, 4, 2, 1] {
        let answer = browser.get(tabs[tab].clone()).await;
        assert_eq!(answer.status, 303, "tab {tab}: {answer:#?}");
        assert_eq!(browser.me(&service).await.status, 200, "after tab {tab}");
    }
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["entraway"], "all login states are deleted");
    assert_eq!(world.traces().await.sessions, 1, "each sign-in of a browser ends the session it had before");
}

#[tokio::test]
async fn signins_in_several_tabs_finish_concurrently() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = Browser::new();
    let mut tabs = Vec::new();
    for _ in 0..6 {
        let entra = browser.begin(&service).await;
        tabs.push(browser.pick(&world.simulator, &service, &entra, alice).await);
    }
    let answers = join_all(tabs.into_iter().map(|tab| {
        let mut browser = browser.clone();
        async move { browser.get(tab).await.status.as_u16() }
    }))
    .await;
    assert_eq!(answers, [303; 6]);
    assert_eq!(world.rows().await.users.len(), 1);
}

#[tokio::test]
async fn concurrent_duplicate_callbacks_sign_in_once() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let (service, replica) = (world.service().await, world.service().await);
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
    let mut answers = join_all((0..6).map(|turn| {
        let mut browser = browser.clone();
        let mut url = callback.clone();
        if turn % 2 == 1 {
            url.set_port(replica.at("/").port()).unwrap();
        }
        async move { browser.get(url).await.status.as_u16() }
    }))
    .await;
    answers.sort_unstable();
    assert_eq!(answers, [303, 400, 400, 400, 400, 400]);
    let traces = world.traces().await;
    assert_eq!((traces.sessions, traces.runs), (1, 1));
}

#[tokio::test]
async fn signin_started_on_one_replica_finishes_on_another() {
    for keys in [&[][..], &[7]] {
        let world = World::new().await;
        let (alice, _) = world.alice();
        let (one, other) = (with_keys(&world, keys).await, with_keys(&world, keys).await);
        let mut browser = Browser::new();
        let entra = browser.begin(&one).await;
        let callback = browser.pick(&world.simulator, &other, &entra, alice).await;
        let answer = browser.get(callback).await;
        assert_eq!(answer.status, 303, "with the keys {keys:?}: {answer:#?}");
        assert_eq!(browser.me(&one).await.status, 200, "the session is valid on both");
        assert_eq!(browser.me(&other).await.status, 200, "the session is valid on both");
    }
}

#[tokio::test]
async fn login_state_opens_only_with_the_key_that_sealed_it() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let (old, both, new) =
        (with_keys(&world, &[1]).await, with_keys(&world, &[2, 1]).await, with_keys(&world, &[2]).await);
    for (from, to, works) in [(&old, &new, false), (&both, &old, false), (&old, &both, true), (&both, &new, true)] {
        let mut browser = Browser::new();
        let entra = browser.begin(from).await;
        let callback = browser.pick(&world.simulator, to, &entra, alice).await;
        if works {
            assert_eq!(browser.get(callback).await.status, 303, "a key in both lists opens the cookie");
            assert_eq!(browser.me(&old).await.status, 200, "a session needs no key");
        } else {
            let answer = browser.get(callback).await;
            assert_eq!(answer.code(), "attempt_unknown", "sealed with a key that this replica does not have");
        }
    }
}

#[tokio::test]
async fn ninth_login_state_evicts_the_oldest() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = Browser::new();
    let mut attempts = Vec::new();
    for count in 1..=12 {
        attempts.push(browser.begin(&service).await);
        assert_eq!(browser.cookies.len(), count.min(8), "login states after {count} sign-in starts");
        world.clock.advance(TimeDelta::seconds(1));
    }
    let id = |entra| parameter(entra, "state")[..12].to_owned();
    let mut newest: Vec<String> = attempts[4..].iter().map(|entra| format!("entraway-attempt-{}", id(entra))).collect();
    newest.sort();
    assert_eq!(browser.cookies.keys().cloned().collect::<Vec<_>>(), newest);

    let callback = browser.pick(&world.simulator, &service, &attempts[3], alice).await;
    assert_eq!(browser.get(callback).await.code(), "attempt_unknown", "the fourth of twelve");
    for entra in &attempts[4..] {
        let callback = browser.pick(&world.simulator, &service, entra, alice).await;
        assert_eq!(browser.get(callback).await.status, 303, "each of the last eight");
    }
}

#[tokio::test]
async fn login_removes_unreadable_login_state_cookies() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = Browser::new();
    browser.cookies.insert("entraway-attempt-000000000000".into(), "rubbish".into());
    browser.cookies.insert("entraway-attempt-".into(), "x".into());
    browser.cookies.insert("somebody-elses".into(), "kept".into());
    let entra = browser.begin(&service).await;
    let ours = format!("entraway-attempt-{}", &parameter(&entra, "state")[..12]);
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), [&ours, "somebody-elses"]);
}

#[tokio::test]
async fn login_state_cookies_stay_below_8_kib_in_total() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = Browser::new();
    for count in 0..8 {
        let address = format!("/sso/login?return_to=/{count}{}", "x".repeat(1_900));
        assert_eq!(browser.get(service.at(&address)).await.status, 303);
        world.clock.advance(TimeDelta::seconds(1));
    }
    let bytes: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes < 8_192, "{} cookies take {bytes} bytes, more than a proxy allows", browser.cookies.len());
    assert!(browser.cookies.len() >= 2, "the newest login states are kept");
}
