//! When the next run of a reconciliation is due. Replicas share one schedule: the records of runs in the database.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::run::Reconciliation;
use crate::db::{RunTrigger, Schedule};
use crate::util::random;
use crate::util::sanitize::error_chain;

/// How often each replica looks whether a run is due. A request by an operator waits at most this long.
const POLL: Duration = Duration::from_secs(5);
/// Longest wait after failed runs.
const MOST_AFTER_FAILURE: Duration = Duration::from_hours(1);
/// Wait after a run that was interrupted, such as by a restart.
const AFTER_INTERRUPTION: Duration = Duration::from_secs(10);

impl Reconciliation {
    /// Runs whenever a run is due, until `stop` is canceled. `interval`: time between the starts of two runs, ±20 %.
    pub async fn run_at_intervals(&self, interval: Duration, stop: &CancellationToken) {
        let poll = POLL.min(interval);
        // Replicas that started together do not ask at the same time.
        let mut wait = poll.mul_f64(random::fraction());
        while timeout(wait, stop.cancelled()).await.is_err() {
            wait = poll;
            let due = match self.db.reconciliation_schedule().await {
                Ok(schedule) => {
                    self.measure_last(&schedule);
                    due(&schedule, self.clock.now(), interval, random::fraction())
                }
                Err(error) => {
                    tracing::debug!(error = error_chain(&error), "failed to read when a reconciliation is due");
                    continue;
                }
            };
            let Some(trigger) = due else { continue };
            if let Err(error) = self.run(trigger, stop).await {
                tracing::error!(error = error_chain(&error), "failed to record a reconciliation");
            }
        }
    }
}

impl Reconciliation {
    /// Metrics of the last run of any replica.
    fn measure_last(&self, schedule: &Schedule) {
        let metrics = &self.metrics;
        metrics.reconciliation_held.set((), i64::from(schedule.held));
        metrics.reconciliation_incomplete.set((), i64::from(schedule.incomplete));
        let last = schedule.last_complete_at.map_or(0, |at| at.timestamp());
        metrics.reconciliation_last_complete.set((), last);
    }
}

/// Whether a run is due now, and why. `jitter` is from 0 to 1.
fn due(schedule: &Schedule, now: DateTime<Utc>, interval: Duration, jitter: f64) -> Option<RunTrigger> {
    let Some(last) = schedule.last_started_at else { return Some(RunTrigger::Interval) };
    if schedule.requested_at.is_some_and(|requested| requested > last) {
        return Some(RunTrigger::Request);
    }
    let wait = if schedule.interrupted {
        AFTER_INTERRUPTION.min(interval)
    } else {
        let doubled = interval.saturating_mul(1_u32.checked_shl(schedule.failures).unwrap_or(u32::MAX));
        doubled.min(MOST_AFTER_FAILURE.max(interval)).mul_f64(0.8 + 0.4 * jitter)
    };
    let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    // A clock that was set back must not stop the runs.
    (now - last >= wait || last > now + wait).then_some(RunTrigger::Interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_mins(10);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn schedule(last: Option<i64>) -> Schedule {
        Schedule {
            last_started_at: last.map(at),
            requested_at: None,
            failures: 0,
            interrupted: false,
            held: 0,
            incomplete: 0,
            last_complete_at: None,
        }
    }

    #[test]
    fn first_run_is_due_at_once() {
        assert_eq!(due(&schedule(None), at(0), INTERVAL, 0.5), Some(RunTrigger::Interval));
    }

    #[test]
    fn run_is_due_after_the_interval_with_jitter() {
        let schedule = schedule(Some(0));
        assert_eq!(due(&schedule, at(479), INTERVAL, 0.0), None);
        assert_eq!(due(&schedule, at(480), INTERVAL, 0.0), Some(RunTrigger::Interval));
        assert_eq!(due(&schedule, at(719), INTERVAL, 1.0), None);
        assert_eq!(due(&schedule, at(721), INTERVAL, 1.0), Some(RunTrigger::Interval));
    }

    #[test]
    fn request_is_due_at_once_and_only_once() {
        let requested = |at| Schedule { requested_at: Some(at), ..schedule(Some(100)) };
        assert_eq!(due(&requested(at(101)), at(102), INTERVAL, 0.5), Some(RunTrigger::Request));
        assert_eq!(due(&requested(at(99)), at(102), INTERVAL, 0.5), None);
    }

    #[test]
    fn failures_double_the_wait_up_to_one_hour() {
        let failed = |failures| Schedule { failures, ..schedule(Some(0)) };
        assert_eq!(due(&failed(1), at(1_199), INTERVAL, 0.5), None);
        assert_eq!(due(&failed(1), at(1_200), INTERVAL, 0.5), Some(RunTrigger::Interval));
        for failures in [3, 40] {
            assert_eq!(due(&failed(failures), at(3_599), INTERVAL, 0.5), None);
            assert_eq!(due(&failed(failures), at(3_600), INTERVAL, 0.5), Some(RunTrigger::Interval));
        }
    }

    #[test]
    fn interrupted_run_is_repeated_soon() {
        let interrupted = Schedule { interrupted: true, ..schedule(Some(0)) };
        assert_eq!(due(&interrupted, at(10), INTERVAL, 0.5), Some(RunTrigger::Interval));
    }

    #[test]
    fn last_run_in_the_future_does_not_stop_the_runs() {
        assert_eq!(due(&schedule(Some(100_000)), at(0), INTERVAL, 0.5), Some(RunTrigger::Interval));
    }
}
