//! Cache invalidation of LiteLLM proxies through a real Redis: messages, deleted copies, and Redis failures.

mod auth;
mod outage;
mod sign_in;

use std::collections::BTreeSet;

use crate::support::redis::{Redis, RedisConnection};
use entraway::litellm_cache::{CacheError, LiteLlmCache, keys};

/// LiteLLM's channel name.
const CHANNEL: &str = "litellm_proxy.auth_cache_invalidation";

fn cache(url: &str, namespace: Option<&str>) -> LiteLlmCache {
    LiteLlmCache::new(&url.into(), namespace.map(str::to_owned)).expect("a valid Redis URL")
}

/// The cache keys of a sign-in with one user, one team and one organization.
fn some_keys() -> BTreeSet<String> {
    keys("u-1", [("t-1", Some("Ä \"team\"\n"))], ["o-1"])
}

/// The next `count` messages in order. Asserts that no more arrive.
async fn heard(listener: &mut RedisConnection, channel: &str, count: usize) -> Vec<serde_json::Value> {
    let mut heard = Vec::new();
    for _ in 0..count {
        let message = listener.answer().await;
        assert_eq!(message[..2], ["message", channel], "{message:?}");
        heard.push(serde_json::from_str(&message[2]).expect("a message is JSON"));
    }
    assert!(listener.is_silent().await, "more than {count} messages on {channel}");
    heard
}

#[tokio::test]
async fn each_worker_gets_each_key_once_in_litellm_format() {
    let server = Redis::start(&[]);
    for (namespace, channel) in [(None, CHANNEL.to_owned()), (Some("prod"), format!("prod:{CHANNEL}"))] {
        let cache = cache(&server.url(""), namespace);
        let mut workers = [server.connect().await, server.connect().await];
        for worker in &mut workers {
            assert_eq!(worker.ask(&format!("SUBSCRIBE {channel}")).await[0], "subscribe");
        }
        cache.evict(&some_keys()).await.expect("Redis is reachable");
        cache.evict(&BTreeSet::new()).await.expect("nothing to do");
        // Without the namespace, because workers add it themselves. No other field: a `new_value` would be stored.
        let expected: Vec<_> = some_keys().iter().map(|key| serde_json::json!({ "cache_key": key })).collect();
        for worker in &mut workers {
            assert_eq!(heard(worker, &channel, expected.len()).await, expected, "with namespace {namespace:?}");
        }
        assert_eq!(cache.ready().await, Ok(2), "number of listeners");
    }
}

#[tokio::test]
async fn ready_counts_no_listeners_in_another_namespace() {
    let server = Redis::start(&[]);
    let mut worker = server.connect().await;
    worker.ask(&format!("SUBSCRIBE {CHANNEL}")).await;
    assert_eq!(cache(&server.url(""), None).ready().await, Ok(1));
    assert_eq!(cache(&server.url(""), Some("prod")).ready().await, Ok(0));
}

#[tokio::test]
async fn redis_copies_are_deleted_before_workers_are_notified() {
    let server = Redis::start(&[]);
    for (namespace, prefix) in [(None, ""), (Some("prod"), "prod:")] {
        let mut redis = server.connect().await;
        redis.ask("FLUSHALL").await;
        let ours = ["u-1", "team_id:t-1", "t-1_u-1", "team_membership:u-1:t-1", "org_id:o-1", "org_id:o-1:with_budget"];
        let others = ["u-2", "team_id:t-2", "t-1_u-2", "spend:team_member:u-1:t-1", "other:u-1", "other:team_id:t-1"];
        for key in ours {
            redis.ask(&format!("SET {prefix}{key} x")).await;
        }
        for key in others {
            redis.ask(&format!("SET {key} x")).await;
        }
        let mut monitor = server.connect().await;
        assert_eq!(monitor.ask("MONITOR").await, ["+OK"]);
        cache(&server.url(""), namespace).evict(&some_keys()).await.expect("Redis is reachable");

        let mut left = redis.ask("KEYS *").await;
        left.sort();
        let mut expected = others.map(str::to_owned);
        expected.sort();
        assert_eq!(left, expected, "with namespace {namespace:?}");

        let mut commands = Vec::new();
        for _ in 0..2 * some_keys().len() {
            let line = monitor.answer().await.remove(0);
            commands.push(line.split('"').nth(1).unwrap_or_default().to_owned());
        }
        let expected = [vec!["DEL"; some_keys().len()], vec!["PUBLISH"; some_keys().len()]].concat();
        assert_eq!(commands, expected, "exactly these commands in this order");
    }
}

#[tokio::test]
async fn database_number_of_redis_url_is_used() {
    let server = Redis::start(&[]);
    let mut redis = server.connect().await;
    redis.ask("SET u-1 x").await;
    redis.ask("SELECT 3").await;
    redis.ask("SET u-1 x").await;
    cache(&format!("{}/3", server.url("")), None).evict(&some_keys()).await.expect("Redis is reachable");
    assert_eq!(redis.ask("EXISTS u-1").await, [":0"], "in database 3");
    redis.ask("SELECT 0").await;
    assert_eq!(redis.ask("EXISTS u-1").await, [":1"], "in database 0");
}

#[tokio::test]
async fn invalidation_of_5000_keys_leaves_no_connection() {
    let server = Redis::start(&[]);
    let cache = cache(&server.url(""), None);
    let keys: BTreeSet<String> = (0..5000).map(|number| format!("team_id:{number}")).collect();
    for _ in 0..3 {
        cache.evict(&keys).await.expect("Redis is reachable");
    }
    let mut redis = server.connect().await;
    for _ in 0..100 {
        if redis.ask("CLIENT LIST").await[0].lines().count() == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("connections left open: {:?}", redis.ask("CLIENT LIST").await);
}
