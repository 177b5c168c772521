//! Messages, signatures, retries and limits.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use entraway::config::{NotificationType, Notifications};
use entraway::notifications::{Notification, Situation};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::support::Log;

#[tokio::test]
async fn message_is_signed_and_has_type_time_and_data() {
    let receiver = Receiver::start().await;
    let sender = Sender::start(&settings(&receiver.url));
    sender.notifier.send(held(12));
    let message = receiver.until(1).await.remove(0);
    assert_eq!((message.path.as_str(), message.content_type.as_str()), ("/hook/T0KEN", "application/json"));
    assert!(message.is_signed_with(SECRET), "{message:?}");
    assert!((message.timestamp - sender.clock.now().timestamp()).abs() <= 10, "{message:?}");
    assert!(message.id.starts_with("msg_") && !message.id.contains('.'), "{}", message.id);
    let body = message.json();
    let timestamp = DateTime::parse_from_rfc3339(body["timestamp"].as_str().unwrap()).unwrap();
    assert!((timestamp.to_utc() - sender.clock.now()).abs() < TimeDelta::seconds(10), "{body}");
    let data = json!({
        "run_id": "00000000-0000-0000-0000-000000000007",
        "plan_hash": "0f1e2d3c",
        "changes": 12,
        "url": "https://sso.example.com/changes",
    });
    assert_eq!(body, json!({ "type": "run.held", "timestamp": body["timestamp"], "data": data }));
    sender.until_count(NotificationType::RunHeld, "delivered", 1).await;
}

#[tokio::test]
async fn each_type_has_its_data() {
    let receiver = Receiver::start().await;
    let sender = Sender::start(&settings(&receiver.url));
    let expires_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    for notification in [
        failed(),
        Notification::PermissionMissing { permission: "User.Read.All".to_owned() },
        Notification::AccountsDisabled { count: 3 },
        Notification::SecretExpiring { expires_at, days: 7 },
    ] {
        sender.notifier.send(notification);
    }
    let messages = receiver.until(4).await;
    let bodies: Vec<_> = messages.iter().map(|message| (message.json()["type"].clone(), message.json())).collect();
    let data = |kind: &str| bodies.iter().find(|(found, _)| *found == kind).unwrap().1["data"].clone();
    let failed = data("run.failed");
    assert_eq!((&failed["code"], failed.as_object().unwrap().len()), (&json!("graph_forbidden"), 3), "{failed}");
    assert_eq!(data("permission.missing"), json!({ "permission": "User.Read.All" }));
    assert_eq!(data("accounts.disabled"), json!({ "count": 3 }));
    assert_eq!(data("secret.expiring"), json!({ "expires_at": "2027-01-15T08:00:00Z", "days": 7 }));
}

#[tokio::test]
async fn both_secrets_sign_during_rotation() {
    let receiver = Receiver::start().await;
    let mut settings = settings(&receiver.url);
    settings.webhook.as_mut().unwrap().secrets = vec![secret(OLD_SECRET), secret(SECRET)];
    let sender = Sender::start(&settings);
    sender.notifier.send(held(1));
    let message = receiver.until(1).await.remove(0);
    assert_eq!(message.signatures.len(), 2, "{message:?}");
    assert!(message.is_signed_with(SECRET) && message.is_signed_with(OLD_SECRET), "{message:?}");
}

#[tokio::test]
async fn rejected_message_is_sent_again_with_its_id() {
    let receiver = Receiver::start().await;
    receiver.answer([503, 404]);
    let sender = Sender::start(&settings(&receiver.url));
    let begin = Instant::now();
    sender.notifier.send(held(1));
    let messages = receiver.until(3).await;
    assert!(begin.elapsed() >= DELAY * 3, "after both delays");
    for message in &messages {
        assert_eq!((&message.id, &message.body), (&messages[0].id, &messages[0].body));
        assert!(message.is_signed_with(SECRET), "{message:?}");
    }
    sender.until_count(NotificationType::RunHeld, "delivered", 1).await;
    assert_eq!(sender.count(NotificationType::RunHeld, "retried"), 2);
}

#[tokio::test]
async fn delivery_gives_up_after_the_last_attempt() {
    let receiver = Receiver::start().await;
    receiver.answer([500; 3]);
    let sender = Sender::start(&settings(&receiver.url));
    sender.notifier.send(held(1));
    sender.until_count(NotificationType::RunHeld, "failed", 1).await;
    assert_eq!(receiver.received().len(), 3);
    sender.notifier.send(held(2));
    sender.until_count(NotificationType::RunHeld, "delivered", 1).await;
    assert_eq!(receiver.received().len(), 4, "the next message is delivered");
}

/// The first message waits for its next attempt.
#[tokio::test]
async fn failing_message_does_not_delay_others() {
    let receiver = Receiver::start().await;
    receiver.answer([500]);
    let sender = Sender::start(&settings(&receiver.url));
    sender.notifier.send(held(1));
    receiver.until(1).await;
    sender.notifier.send(held(2));
    let messages = receiver.until(3).await;
    let changes: Vec<_> = messages.iter().map(|message| message.json()["data"]["changes"].clone()).collect();
    assert_eq!(changes, [1, 2, 1]);
}

#[tokio::test]
async fn answer_410_ends_delivery() {
    let receiver = Receiver::start().await;
    receiver.answer([410]);
    let sender = Sender::start(&settings(&receiver.url));
    sender.notifier.send(held(1));
    sender.until_count(NotificationType::RunHeld, "failed", 1).await;
    sender.notifier.send(held(2));
    sender.until_count(NotificationType::RunHeld, "dropped", 1).await;
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(sender.count(NotificationType::RunHeld, "retried"), 0);
}

/// The receiver accepts the connection and never answers.
#[tokio::test]
async fn hanging_receiver_does_not_block_the_caller() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let sender = Sender::start(&settings(&url));
    sender.notifier.send(held(0));
    let connection = listener.accept().await.unwrap();
    let begin = Instant::now();
    for changes in 1..=1000 {
        sender.notifier.send(held(changes));
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(sender.count(NotificationType::RunHeld, "dropped"), 1000 - 64, "the queue has 64 places");
    drop(connection);
}

#[tokio::test]
async fn queued_messages_are_sent_once_at_shutdown() {
    let receiver = Receiver::start().await;
    receiver.answer([204, 503]);
    let sender = Sender::new(&settings(&receiver.url));
    sender.notifier.send(held(1));
    sender.notifier.send(held(2));
    sender.stop.cancel();
    sender.notifier.deliver(sender.stop.clone()).await;
    assert_eq!(receiver.received().len(), 2);
    let counts = ["delivered", "failed", "retried"].map(|result| sender.count(NotificationType::RunHeld, result));
    assert_eq!(counts, [1, 1, 0]);
}

#[tokio::test]
async fn unlisted_events_are_not_sent() {
    let receiver = Receiver::start().await;
    let mut settings = settings(&receiver.url);
    settings.webhook.as_mut().unwrap().events = [NotificationType::RunFailed].into();
    let sender = Sender::start(&settings);
    sender.notifier.send(held(1));
    sender.notifier.send(failed());
    let messages = receiver.until(1).await;
    assert_eq!(messages[0].json()["type"], "run.failed");
    sender.until_count(NotificationType::RunFailed, "delivered", 1).await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn lasting_failure_is_sent_once_a_day() {
    let receiver = Receiver::start().await;
    let sender = Sender::start(&settings(&receiver.url));
    let ten_minutes = TimeDelta::minutes(10);
    for _ in 0..=150 {
        sender.notifier.send(failed());
        sender.clock.advance(ten_minutes);
    }
    // It began 25 hours ago: the begin and the day after.
    receiver.until(2).await;
    sender.notifier.end(&Situation::RunFailed);
    sender.clock.advance(TimeDelta::hours(1));
    sender.notifier.send(failed());
    receiver.until(3).await;
    sender.until_count(NotificationType::RunFailed, "delivered", 3).await;
    assert_eq!(receiver.received().len(), 3);
}

#[tokio::test]
async fn without_webhook_nothing_is_sent() {
    let sender = Sender::start(&Notifications::default());
    sender.notifier.send(held(1));
    sender.notifier.end(&Situation::RunFailed);
    sender.notifier.deliver(sender.stop.clone()).await;
    assert!(
        sender
            .metrics
            .text()
            .unwrap()
            .lines()
            .all(|line| { !line.starts_with("entraway_notifications_total") || line.ends_with(" 0") })
    );
}

#[tokio::test]
async fn log_has_no_secret_url_path_or_body() {
    let log = Log::new();
    let receiver = Receiver::start().await;
    receiver.answer([500, 500, 500, 204, 410]);
    let mut settings = settings(&receiver.url);
    settings.webhook.as_mut().unwrap().url.set_query(Some("token=T0KEN"));
    let sender = Sender::start(&settings);
    sender.notifier.send(failed());
    sender.until_count(NotificationType::RunFailed, "failed", 1).await;
    sender.notifier.send(held(1));
    sender.until_count(NotificationType::RunHeld, "delivered", 1).await;
    sender.notifier.send(held(2));
    sender.until_count(NotificationType::RunHeld, "failed", 1).await;
    let log = log.text();
    assert!(log.contains("failed to deliver a notification") && log.contains("127.0.0.1"), "{log}");
    let signature = &receiver.received()[0].signatures[0][3..];
    for hidden in ["T0KEN", "/hook", &SECRET[6..], signature, "Graph refuses", "0f1e2d3c"] {
        assert!(!log.contains(hidden), "{hidden} in the log:\n{log}");
    }
    assert!(!format!("{settings:?}").contains("T0KEN"), "{settings:?}");
}
