//! `secret.expiring`: sent 30, 7 and 1 days before the app's certificate expires.

use chrono::{DateTime, TimeDelta, Utc};

use super::Notifier;
use super::message::Notification;

/// Days before the expiry, in the order in which they pass.
const DAYS: [u8; 3] = [30, 7, 1];

/// What was sent about an expiry: its time, and the days before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryNotice {
    expires_at: DateTime<Utc>,
    days: u8,
}

/// The shortest of [`DAYS`] that has begun; `None` before the first. Stays at one day after the expiry.
fn remaining(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<u8> {
    DAYS.into_iter().rev().find(|days| expires_at - now <= TimeDelta::days((*days).into()))
}

impl Notifier {
    /// Sends `secret.expiring` if another of the thresholds has passed since `last`.
    /// Returns what was sent last.
    ///
    /// After a restart, the current one is sent again, with the same message ID.
    pub fn report_expiry(&self, expires_at: DateTime<Utc>, last: Option<ExpiryNotice>) -> Option<ExpiryNotice> {
        let active = self.webhook.as_ref()?;
        let days = remaining(expires_at, active.clock.now())?;
        let current = ExpiryNotice { expires_at, days };
        if last != Some(current) {
            self.send(Notification::SecretExpiring { expires_at, days });
        }
        Some(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_is_the_last_threshold_that_passed() {
        let expires_at = DateTime::UNIX_EPOCH + TimeDelta::days(100);
        for (days, expected) in
            [(69, None), (70, Some(30)), (92, Some(30)), (93, Some(7)), (98, Some(7)), (99, Some(1)), (200, Some(1))]
        {
            let now = DateTime::UNIX_EPOCH + TimeDelta::days(days);
            assert_eq!(remaining(expires_at, now), expected, "{days} days after the epoch");
        }
    }
}
