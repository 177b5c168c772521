//! The background task that delivers messages, with retries.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::message::{Message, Signer};
use super::{ATTEMPT_TIMEOUT, GRACE, QUEUE};
use crate::observability::metrics::{Metrics, NotificationResult};
use crate::util::clock::Clock;
use crate::util::http_client::{HttpClient, HttpError};

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the receiver answered with the redirect {0}, which is not followed")]
    Redirect(StatusCode),
    /// Standard Webhooks: the receiver wants no more messages.
    #[error("the receiver answered with 410: it wants no more messages")]
    Gone,
    #[error("the receiver answered with {0}")]
    Status(StatusCode),
}

/// A message and its next attempt.
struct Pending {
    message: Message,
    /// Attempts so far.
    attempts: usize,
    due: Instant,
}

/// Sends messages to the receiver.
pub(super) struct Delivery {
    pub(super) http: HttpClient,
    pub(super) url: Url,
    /// The receiver's host, for the log: the rest of the URL may hold a token.
    pub(super) host: String,
    pub(super) signer: Signer,
    pub(super) delays: Box<[Duration]>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

impl Delivery {
    /// Delivers messages until `stop`. A message that waits for another attempt does not delay the others.
    pub(super) async fn run(self, mut receiver: Receiver<Message>, stop: CancellationToken) {
        let mut pending: Vec<Pending> = Vec::new();
        loop {
            let next = pending.iter().enumerate().min_by_key(|(_, pending)| pending.due);
            let next = next.map(|(index, pending)| (index, pending.due));
            let work = async {
                tokio::select! {
                    Some(message) = receiver.recv(), if pending.len() < QUEUE => {
                        Pending { message, attempts: 0, due: Instant::now() }
                    }
                    index = due(next) => pending.swap_remove(index),
                }
            };
            let current = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                current = work => current,
            };
            // Not interrupted by `stop`: the receiver may have accepted the message already.
            match self.attempt(&current.message).await {
                Ok(()) => {}
                Err(AttemptError::Gone) => {
                    self.give_up(&current.message, &AttemptError::Gone);
                    return self.discard(pending, receiver, stop).await;
                }
                Err(error) => pending.extend(self.retry(current, &error)),
            }
        }
        receiver.close();
        let mut left: Vec<Message> = pending.into_iter().map(|pending| pending.message).collect();
        while let Ok(message) = receiver.try_recv() {
            left.push(message);
        }
        self.send_last(left).await;
    }

    /// Sends a message once.
    async fn attempt(&self, message: &Message) -> Result<(), AttemptError> {
        let timestamp = self.clock.now().timestamp();
        let request =
            self.http.post(self.url.clone()).timeout(ATTEMPT_TIMEOUT).header(CONTENT_TYPE, "application/json");
        let request = request.header("webhook-id", &message.id).header("webhook-timestamp", timestamp);
        let signature = self.signer.signature(&message.id, timestamp, &message.body);
        let request = request.header("webhook-signature", signature).body(message.body.clone());
        let status = self.http.status(request).await?;
        match status {
            _ if status.is_success() => {}
            StatusCode::GONE => return Err(AttemptError::Gone),
            _ if status.is_redirection() => return Err(AttemptError::Redirect(status)),
            _ => return Err(AttemptError::Status(status)),
        }
        self.metrics.notifications.add((message.kind, NotificationResult::Delivered));
        tracing::info!(r#type = message.kind.name(), id = message.id, "delivered a notification");
        Ok(())
    }

    /// Schedules another attempt, or gives up after the last one.
    fn retry(&self, pending: Pending, error: &AttemptError) -> Option<Pending> {
        let Pending { message, attempts, .. } = pending;
        let Some(delay) = self.delays.get(attempts) else {
            self.give_up(&message, error);
            return None;
        };
        self.metrics.notifications.add((message.kind, NotificationResult::Retried));
        let (kind, retry_seconds) = (message.kind.name(), delay.as_secs());
        let Self { host, .. } = self;
        tracing::warn!(r#type = kind, id = message.id, host, %error, retry_seconds, "failed to deliver a notification; retrying");
        Some(Pending { message, attempts: attempts + 1, due: Instant::now() + *delay })
    }

    fn give_up(&self, message: &Message, error: &AttemptError) {
        self.metrics.notifications.add((message.kind, NotificationResult::Failed));
        let help = match error {
            AttemptError::Gone => "If it should get them again, restart the service. Until then none is sent",
            _ => "Check notifications.webhook_url and the receiver",
        };
        let (kind, host) = (message.kind.name(), &self.host);
        tracing::error!(r#type = kind, id = message.id, host, %error, help, "failed to deliver a notification");
    }

    /// Discards all messages until `stop`, after the receiver wanted no more.
    async fn discard(&self, pending: Vec<Pending>, mut receiver: Receiver<Message>, stop: CancellationToken) {
        for pending in pending {
            self.metrics.notifications.add((pending.message.kind, NotificationResult::Dropped));
        }
        loop {
            tokio::select! {
                Some(message) = receiver.recv() => {
                    self.metrics.notifications.add((message.kind, NotificationResult::Dropped));
                }
                () = stop.cancelled() => return,
                else => return,
            }
        }
    }

    /// One attempt for each message, as far as time allows.
    async fn send_last(&self, messages: Vec<Message>) {
        let deadline = Instant::now() + GRACE;
        for message in messages {
            let remaining = deadline.saturating_duration_since(Instant::now());
            match timeout(remaining, self.attempt(&message)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.give_up(&message, &error),
                Err(_) => self.give_up(&message, &HttpError::Timeout.into()),
            }
        }
    }
}

/// Waits until the attempt is due. Without one, waits forever.
async fn due(next: Option<(usize, Instant)>) -> usize {
    match next {
        Some((index, due)) => {
            sleep_until(due).await;
            index
        }
        None => std::future::pending().await,
    }
}
