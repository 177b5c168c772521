//! Notifications, their JSON, and signatures.

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::situations::Situation;
use crate::config::{NotificationType, WebhookSecret};
use crate::util::random;

/// What operators must act on. Contains no e-mail address, no name of a user, and no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Notification {
    /// The circuit breaker holds changes. Sent once for each plan.
    RunHeld {
        run_id: Uuid,
        plan_hash: String,
        /// Number of held changes.
        changes: usize,
        /// Page with the plan.
        url: String,
    },
    /// A run failed. `message` names the problem and the fix, as the record of the run.
    RunFailed { run_id: Uuid, code: String, message: String },
    /// A Graph permission is missing, such as `GroupMember.Read.All`.
    PermissionMissing { permission: String },
    /// Accounts that a run found disabled or deleted in Entra for the first time.
    AccountsDisabled { count: usize },
    /// The app's certificate expires in at most `days` days: 30, 7 or 1.
    SecretExpiring { expires_at: DateTime<Utc>, days: u8 },
}

impl Notification {
    /// The type.
    #[must_use]
    pub fn kind(&self) -> NotificationType {
        match self {
            Self::RunHeld { .. } => NotificationType::RunHeld,
            Self::RunFailed { .. } => NotificationType::RunFailed,
            Self::PermissionMissing { .. } => NotificationType::PermissionMissing,
            Self::AccountsDisabled { .. } => NotificationType::AccountsDisabled,
            Self::SecretExpiring { .. } => NotificationType::SecretExpiring,
        }
    }

    /// The situation that the notification is about, if it can last.
    pub(super) fn situation(&self) -> Option<Situation> {
        match self {
            Self::RunFailed { .. } => Some(Situation::RunFailed),
            Self::PermissionMissing { permission } => Some(Situation::PermissionMissing(permission.clone())),
            Self::RunHeld { .. } | Self::AccountsDisabled { .. } | Self::SecretExpiring { .. } => None,
        }
    }

    /// The ID of the message. Receivers process each ID once, so replicas that find the same expiry send the same ID.
    fn id(&self) -> String {
        match self {
            Self::SecretExpiring { expires_at, days } => format!("msg_expiring_{}_{days}d", expires_at.timestamp()),
            _ => format!("msg_{}", random::uuid().simple()),
        }
    }
}

/// The JSON of a message.
#[derive(Serialize)]
struct Body {
    r#type: &'static str,
    /// When the event happened.
    timestamp: String,
    data: Notification,
}

/// A message to deliver.
pub(super) struct Message {
    pub(super) id: String,
    pub(super) kind: NotificationType,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn new(notification: Notification, now: DateTime<Utc>) -> Self {
        let (id, kind) = (notification.id(), notification.kind());
        let timestamp = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        let body = Body { r#type: kind.name(), timestamp, data: notification };
        // Cannot fail: no map with keys that are not texts.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        Self { id, kind, body }
    }
}

/// Signs messages with each of its keys.
pub struct Signer(Vec<Key>);

impl Signer {
    #[must_use]
    pub fn new(secrets: &[WebhookSecret]) -> Self {
        Self(secrets.iter().map(|secret| Key::new(HMAC_SHA256, secret.as_bytes())).collect())
    }

    /// The value of `webhook-signature`: for each key, `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64.
    /// `timestamp` is the time of the attempt in Unix seconds, because receivers reject old ones.
    #[must_use]
    pub fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let sign = |key: &Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{timestamp}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the reference implementations: <https://github.com/standard-webhooks/standard-webhooks>.
    #[test]
    fn signature_equals_reference_example() {
        let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let (id, time, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(Signer::new(std::slice::from_ref(&secret)).signature(id, time, body), expected);
        let other: WebhookSecret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        let both = Signer::new(&[other, secret]).signature(id, time, body);
        assert_eq!(both.split(' ').nth(1), Some(expected), "{both}");
    }
}
