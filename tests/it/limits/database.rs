//! The maximum number of requests that wait for the database.

use std::time::Duration;

use crate::support::{World, join_all};

#[tokio::test]
async fn requests_are_rejected_when_database_queue_is_full() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.database.max_connections = 1).await;
    let browser = world.sign_in(&service, alice).await;
    // One request holds the connection and waits for this lock; the others wait for the connection.
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table entraway.sessions in access exclusive mode").execute(&mut *lock).await.unwrap();
    let free = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        lock.rollback().await.unwrap();
    };
    let asks = (0..40).map(|_| async {
        let mut browser = browser.clone();
        let answer = browser.me(&service).await;
        (answer.status.as_u16(), answer.headers.contains_key("retry-after"), answer.code_or_nothing())
    });
    let (answers, ()) = tokio::join!(join_all(asks), free);
    let good = answers.iter().filter(|(status, ..)| *status == 200).count();
    let busy = answers.iter().filter(|answer| **answer == (503, true, "busy".to_owned())).count();
    assert_eq!((good, busy), (21, 19), "one has the connection, twenty wait, the others are rejected: {answers:?}");
    assert_eq!(browser.clone().me(&service).await.status, 200, "requests are accepted again");
}
