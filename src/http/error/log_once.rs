//! A failure that lasts is logged once, and not for each request that meets it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::db::StoreError;
use crate::util::clock::{Clock, Moment};
use crate::util::sanitize::with_remedy;

/// The same failure is logged again after this long, so that a log of the last minutes tells of it.
const REPEAT: Duration = Duration::from_mins(1);

/// More different failures than this at a time are logged again: their texts must not grow without end.
const MOST: usize = 16;

/// The failures that were logged lately, and when.
pub(in crate::http) struct LogOnce {
    clock: Clock,
    logged: Mutex<Vec<(Moment, String)>>,
}

impl LogOnce {
    pub(in crate::http) fn new(clock: Clock) -> Self {
        Self { clock, logged: Mutex::default() }
    }

    /// Whether a failure with this text is to be logged: it was not within the last minute.
    pub(super) fn is_new(&self, text: &str) -> bool {
        let now = self.clock.moment();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|(at, _)| at.age(now) < REPEAT);
        if logged.iter().any(|(_, known)| known == text) {
            return false;
        }
        if logged.len() == MOST {
            logged.remove(0);
        }
        logged.push((now, text.to_owned()));
        true
    }

    /// Logs why the database does not answer, where no request fails of it.
    pub(in crate::http) fn database(&self, error: &StoreError) {
        let text = with_remedy(error, error.remedy());
        if self.is_new(&text) {
            tracing::error!(code = error.code(), "{text}");
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
