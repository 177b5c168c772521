//! A failure that lasts is logged once, and not for each request that meets it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::store::StoreError;
use crate::text::with_remedy;

/// The same failure is logged again after this long, so that a log of the last minutes tells of it.
const REPEAT: Duration = Duration::from_mins(1);

/// The failure that was logged last, and when.
pub(in crate::web) struct LogOnce {
    clock: Clock,
    last: Mutex<Option<(Moment, String)>>,
}

impl LogOnce {
    pub(in crate::web) fn new(clock: Clock) -> Self {
        Self { clock, last: Mutex::default() }
    }

    /// Whether a failure with this text is to be logged: another one than the last, or the same a minute later.
    pub(super) fn is_new(&self, text: &str) -> bool {
        let now = self.clock.moment();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(at, known)| known == text && at.age(now) < REPEAT) {
            return false;
        }
        *last = Some((now, text.to_owned()));
        true
    }

    /// Logs why the database does not answer, where no request fails of it.
    pub(in crate::web) fn database(&self, error: &StoreError) {
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
        assert!(log.is_new("refused"), "and so is one that came back");
        assert!(!log.is_new("refused"));
        clock.advance(TimeDelta::seconds(61));
        assert!(log.is_new("refused"), "after a minute");
    }
}
