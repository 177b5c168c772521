//! Notifications for operators: typed messages, signed by Standard Webhooks and delivered to a webhook in the background.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
//!
//! Messages are held in memory and end with the process: the pages and the metrics have the same facts.

mod delivery;
mod expiry;
mod message;
mod situations;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Webhook};
use crate::observability::metrics::{Metrics, NotificationResult};
use crate::util::clock::Clock;
use crate::util::http_client::{HttpClient, HttpError, check_public_host};

pub use expiry::ExpiryNotice;
pub use message::{Notification, Signer};
pub use situations::Situation;

use delivery::Delivery;
use message::Message;
use situations::Situations;

/// Delays before a message that was not accepted is sent again.
pub const RETRY_DELAYS: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(2), Duration::from_mins(10)];

/// Time limit of one delivery attempt, as Standard Webhooks recommends (15 to 30 s).
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for messages that were not sent yet when the service stops. Each gets one attempt.
pub const GRACE: Duration = Duration::from_secs(5);

/// Maximum number of messages that wait for the background task, and of those that wait for another attempt.
const QUEUE: usize = 64;

/// Sends notifications. Without a webhook it does nothing.
pub struct Notifier {
    webhook: Option<Box<Active>>,
}

/// The parts of a notifier with a webhook.
struct Active {
    webhook: Box<Webhook>,
    queue: Sender<Message>,
    /// Taken by the background task.
    delivery: Mutex<Option<(Receiver<Message>, Delivery)>>,
    situations: Mutex<Situations>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Notifier {
    /// Creates a notifier with [`RETRY_DELAYS`]. Nothing is sent before [`Self::deliver`] runs.
    ///
    /// # Errors
    /// If the HTTP client cannot be created, or the receiver's address is not public and private ones are not allowed.
    pub fn new(config: &config::Notifications, metrics: Arc<Metrics>, clock: Clock) -> Result<Self, HttpError> {
        Self::with_delays(config, metrics, clock, &RETRY_DELAYS)
    }

    /// The same with other delays between attempts. The number of attempts is one more.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_delays(
        config: &config::Notifications,
        metrics: Arc<Metrics>,
        clock: Clock,
        delays: &[Duration],
    ) -> Result<Self, HttpError> {
        let Some(webhook) = config.webhook.clone() else { return Ok(Self { webhook: None }) };
        let http = if webhook.allow_private_addresses {
            HttpClient::for_host(&webhook.url)?
        } else {
            HttpClient::for_public_host(&webhook.url)?
        };
        let (queue, receiver) = mpsc::channel(QUEUE);
        let delivery = Delivery {
            http,
            url: webhook.url.clone(),
            host: webhook.url.host_str().unwrap_or_default().to_owned(),
            signer: Signer::new(&webhook.secrets),
            delays: delays.into(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let delivery = Mutex::new(Some((receiver, delivery)));
        let situations = Mutex::default();
        Ok(Self { webhook: Some(Box::new(Active { webhook, queue, delivery, situations, metrics, clock })) })
    }

    /// Queues a notification and returns at once. Does nothing without a webhook, or if `notifications.events` does not list
    /// its type.
    ///
    /// A [`Situation`] that lasts is told when it begins and once a day. For the other types, the caller sends each event once.
    pub fn send(&self, notification: Notification) {
        let Some(active) = &self.webhook else { return };
        let kind = notification.kind();
        if !active.webhook.events.contains(&kind) {
            return;
        }
        if let Some(situation) = notification.situation()
            && !active.situations(|situations| situations.begin(situation, active.clock.moment()))
        {
            return;
        }
        active.queue(Message::new(notification, active.clock.now()));
    }

    /// A situation is over: the next notification about it is a new one.
    pub fn end(&self, situation: &Situation) {
        if let Some(active) = &self.webhook {
            active.situations(|situations| situations.end(situation));
        }
    }

    /// Delivers messages until `stop`, then those that are queued, within [`GRACE`]. Only the first call does anything.
    pub async fn deliver(&self, stop: CancellationToken) {
        let parts = self.webhook.as_deref().and_then(Active::take_delivery);
        if let Some((receiver, delivery)) = parts {
            delivery.run(receiver, stop).await;
        }
    }
}

impl Active {
    fn situations<T>(&self, use_them: impl FnOnce(&mut Situations) -> T) -> T {
        use_them(&mut self.situations.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn take_delivery(&self) -> Option<(Receiver<Message>, Delivery)> {
        self.delivery.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    fn queue(&self, message: Message) {
        let kind = message.kind;
        if self.queue.try_send(message).is_err() {
            self.metrics.notifications.add((kind, NotificationResult::Dropped));
            tracing::error!(r#type = kind.name(), "dropped a notification: the queue is full or the service stops");
        }
    }
}

/// Whether the webhook's host resolves to an address that messages can be sent to. Sends nothing.
///
/// # Errors
/// [`HttpError::Unresolved`] or [`HttpError::PrivateAddress`].
pub async fn check(webhook: &Webhook) -> Result<(), HttpError> {
    // Without the check of the address, a proxy may resolve the name.
    if webhook.allow_private_addresses { Ok(()) } else { check_public_host(&webhook.url).await }
}
