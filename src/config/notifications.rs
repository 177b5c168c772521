//! The section `notifications`: the webhook that is told about what operators must act on.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use url::Url;

use super::reader::{Item, Source};
use super::secret::{self, BASE64};
use super::section::{Section, joined};
use super::tree::Value;
use crate::util::http_client::{is_loopback, literal_address};
use crate::util::public_address::is_public;

/// `notifications`: where messages for operators are sent.
#[derive(Debug, Clone, Default)]
pub struct Notifications {
    /// `None` sends nothing.
    pub webhook: Option<Box<Webhook>>,
}

/// A receiver of messages. `Debug` redacts the path and the query of the URL, in which some receivers expect a token.
#[derive(Clone)]
pub struct Webhook {
    /// Its scheme is https, or http for a loopback host with `allow_private_addresses`.
    pub url: Url,
    /// Keys of the signatures: one, or two during a rotation.
    pub secrets: Vec<WebhookSecret>,
    /// Whether the receiver can have a loopback, private or reserved address.
    pub allow_private_addresses: bool,
    /// The messages to send.
    pub events: BTreeSet<NotificationType>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.origin())
            .field("secrets", &self.secrets)
            .field("allow_private_addresses", &self.allow_private_addresses)
            .field("events", &self.events)
            .finish()
    }
}

impl Webhook {
    /// Scheme, host and port: the part of the URL that may be shown.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// Type of a notification, as receivers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotificationType {
    /// The circuit breaker holds the changes of a reconciliation run.
    RunHeld,
    /// A reconciliation run failed.
    RunFailed,
    /// A Graph permission was withdrawn or never granted.
    PermissionMissing,
    /// Accounts were disabled or deleted in Entra.
    AccountsDisabled,
    /// The app's certificate expires soon.
    SecretExpiring,
}

impl NotificationType {
    /// All types.
    pub const ALL: [Self; 5] =
        [Self::RunHeld, Self::RunFailed, Self::PermissionMissing, Self::AccountsDisabled, Self::SecretExpiring];

    /// The name in messages and settings, such as `run.held`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunHeld => "run.held",
            Self::RunFailed => "run.failed",
            Self::PermissionMissing => "permission.missing",
            Self::AccountsDisabled => "accounts.disabled",
            Self::SecretExpiring => "secret.expiring",
        }
    }
}

impl fmt::Display for NotificationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key that signs messages: `whsec_` and 24 to 64 bytes in base64 (Standard Webhooks 1.0.0). `Debug` redacts it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// Why a text is not a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookSecretError {
    #[error("must begin with whsec_")]
    Prefix,
    #[error("is not base64 after whsec_")]
    NotBase64,
    #[error("must be 24 to 64 bytes in base64, not {0}")]
    Length(usize),
}

const SECRET_HELP: &str = "Create one with: echo \"whsec_$(openssl rand -base64 32)\"";

impl WebhookSecret {
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for WebhookSecret {
    type Err = WebhookSecretError;

    fn from_str(text: &str) -> Result<Self, WebhookSecretError> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or(WebhookSecretError::Prefix)?;
        let bytes = BASE64.decode(encoded).map_err(|_| WebhookSecretError::NotBase64)?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(WebhookSecretError::Length(bytes.len())) }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret([REDACTED])")
    }
}

pub(super) fn notifications(root: &mut Section) -> Notifications {
    let mut section = root.section("notifications");
    let url_item = section.take("webhook_url");
    let secret_item = secret::take(&mut section, "webhook_secret", "webhook_secret_file");
    let private_item = section.take("allow_private_addresses");
    let allow_private_addresses = private_item.as_ref().and_then(Item::boolean).unwrap_or(false);
    let events_item = section.take("events");

    let url = url_item.as_ref().and_then(|item| webhook_url(item, allow_private_addresses));
    let secrets = secret_item.as_ref().and_then(secrets);
    let events = events_item.as_ref().map_or_else(all_events, events);
    match (&url_item, &secret_item) {
        (Some(_), None) => section.report_missing("webhook_secret", SECRET_HELP),
        (None, Some(secret)) => secret.warn("has no effect without notifications.webhook_url"),
        _ => {}
    }

    let shown = url.as_ref().map(|url: &Url| format!("{}/…", url.origin().ascii_serialization()));
    section.show("webhook_url", url_item.as_ref(), shown.unwrap_or_default());
    secret::show(&section, "webhook_secret", secret_item.as_ref(), secrets.is_some());
    section.show("allow_private_addresses", private_item.as_ref(), allow_private_addresses);
    section.show("events", events_item.as_ref(), joined(&events));
    section.finish();
    let webhook = || Some(Box::new(Webhook { url: url?, secrets: secrets?, allow_private_addresses, events }));
    Notifications { webhook: webhook() }
}

fn webhook_url(item: &Item, allow_private_addresses: bool) -> Option<Url> {
    let text = item.text()?;
    let help = "Write the https URL of the receiver, such as https://hooks.example.com/entraway";
    let Ok(url) = Url::parse(text.trim()) else {
        item.problem("is not a URL", help);
        return None;
    };
    let private = "Use the public address of the receiver, or set notifications.allow_private_addresses to true";
    let loopback = is_loopback(&url);
    let (message, help) = if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        ("must start with https://", help)
    } else if !url.username().is_empty() || url.password().is_some() {
        ("must not contain a user name or password", "Remove them: the receiver verifies the signature")
    } else if url.fragment().is_some() {
        ("must not contain a fragment", help)
    } else if url.scheme() == "http" && !loopback {
        ("must start with https://; http:// is accepted for loopback hosts only", help)
    } else if !allow_private_addresses && (loopback || literal_address(&url).is_some_and(|address| !is_public(address)))
    {
        ("has a loopback, private or reserved address", private)
    } else {
        return Some(url);
    };
    item.problem(message, help);
    None
}

/// One secret, or two in a list or on two lines of a file.
fn secrets(item: &Item) -> Option<Vec<WebhookSecret>> {
    let secrets: Vec<Option<WebhookSecret>> = match item.value {
        _ if item.source == Source::SecretFile => {
            let parse = |(number, line): &(usize, String)| {
                let report = |error| item.problem(format!("line {number} of the file {error}"), SECRET_HELP);
                line.parse().map_err(report).ok()
            };
            secret::lines(item)?.iter().map(parse).collect()
        }
        Value::List(_) => item.list().iter().map(|item| item.parsed(SECRET_HELP, str::parse)).collect(),
        _ => vec![item.parsed(SECRET_HELP, str::parse)],
    };
    match secrets.len() {
        0 => item.problem("is empty", SECRET_HELP),
        1 | 2 => return secrets.into_iter().collect(),
        _ => item.problem("contains more than two secrets", "Keep the current secret and its successor"),
    }
    None
}

fn all_events() -> BTreeSet<NotificationType> {
    NotificationType::ALL.into()
}

fn events(item: &Item) -> BTreeSet<NotificationType> {
    let choices = NotificationType::ALL.map(|event| (event.name(), event));
    let elements = item.list();
    if elements.is_empty() && matches!(item.value, Value::List(_)) {
        item.problem("is empty", "List at least one event, or remove the key to send all");
    }
    elements.iter().filter_map(|item| item.choice(&choices)).collect()
}
