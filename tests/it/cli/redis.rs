//! A Redis with a password, like that of a LiteLLM proxy.

use crate::support::redis::{Redis, RedisConnection};

/// Password in the Redis URL.
pub(super) const REDIS_PASSWORD: &str = "redis-Passw0rd-S3cret";

pub(super) fn start() -> Redis {
    Redis::start(&["--requirepass", REDIS_PASSWORD])
}

/// The URL of a Redis on this machine, with the password.
pub(super) fn address(port: u16) -> String {
    format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{port}")
}

/// A subscribed proxy worker, until it is dropped.
pub(super) async fn listener(redis: &Redis, channel: &str) -> RedisConnection {
    let mut connection = redis.connect().await;
    connection.ask(&format!("AUTH {REDIS_PASSWORD}")).await;
    connection.ask(&format!("SUBSCRIBE {channel}")).await;
    connection
}
