//! Which addresses a receiver can have, and redirects.

use std::time::Duration;

use entraway::config::NotificationType;
use entraway::notifications;
use entraway::util::http_client::HttpError;
use tokio::net::TcpListener;

use super::*;
use crate::support::Log;

/// Settings for a receiver with a public address.
fn public(url: &str) -> Notifications {
    let mut settings = settings(&url.parse().unwrap());
    settings.webhook.as_mut().unwrap().allow_private_addresses = false;
    settings
}

#[tokio::test]
async fn private_address_is_refused() {
    for url in
        ["https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/", "https://2130706433/"]
    {
        let settings = public(url);
        let notifier = Notifier::new(&settings, Arc::new(Metrics::new()), Clock::system());
        assert!(matches!(notifier, Err(HttpError::PrivateAddress)), "{url}");
        let checked = notifications::check(settings.webhook.as_ref().unwrap()).await;
        assert!(matches!(checked, Err(HttpError::PrivateAddress)), "{url}: {checked:?}");
    }
}

#[tokio::test]
async fn name_with_private_address_is_refused_before_connecting() {
    let log = Log::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = public(&format!("https://localhost:{}/", listener.local_addr().unwrap().port()));
    let sender = Sender::start(&settings);
    sender.notifier.send(held(1));
    sender.until_count(NotificationType::RunHeld, "failed", 1).await;
    let connection = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(connection.is_err(), "a connection was opened");
    assert!(log.text().contains("the host has no public address"), "{}", log.text());
    let checked = notifications::check(settings.webhook.as_ref().unwrap()).await;
    assert!(matches!(checked, Err(HttpError::PrivateAddress)), "{checked:?}");
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let log = Log::new();
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    receiver.redirect_to(&other.url);
    receiver.answer([307, 302, 308]);
    let sender = Sender::start(&settings(&receiver.url));
    sender.notifier.send(held(1));
    sender.until_count(NotificationType::RunHeld, "failed", 1).await;
    assert_eq!((receiver.received().len(), other.received().len()), (3, 0));
    assert!(log.text().contains("a redirect") || log.text().contains("the redirect"), "{}", log.text());
}
