//! A database that never responds. (Entra and Graph: `graph_faults`; Redis: `litellm_cache`.)

use std::time::{Duration, Instant};

use entraway::db::{ConnectError, Db, DbError};
use tokio::net::TcpListener;

use crate::support::{LiteLlm, Native, join_all};

#[tokio::test]
async fn unresponsive_database_fails_with_connect_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://app@127.0.0.1:{}/app", silent.local_addr().unwrap().port());
    let begin = Instant::now();
    join_all([Native, LiteLlm].map(async |kind| {
        let store = Db::new(kind, &url.as_str().into(), 1).unwrap();
        let asked = tokio::time::timeout(Duration::from_secs(30), store.ready()).await;
        let outcome = asked.expect("the connection never times out");
        let silent = matches!(outcome, Err(DbError::Connect(ConnectError::Timeout { .. })));
        assert!(silent, "{outcome:?}");
    }))
    .await;
    assert!(begin.elapsed() < Duration::from_secs(15), "connecting took {:?}", begin.elapsed());
}
