//! Notifications: a real receiver over HTTP, whose signatures are verified independently.

mod addresses;
mod delivery;
mod receiver;
mod service;

use std::sync::Arc;
use std::time::Duration;

use entraway::config::{NotificationType, Notifications, Webhook, WebhookSecret};
use entraway::notifications::{Notification, Notifier};
use entraway::observability::metrics::Metrics;
use entraway::util::clock::Clock;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use uuid::Uuid;

use receiver::Receiver;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_b2xkLXNlY3JldC1vZi10aGUtdGVzdHMtMDAx";

const DELAY: Duration = Duration::from_millis(30);

fn secret(text: &str) -> WebhookSecret {
    text.parse().unwrap()
}

/// Settings for a receiver with any address.
fn settings(url: &Url) -> Notifications {
    let events = NotificationType::ALL.into();
    let webhook = Webhook { url: url.clone(), secrets: vec![secret(SECRET)], allow_private_addresses: true, events };
    Notifications { webhook: Some(Box::new(webhook)) }
}

/// A notifier with short delays, and its metrics.
struct Sender {
    notifier: Arc<Notifier>,
    metrics: Arc<Metrics>,
    clock: Clock,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Sender {
    /// Starts delivery, with two attempts after the first.
    fn start(settings: &Notifications) -> Self {
        let sender = Self::new(settings);
        let (notifier, stop) = (sender.notifier.clone(), sender.stop.clone());
        tokio::spawn(async move { notifier.deliver(stop).await });
        sender
    }

    fn new(settings: &Notifications) -> Self {
        // Required before an HTTP client is built.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (metrics, clock, stop) = (Arc::new(Metrics::new()), Clock::system(), CancellationToken::new());
        let notifier = Notifier::with_delays(settings, metrics.clone(), clock.clone(), &[DELAY, DELAY * 2]).unwrap();
        Self { notifier: Arc::new(notifier), metrics, clock, stop: stop.clone(), _stop: stop.drop_guard() }
    }

    /// The value of `entraway_notifications_total`.
    fn count(&self, kind: NotificationType, result: &str) -> u64 {
        let text = self.metrics.text().unwrap();
        let series = format!("entraway_notifications_total{{type=\"{kind}\",result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    }

    /// Waits until the counter has this value.
    async fn until_count(&self, kind: NotificationType, result: &str, count: u64) {
        let seen = async {
            while self.count(kind, result) != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), seen).await;
        assert!(waited.is_ok(), "{kind}, {result}: {} instead of {count}", self.count(kind, result));
    }
}

fn held(changes: usize) -> Notification {
    Notification::RunHeld {
        run_id: Uuid::from_u128(7),
        plan_hash: "0f1e2d3c".to_owned(),
        changes,
        url: "https://sso.example.com/changes".to_owned(),
    }
}

fn failed() -> Notification {
    Notification::RunFailed {
        run_id: Uuid::from_u128(8),
        code: "graph_forbidden".to_owned(),
        message: "Graph refuses to list the members. Grant GroupMember.Read.All".to_owned(),
    }
}
