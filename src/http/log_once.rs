//! Logs a lasting failure once a minute instead of once per request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::db::DbError;
use crate::util::clock::{Clock, Moment};
use crate::util::sanitize::with_help;

/// Interval at which the same failure is logged again.
const REPEAT: Duration = Duration::from_mins(1);

/// Maximum number of remembered failures, to bound memory.
const MAX_FAILURES: usize = 16;

/// Recently logged failures and when they were logged.
pub(super) struct LogOnce {
    clock: Clock,
    logged: Mutex<Vec<(Moment, String)>>,
}

impl LogOnce {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, logged: Mutex::default() }
    }

    /// Whether this failure has not been logged within the last minute. Remembers it.
    pub(super) fn is_new(&self, text: &str) -> bool {
        let now = self.clock.moment();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|(at, _)| at.age(now) < REPEAT);
        if logged.iter().any(|(_, known)| known == text) {
            return false;
        }
        if logged.len() == MAX_FAILURES {
            logged.remove(0);
        }
        logged.push((now, text.to_owned()));
        true
    }

    /// Logs a database failure outside of a request, such as one found by `/readyz`.
    pub(super) fn database(&self, error: &DbError) {
        let text = with_help(error, error.help());
        if self.is_new(&text) {
            tracing::error!(code = error.code(), error = text, "database not available");
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn lasting_failure_is_logged_once_a_minute() {
        let clock = Clock::system();
        let log = LogOnce::new(clock.clone());
        assert!(log.is_new("refused"));
        assert!(!log.is_new("refused"));
        clock.step_wall_clock(TimeDelta::days(-1));
        assert!(log.is_new("no such database"), "another failure is news");
        assert!(!log.is_new("refused"), "two failures that alternate are each logged once");
        clock.advance(TimeDelta::seconds(61));
        assert!(log.is_new("refused"), "after a minute");
    }
}
