//! Redis that is down, restarts, hangs, or is a different server.

use std::time::{Duration, Instant};

use entraway::litellm_cache::TIMEOUT;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;

/// Tolerance for timeouts on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn invalidation_recovers_after_redis_restart() {
    let server = Redis::start(&[]);
    let port = server.port;
    let cache = cache(&server.url(""), None);
    cache.evict(&some_keys()).await.expect("Redis is reachable");
    drop(server);
    let began = Instant::now();
    let error = cache.evict(&some_keys()).await.expect_err("Redis is down");
    assert!(matches!(&error, CacheError::Unreachable(why) if why.contains("refused")), "{error:?}");
    assert!(began.elapsed() < TIMEOUT + SLACK, "took {:?}", began.elapsed());

    let server = Redis::on(port, &[]).expect("the port is still free");
    let mut worker = server.connect().await;
    worker.ask(&format!("SUBSCRIBE {CHANNEL}")).await;
    cache.evict(&some_keys()).await.expect("the next call reconnects");
    heard(&mut worker, CHANNEL, some_keys().len()).await;
}

#[tokio::test]
async fn silent_redis_delays_concurrent_signins_by_one_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let listening = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok(connection) = silent.accept().await {
            open.push(connection);
        }
    });
    for user in ["", ":S3cret@"] {
        let cache = cache(&format!("redis://{user}{address}"), None);
        let began = Instant::now();
        let sign_ins: Vec<_> = (0..20)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.evict(&some_keys()).await })
            })
            .collect();
        for sign_in in sign_ins {
            assert_eq!(sign_in.await.unwrap(), Err(CacheError::Timeout));
        }
        let took = began.elapsed();
        assert!(took >= TIMEOUT && took < TIMEOUT + SLACK, "twenty concurrent calls took {took:?}");
    }
    listening.abort();
}

#[tokio::test]
async fn unresolvable_redis_host_is_reported_unreachable() {
    let error = cache("redis://nowhere.invalid", None).ready().await.expect_err("the host does not exist");
    assert!(matches!(error, CacheError::Unreachable(_) | CacheError::Timeout), "{error:?}");
}

/// A server that replies with `answer` to any two commands. Simulates replies of a cluster, which would need three
/// servers.
async fn saying(answer: &'static str) -> LiteLlmCache {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            connection.readable().await.unwrap();
            connection.write_all(answer.as_bytes()).await.unwrap();
            // Keep the connection open until the client is done.
            tokio::time::sleep(TIMEOUT).await;
        }
    });
    cache(&format!("redis://{address}"), None)
}

#[tokio::test]
async fn redis_error_reply_is_named_without_its_text() {
    for (answer, expected) in [
        (":0\r\n:7\r\n", Ok(7)),
        ("-MOVED 3999 127.0.0.1:6381\r\n:0\r\n", Err(CacheError::Cluster)),
        ("-LOADING Redis is loading u-1\r\n:0\r\n", Err(CacheError::Refused("LOADING".to_owned()))),
        ("-u-1 S3cret\r\n:0\r\n", Err(CacheError::Refused(String::new()))),
    ] {
        assert_eq!(saying(answer).await.ready().await, expected, "{answer:?}");
    }
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", "\u{15}\u{3}\u{3}"] {
        let error = saying(answer).await.ready().await.expect_err(answer);
        assert!(matches!(error, CacheError::Unreachable(_) | CacheError::Timeout), "{answer:?} gave {error:?}");
        assert!(!error.to_string().contains("HTTP"), "{error}");
    }
}
