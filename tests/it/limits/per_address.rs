//! Requests per client address, and how that address is determined.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use entraway::config::Config;
use reqwest::Method;

use crate::errors::shown;
use crate::support::{Answer, Browser, Service, World};

fn three_a_minute(config: &mut Config) {
    config.limits.sign_ins_per_address = NonZeroU32::new(3);
}

fn behind_a_proxy(config: &mut Config) {
    three_a_minute(config);
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
}

/// A request with this `X-Forwarded-For`.
async fn named(service: &Service, path: &str, forwarded_for: &str) -> Answer {
    let mut browser = Browser::new();
    let request = browser.request(Method::GET, service.at(path)).header("X-Forwarded-For", forwarded_for);
    browser.send(request).await
}

/// Starts four sign-ins with these `X-Forwarded-For` values in turn; returns how many were accepted.
async fn begun(service: &Service, forwarded_for: [&str; 4]) -> usize {
    let mut begun = 0;
    for value in forwarded_for {
        begun += usize::from(named(service, "/sso/login", value).await.status == 303);
    }
    begun
}

#[tokio::test]
async fn signins_per_address_are_limited_with_retry_after() {
    let world = World::new().await;
    let service = world.service_with(three_a_minute).await;
    for _ in 0..3 {
        Browser::new().begin(&service).await;
    }
    let url = service.at("/sso/login");
    let page = shown(&world, (429, "too_many_requests"), async || (Browser::new(), url.clone())).await;
    let seconds: i64 = page.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&seconds), "at most 20 seconds, not {seconds} s");
    world.clock.advance(TimeDelta::seconds(seconds));
    Browser::new().begin(&service).await;
    assert_eq!(Browser::new().get(url).await.status, 429, "one more is allowed, not all");
    for path in ["/", "/api/me", "/healthz", "/readyz", "/assets/entraway.css", "/signed-out"] {
        assert_ne!(Browser::new().get(service.at(path)).await.status, 429, "{path} is not counted");
    }
}

#[tokio::test]
async fn rate_limit_covers_all_login_and_callback_routes() {
    let world = World::new().await;
    for path in ["/sso/login", "/sso/key/generate", "/sso/callback", "/sso/callback?state=x&code=y"] {
        let service = world.service_with(three_a_minute).await;
        for _ in 0..3 {
            assert_ne!(Browser::new().get(service.at(path)).await.status, 429, "{path}");
        }
        assert_eq!(Browser::new().get(service.at(path)).await.status, 429, "{path}");
    }
}

#[tokio::test]
async fn rate_limited_callback_succeeds_after_wait() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(three_a_minute).await;
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.simulator, &service, &entra, alice).await;
    for _ in 0..3 {
        Browser::new().get(service.at("/sso/callback")).await;
    }
    let before = world.traces().await;
    assert_eq!(browser.get(callback.clone()).await.status, 429);
    assert_eq!(world.traces().await, before, "nothing is written");
    world.clock.advance(TimeDelta::minutes(1));
    assert_eq!(browser.get(callback).await.status, 303, "the same address, a minute later");
    assert_eq!(browser.me(&service).await.status, 200);
}

#[tokio::test]
async fn forwarded_for_is_ignored_from_untrusted_peer() {
    let world = World::new().await;
    let service = world.service_with(three_a_minute).await;
    assert_eq!(begun(&service, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]).await, 3);
    let service = world
        .service_with(|config| {
            three_a_minute(config);
            config.server.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
        })
        .await;
    assert_eq!(begun(&service, ["198.51.100.1", "198.51.100.2", "", "192.0.2.1"]).await, 3);
}

#[tokio::test]
async fn forwarded_for_from_trusted_proxy_is_rate_limited() {
    let world = World::new().await;
    for (how, same) in [
        ("the same address", ["192.0.2.1"; 4]),
        ("what the client put before it", ["192.0.2.1", "9.9.9.9, 192.0.2.1", "rubbish,192.0.2.1", "::1, 192.0.2.1"]),
        ("a second proxy of ours behind it", ["192.0.2.1", "192.0.2.1, 10.0.0.1", "192.0.2.1,10.9.9.9", "192.0.2.1"]),
        ("with a port", ["192.0.2.1", "192.0.2.1:4711", "192.0.2.1:4712", "192.0.2.1"]),
        ("written as IPv6", ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "192.0.2.1, ::ffff:10.0.0.1"]),
        ("one network", ["2001:db8:1:2::1", "2001:db8:1:2::2", "[2001:db8:1:2:f::]:4711", "2001:db8:1:2:ffff::"]),
        ("no client address: the proxy's own", ["", "rubbish", "10.0.0.1", "rubbish, 10.0.0.1"]),
    ] {
        let service = world.service_with(behind_a_proxy).await;
        assert_eq!(begun(&service, same).await, 3, "{how}");
        // Other addresses have their own limit, except for hash collisions: one in 65,536.
        let others = ["198.51.100.1", "198.51.100.2", "2001:db8:1:3::1", "2001:db8:2:2::1"];
        assert!(begun(&service, others).await >= 3, "{how}: other addresses have their own limit");
    }
}

#[tokio::test]
async fn rate_limit_is_off_behind_unconfigured_proxy() {
    let world = World::new().await;
    let by_https = |config: &mut Config| {
        three_a_minute(config);
        config.server.public_url = "https://sso.example.com".parse().unwrap();
    };
    let service = world.service_with(by_https).await;
    assert_eq!(begun(&service, ["192.0.2.1"; 4]).await, 4);
    let named = |config: &mut Config| {
        by_https(config);
        behind_a_proxy(config);
    };
    let service = world.service_with(named).await;
    assert_eq!(begun(&service, ["192.0.2.1"; 4]).await, 3, "with the proxy named, they are");
}

/// Hundreds of sign-ins.
mod slow {
    use super::*;

    #[tokio::test]
    async fn default_rate_limit_allows_600_logins_from_one_address() {
        let world = World::new().await;
        let service = world.service().await;
        for minute in 0..2 {
            let more = if minute == 0 { 600 } else { 500 };
            for person in 0..more {
                let answer = named(&service, "/sso/login", "192.0.2.1").await;
                assert_eq!(answer.status, 303, "user {person} of minute {minute}: {answer:#?}");
            }
            world.clock.advance(TimeDelta::minutes(1));
        }
    }
}
