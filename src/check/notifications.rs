//! Check of the webhook for notifications. Sends no message.

use super::Report;
use crate::config::Config;
use crate::notifications;

const WHAT: &str = "notifications";

/// Checks that the webhook's host can be resolved to an address that is allowed.
pub async fn notifications(report: &mut Report, config: &Config) {
    let Some(webhook) = &config.notifications.webhook else { return };
    report.start(WHAT);
    let origin = webhook.origin();
    match notifications::check(webhook).await {
        Ok(()) if webhook.allow_private_addresses => {
            report.ok(WHAT, format!("for {origin}, at any address; no message was sent"));
        }
        Ok(()) => report.ok(WHAT, format!("for {origin}, which has a public address; no message was sent")),
        Err(error) => report.warn(
            WHAT,
            format!("{origin}: {error}"),
            "Correct notifications.webhook_url. For a receiver in your own network, set \
             notifications.allow_private_addresses to true",
        ),
    }
}
